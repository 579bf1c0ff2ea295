"""All exchanges of a host (mobivpn.signalling.endpoint)."""

from ipaddress import IPv6Address

import pytest

from mobivpn.errors import CallerError
from mobivpn.signalling import codec
from mobivpn.signalling.endpoint import Ignored, SignallingEndpoint
from mobivpn.signalling.exchange import Delivered, SendSignal, Ticket
from mobivpn.signalling.messages import Acknowledge, Envelope, PeerReady, Release

VCM, ROUTER = IPv6Address("fd00:10::9"), IPv6Address("fd00:5::1")
STRANGER = IPv6Address("2001:db8::bad")


def endpoint() -> SignallingEndpoint:
    return SignallingEndpoint(1, [VCM, ROUTER])


def test_each_peer_has_numbers_of_its_own():
    ours = endpoint()
    for peer in (VCM, ROUTER):
        (datagram,) = ours.request(peer, Release(1, 1), 0.0)
        assert isinstance(datagram, SendSignal)
        assert datagram.destination == peer
        assert codec.decode(datagram.payload).number == 1


def test_the_deadline_is_the_earliest_of_all_exchanges():
    ours = endpoint()
    assert ours.deadline is None
    ours.request(VCM, Release(1, 1), 3.0)
    ours.request(ROUTER, Release(1, 1), 1.0)
    assert ours.deadline == 1.5
    assert [e.destination for e in ours.timer_expired(1.5) if isinstance(e, SendSignal)] == [ROUTER]


def test_cancelling_concerns_one_peer():
    ours = endpoint()
    for peer in (VCM, ROUTER):
        ours.request(peer, Release(1, 1), 0.0)
    ours.cancel(VCM, lambda request: True)
    assert len(ours.timer_expired(0.5)) == 1


def test_a_request_is_delivered_and_answered_later():
    ours = endpoint()
    payload = codec.encode(Envelope(1, 1, PeerReady(1, 1)))
    ticket = Ticket(VCM, 1, 1)
    assert ours.datagram_received(VCM, payload) == [Delivered(ticket, PeerReady(1, 1))]
    (answer,) = ours.answer(ticket, Acknowledge())
    assert isinstance(answer, SendSignal)
    assert answer.destination == VCM


def test_strangers_and_noise_are_ignored_with_a_reason():
    ours = endpoint()
    payload = codec.encode(Envelope(1, 1, Release(1, 1)))
    assert ours.datagram_received(STRANGER, payload) == [Ignored(STRANGER, "not-a-peer")]
    assert ours.datagram_received(VCM, b"noise") == [Ignored(VCM, "not-json")]


def test_nothing_is_sent_to_a_stranger():
    with pytest.raises(CallerError):
        endpoint().request(STRANGER, Release(1, 1), 0.0)
