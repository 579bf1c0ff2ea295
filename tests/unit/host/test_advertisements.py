"""Router advertisements of the inside under AH (mobivpn.host.advertisements)."""

from dataclasses import replace
from ipaddress import IPv6Address

import pytest

from mobivpn.host.advertisements import ALL_NODES, VERIFIED_MARK, heard_under, mint_advertisements
from mobivpn.host.associations import share_of
from mobivpn.host.fixed_databases import RouterDatabases
from mobivpn.host.movement import Detached, Inside, Outside, Place, Tentative
from mobivpn.host.node_databases import BY_HOME_AGENT_MARK, NodeDatabases
from mobivpn.ipsec.databases import Databases, Put, Remove, difference
from mobivpn.ipsec.policy import AhTemplate, SecurityPolicy
from mobivpn.ipsec.sa import AuthenticationAssociation
from mobivpn.ipsec.selector import IPPROTO_ICMPV6, ROUTER_ADVERTISEMENT, Direction, host
from tests.support.company import COMPANY, MN1, DifferentBytes, associations

R22 = IPv6Address("fe80::22")
ADVERTISEMENTS = mint_advertisements(R22, DifferentBytes())
GIVEN = associations()
ROUTER = RouterDatabases(COMPANY, GIVEN, "lan", "tosg")
NODE = NodeDatabases(MN1, COMPANY, share_of(GIVEN, "mobile_node", "mn1"))
CARE_OF = IPv6Address("2001:db8:1::d1")
PLACES: tuple[Place, ...] = (
    Detached(),
    Inside("eth0", R22),
    Tentative("eth0", R22, CARE_OF),
    Outside("eth0", R22, CARE_OF),
)


def authenticating(node: NodeDatabases = NODE) -> NodeDatabases:
    return replace(node, advertisements=ADVERTISEMENTS)


def policies(held: Databases) -> list[SecurityPolicy]:
    return [entry for entry in held if isinstance(entry, SecurityPolicy)]


def ah(held: Databases) -> list[AuthenticationAssociation]:
    return [entry for entry in held if isinstance(entry, AuthenticationAssociation)]


def test_the_association_carries_the_routers_advertisements_to_all_nodes_and_nothing_else():
    selector = ADVERTISEMENTS.selector
    assert (selector.local_prefix, selector.remote_prefix) == (host(ALL_NODES), host(R22))
    assert selector.inner_protocol == IPPROTO_ICMPV6
    assert selector.icmp_type == ROUTER_ADVERTISEMENT


def test_the_router_puts_its_advertisements_under_ah_and_nothing_else():
    with_ah = replace(ROUTER, advertisements=ADVERTISEMENTS).at([MN1])
    plain = ROUTER.at([MN1])
    assert ah(with_ah) == [ADVERTISEMENTS]
    (policy,) = set(policies(with_ah)) - set(policies(plain))
    assert policy.direction is Direction.OUTBOUND
    assert policy.device == "lan"
    assert policy.templates == (AhTemplate(R22, ALL_NODES, ADVERTISEMENTS.reqid),)
    selector = policy.selector
    assert (selector.local_prefix, selector.remote_prefix) == (host(R22), host(ALL_NODES))
    assert selector.icmp_type == ROUTER_ADVERTISEMENT


@pytest.mark.parametrize("place", PLACES)
def test_a_node_verifies_in_every_place_and_its_policies_are_the_same(place: Place):
    assert policies(authenticating().at(place)) == policies(NODE.at(place))
    assert ah(authenticating().at(place)) == [heard_under(ADVERTISEMENTS)]
    assert ah(NODE.at(place)) == []


def test_a_nodes_association_stays_so_that_it_goes_on_refusing_what_was_replayed():
    for before in PLACES:
        for after in PLACES:
            changes = difference(authenticating().at(before), authenticating().at(after))
            assert not [c for c in changes if isinstance(c.entry, AuthenticationAssociation)]


def test_the_way_from_doubt_to_inside_never_takes_a_policy_away_before_another_stands():
    changes = difference(authenticating().at(Detached()), authenticating().at(PLACES[1]))
    kinds = [type(change) for change in changes if isinstance(change.entry, SecurityPolicy)]
    assert Put in kinds
    assert kinds == sorted(kinds, key=lambda kind: kind is Remove)


def test_what_is_verified_bears_a_mark_that_means_nothing_else():
    assert heard_under(ADVERTISEMENTS).mark == VERIFIED_MARK
    assert ADVERTISEMENTS.mark is None
    assert not VERIFIED_MARK & BY_HOME_AGENT_MARK


def test_the_key_is_as_long_as_its_algorithm_wants_and_is_not_shown():
    assert len(ADVERTISEMENTS.key) == 32
    assert ADVERTISEMENTS.key.hex() not in repr(ADVERTISEMENTS)
