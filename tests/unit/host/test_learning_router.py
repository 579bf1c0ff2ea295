"""Routers that learn where nodes are (mobivpn.host.learning_router)."""

from ipaddress import IPv6Address

import pytest

from mobivpn.host.effects import AnnounceAddress, Apply, Record
from mobivpn.host.learning_router import LATE_S, LearningRouter, RouterSides, Side
from mobivpn.host.network import NeighbourProxy, Route
from mobivpn.ipsec.databases import Put, Remove
from mobivpn.ipsec.policy import PolicyAction, SecurityPolicy
from mobivpn.ipsec.selector import Direction, host
from tests.support.company import COMPANY, MN1

OWN = MN1.internal_home_address
GATEWAY = COMPANY.security_gateway_inside
R22 = RouterSides(COMPANY, "r22-sg", "r22-lan", GATEWAY, tells_outwards=True)
SG = RouterSides(COMPANY, "vpn0", "sg-lan")
AWAY = Route(host(OWN), gateway=GATEWAY, device="r22-sg", mtu=1352)


def test_a_packet_from_outside_makes_the_router_stand_in_for_its_sender():
    router = LearningRouter(R22)
    assert router.started() == []
    assert router.heard(OWN, Side.OUTSIDE, 1.0) == [
        Apply((Put(AWAY), Put(NeighbourProxy(OWN, "r22-lan")))),
        AnnounceAddress(OWN, "r22-lan"),
        Record("node_absent", details={"node": "mn1"}),
    ]


def test_the_hub_tells_the_next_router_inwards():
    away = Route(host(OWN), device="vpn0", mtu=1352)
    assert LearningRouter(SG).heard(OWN, Side.OUTSIDE, 1.0) == [
        Apply((Put(away), Put(NeighbourProxy(OWN, "sg-lan")))),
        AnnounceAddress(OWN, "sg-lan"),
        Record("node_absent", details={"node": "mn1"}),
    ]


def test_a_packet_from_inside_ends_that():
    router = LearningRouter(R22)
    router.heard(OWN, Side.OUTSIDE, 1.0)
    assert router.heard(OWN, Side.INSIDE, 2.0) == [
        Apply((Remove(NeighbourProxy(OWN, "r22-lan")), Remove(AWAY))),
        AnnounceAddress(OWN, "r22-sg"),
        Record("node_present", details={"node": "mn1"}),
    ]


def test_the_hub_says_nothing_outwards():
    router = LearningRouter(SG)
    router.heard(OWN, Side.OUTSIDE, 1.0)
    effects = router.heard(OWN, Side.INSIDE, 2.0)
    assert not any(isinstance(effect, AnnounceAddress) for effect in effects)


@pytest.mark.parametrize("side", Side)
def test_what_is_known_is_not_learned_again(side: Side):
    router = LearningRouter(R22)
    router.heard(OWN, side, 1.0)
    assert router.heard(OWN, side, 2.0) == []


def test_who_is_no_mobile_node_is_not_looked_after():
    router = LearningRouter(R22)
    assert router.heard(IPv6Address("fd00:10::16"), Side.OUTSIDE, 1.0) == []


def test_what_a_node_has_sent_before_it_came_home_does_not_take_it_away_again():
    router = LearningRouter(SG)
    router.heard(OWN, Side.OUTSIDE, 1.0)
    router.heard(OWN, Side.INSIDE, 2.0)
    assert router.heard(OWN, Side.OUTSIDE, 2.0 + LATE_S / 2) == []
    assert router.heard(OWN, Side.OUTSIDE, 2.0 + LATE_S) != []


def test_nothing_falls_due():
    router = LearningRouter(SG)
    assert router.deadline is None
    assert router.timer_expired(9.0) == []


def test_policies_of_the_other_system_are_passed_by_for_who_is_inside():
    router = LearningRouter(RouterSides(COMPANY, "sg-ext", "sg-lan", GATEWAY, has_policies=True))
    (applied,) = router.started()
    assert isinstance(applied, Apply)
    policies = [c.entry for c in applied.changes if isinstance(c.entry, SecurityPolicy)]
    by_direction = {
        direction: [p for p in policies if p.direction is direction]
        for direction in (Direction.FORWARD, Direction.OUTBOUND)
    }
    assert [len(own) for own in by_direction.values()] == [6, 6]
    assert {p.action for p in by_direction[Direction.OUTBOUND]} == {PolicyAction.BYPASS}
    # With or without ESP: the first packet from outside tells that a node is there.
    assert all(p.templates for p in by_direction[Direction.FORWARD])
    left, *_ = router.heard(OWN, Side.OUTSIDE, 1.0)
    assert isinstance(left, Apply)
    gone = [change.entry for change in left.changes if isinstance(change, Remove)]
    remotes = [p.selector.remote_prefix for p in gone if isinstance(p, SecurityPolicy)]
    assert remotes == 2 * [host(OWN)]
