"""Messages as values (mobivpn.signalling.messages)."""

from dataclasses import replace
from ipaddress import IPv6Address

import pytest

from mobivpn.errors import CallerError
from mobivpn.ipsec.keying import GivenKeys
from mobivpn.signalling.messages import (
    MAX_CORRESPONDENTS,
    Acknowledge,
    BindingKeys,
    MoreCorrespondents,
    NodeAbsent,
    NodeExternal,
    NodeInternal,
    NodePresent,
    PairWithdrawn,
    PeerReady,
    SaOffer,
    SessionDetected,
)
from tests.support.company import MN1, MN2
from tests.support.offers import offer

TOO_MANY = tuple(IPv6Address(f"fd00:10::{i:x}") for i in range(1, MAX_CORRESPONDENTS + 2))


def test_news_of_one_node_are_on_one_subject():
    home = MN1.internal_home_address
    news = (NodeExternal(home, MN1.external_home_address, 1), NodeInternal(home), NodeAbsent(home))
    assert {message.subject for message in news} == {NodePresent(home).subject}
    assert NodePresent(MN2.internal_home_address).subject != NodePresent(home).subject


def test_orders_about_a_pair_do_not_supersede_each_other():
    assert PeerReady(1, 1).subject is None


def test_more_correspondents_than_fit_are_refused():
    with pytest.raises(CallerError):
        NodeExternal(
            MN1.internal_home_address, MN1.external_home_address, 1, correspondents=TOO_MANY
        )
    with pytest.raises(CallerError):
        MoreCorrespondents(MN1.internal_home_address, TOO_MANY)


@pytest.mark.parametrize("kind", [SessionDetected, PairWithdrawn])
def test_a_session_has_two_ends(kind: type[SessionDetected] | type[PairWithdrawn]):
    with pytest.raises(CallerError):
        kind(MN1.internal_home_address, MN1.internal_home_address)


def test_an_offer_has_a_lifetime():
    with pytest.raises(CallerError):
        replace(offer(), lifetime_s=0)


def test_an_offer_is_of_the_two_ways_of_one_pair():
    one, other = offer(1), offer(2)
    with pytest.raises(CallerError):
        replace(one, inbound=other.inbound)
    with pytest.raises(CallerError):
        replace(one, inbound=one.outbound)


def test_an_offer_has_no_half_selector():
    whole = offer()
    with pytest.raises(CallerError):
        replace(
            whole,
            inbound=replace(whole.inbound, inner_source=None),
            outbound=replace(whole.outbound, inner_destination=None),
        )


def test_no_secret_is_in_a_repr():
    binding_keys = BindingKeys(b"secret of the peer..", b"secret of this node.")
    whole: SaOffer = offer(binding_keys=binding_keys)
    assert isinstance(whole.keys, GivenKeys)
    for key in (
        whole.keys.inbound,
        whole.keys.outbound,
        binding_keys.inbound,
        binding_keys.outbound,
    ):
        assert repr(key) not in repr(whole)
        assert key.hex() not in repr(whole)


def test_an_acknowledgement_says_nothing_more():
    assert Acknowledge() == Acknowledge()
