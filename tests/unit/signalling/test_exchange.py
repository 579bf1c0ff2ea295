"""The reliable exchange with one peer (mobivpn.signalling.exchange)."""

from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobivpn.signalling import codec
from mobivpn.signalling.exchange import (
    RESEND,
    WINDOW,
    Answered,
    Delivered,
    Effect,
    Exchange,
    GivenUp,
    SendSignal,
    Ticket,
)
from mobivpn.signalling.messages import (
    Acknowledge,
    Envelope,
    Message,
    NodeExternal,
    NodeInternal,
    PeerReady,
    Release,
    SaAccept,
    Withdraw,
)
from tests.support.company import MN1, MN2
from tests.support.offers import offer

VCM = IPv6Address("fd00:10::9")
NODE = MN1.internal_home_address
LEFT = NodeExternal(NODE, MN1.external_home_address, 1)


def sent(effects: list[Effect]) -> list[Envelope]:
    return [codec.decode(e.payload) for e in effects if isinstance(e, SendSignal)]


def received(exchange: Exchange, message: Message, number: int, epoch: int = 1) -> list[Effect]:
    return exchange.datagram_received(codec.encode(Envelope(epoch, number, message)))


def test_a_request_is_sent_at_once_and_numbered():
    exchange = Exchange(VCM, 5)
    assert sent(exchange.request(Release(1, 1), 0.0)) == [Envelope(5, 1, Release(1, 1))]
    assert sent(exchange.request(Release(2, 1), 0.0)) == [Envelope(5, 2, Release(2, 1))]


def test_an_unanswered_request_is_sent_again_at_growing_intervals():
    exchange = Exchange(VCM, 5)
    first = exchange.request(PeerReady(1, 1), 10.0)
    assert exchange.deadline == 10.5
    assert exchange.timer_expired(10.4) == []
    assert exchange.timer_expired(10.5) == first
    assert exchange.deadline == 11.5


def test_the_first_interval_outlasts_the_slowest_round_trip():
    assert RESEND.initial_s > 2 * 0.095


def test_an_answer_ends_the_resending_and_is_told_with_its_request():
    exchange = Exchange(VCM, 5)
    exchange.request(PeerReady(1, 1), 0.0)
    # sg <-- Acknowledge (204) -- vcm
    told = received(exchange, Acknowledge(), number=1, epoch=5)
    assert told == [Answered(VCM, PeerReady(1, 1), Acknowledge())]
    assert exchange.deadline is None
    assert received(exchange, Acknowledge(), number=1, epoch=5) == []


def test_an_answer_to_a_former_life_is_ignored():
    exchange = Exchange(VCM, 5)
    exchange.request(PeerReady(1, 1), 0.0)
    assert received(exchange, Acknowledge(), number=1, epoch=4) == []
    assert exchange.deadline is not None


def test_a_request_is_given_up_after_its_attempts():
    exchange = Exchange(VCM, 5)
    exchange.request(PeerReady(1, 1), 0.0)
    now, effects = 0.0, list[Effect]()
    while exchange.deadline is not None:
        now = exchange.deadline
        effects = exchange.timer_expired(now)
    assert effects == [GivenUp(VCM, PeerReady(1, 1))]
    assert now == pytest.approx(0.5 + 1 + 2 + 4 + 4 + 4)


def test_a_persistent_request_is_never_given_up():
    exchange = Exchange(VCM, 5)
    order = exchange.request(Withdraw(1, "idle"), 0.0)
    for _ in range(100):
        assert exchange.deadline is not None
        assert exchange.timer_expired(exchange.deadline) == order


def test_a_cancelled_request_is_not_sent_again_and_its_answer_is_ignored():
    exchange = Exchange(VCM, 5)
    exchange.request(PeerReady(1, 1), 0.0)
    exchange.request(PeerReady(2, 1), 0.0)
    exchange.cancel(lambda request: request == PeerReady(1, 1))
    assert received(exchange, Acknowledge(), number=1, epoch=5) == []
    assert [e.number for e in sent(exchange.timer_expired(0.5))] == [2]


def test_news_supersede_what_was_said_on_the_same_subject():
    exchange = Exchange(VCM, 5)
    exchange.request(LEFT, 0.0)
    exchange.request(NodeInternal(NODE), 0.1)
    exchange.request(NodeInternal(MN2.internal_home_address), 0.1)
    assert [e.number for e in sent(exchange.timer_expired(1.0))] == [2, 3]


def test_a_request_that_is_answered_at_once_is_acknowledged_and_delivered():
    exchange = Exchange(VCM, 5)
    effects = received(exchange, Release(1, 1), number=3)
    assert sent(effects) == [Envelope(1, 3, Acknowledge())]
    assert effects[1:] == [Delivered(Ticket(VCM, 1, 3), Release(1, 1))]


def test_a_duplicate_is_answered_again_and_not_delivered_again():
    exchange = Exchange(VCM, 5)
    first = received(exchange, Release(1, 1), number=3)
    assert received(exchange, Release(1, 1), number=3) == first[:1]


def test_an_answer_that_takes_time_is_waited_for_and_then_repeated():
    exchange = Exchange(VCM, 5)
    # mn1 <-- SaOffer (210) -- vcm
    (delivered,) = received(exchange, offer(), number=1)
    assert isinstance(delivered, Delivered)
    assert received(exchange, offer(), number=1) == []
    # mn1 -- SaAccept (212) --> vcm
    answer = exchange.answer(delivered.ticket, SaAccept(1, 1))
    assert sent(answer) == [Envelope(1, 1, SaAccept(1, 1))]
    assert received(exchange, offer(), number=1) == answer


def test_what_was_overtaken_by_newer_news_is_acknowledged_and_not_delivered():
    exchange = Exchange(VCM, 5)
    received(exchange, NodeInternal(NODE), number=2)
    effects = received(exchange, LEFT, number=1)
    assert sent(effects) == [Envelope(1, 1, Acknowledge())]
    assert len(effects) == 1


def test_a_peer_that_starts_anew_is_listened_to_from_its_first_request():
    exchange = Exchange(VCM, 5)
    (delivered, *_) = received(exchange, offer(), number=1, epoch=1)
    received(exchange, NodeInternal(NODE), number=9, epoch=1)
    assert len(received(exchange, LEFT, number=1, epoch=2)) == 2
    assert isinstance(delivered, Delivered)
    assert exchange.answer(delivered.ticket, SaAccept(1, 1)) == []
    assert received(exchange, Release(1, 1), number=10, epoch=1) == []


def test_only_what_was_delivered_is_answered():
    exchange = Exchange(VCM, 5)
    received(exchange, Release(1, 1), number=1)
    assert exchange.answer(Ticket(VCM, 1, 2), Acknowledge()) == []


def test_what_is_older_than_the_window_is_dropped():
    exchange = Exchange(VCM, 5)
    received(exchange, Release(1, 1), number=1)
    received(exchange, Release(1, 1), number=WINDOW + 1)
    assert received(exchange, Release(1, 1), number=1) == []
    assert len(received(exchange, Release(1, 1), number=2)) == 2


@given(st.lists(st.integers(1, 200), max_size=60))
def test_no_request_is_delivered_twice(numbers: list[int]):
    exchange = Exchange(VCM, 5)
    delivered = [
        effect.ticket.number
        for number in numbers
        for effect in received(exchange, Release(number, 1), number)
        if isinstance(effect, Delivered)
    ]
    assert len(delivered) == len(set(delivered))


def test_no_secret_is_in_the_repr_of_what_waits():
    exchange = Exchange(VCM, 5)
    (datagram,) = exchange.request(offer(), 0.0)
    received(exchange, offer(), number=1)
    for shown in (repr(exchange), repr(datagram)):
        assert "esp-sa" not in shown
