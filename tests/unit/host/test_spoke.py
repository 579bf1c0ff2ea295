"""A mobile node whose VPN is another system's (mobivpn.host.spoke)."""

from ipaddress import IPv6Address, IPv6Network

import pytest

from mobivpn.host.effects import AnnounceAddress, Apply, Record
from mobivpn.host.movement import SolicitRouters, interface_identifier
from mobivpn.host.network import Address, DuplicateDetection, NextHop, Route, Rule
from mobivpn.host.node_databases import VPN_DEVICE
from mobivpn.host.spoke import VPN_TABLE, Effect, SpokeDatabases, SpokeHost
from mobivpn.ipsec.databases import Entry, Put, Remove
from mobivpn.ipsec.policy import PolicyAction, SecurityPolicy
from mobivpn.ipsec.selector import EVERYWHERE, Direction, TrafficSelector, host
from tests.support.company import COMPANY, MN1

WIFI = IPv6Network("2001:db8:1::/64")
ROUTER = IPv6Address("fe80::1")
MAC = bytes.fromhex("0200000000d1")
IDENTIFIER = interface_identifier(MAC)
OUTSIDE, ON_LAN = WIFI[IDENTIFIER], COMPANY.vpn_prefix[IDENTIFIER]
OWN = MN1.internal_home_address
NOWHERE_ELSE = {
    Rule(VPN_TABLE, preference=VPN_TABLE, source=COMPANY.vpn_prefix),
    Route(COMPANY.vpn_prefix, device=VPN_DEVICE, table=VPN_TABLE, mtu=1352),
    Route(EVERYWHERE, table=VPN_TABLE),
}
"""An address of the VPN is the source of nothing outside but of what goes into the tunnel."""


class Spoke:
    """A spoke, and what its kernel holds."""

    def __init__(self, *, has_policies: bool = False) -> None:
        self.core = SpokeHost(SpokeDatabases(MN1, COMPANY, has_policies=has_policies))
        self.held: set[Entry] = set()
        self.take(self.core.started())

    def take(self, effects: list[Effect]) -> list[Effect]:
        for effect in effects:
            for change in effect.changes if isinstance(effect, Apply) else ():
                if isinstance(change, Remove):
                    self.held.discard(change.entry)
                    continue
                self.held -= {change.before} if change.before is not None else set()
                self.held.add(change.entry)
        return effects

    def plugged_into(self, prefix: IPv6Network) -> list[Effect]:
        self.take(self.core.link_found("eth0", MAC, 0.0))
        return self.take(self.core.router_heard("eth0", ROUTER, [prefix], 1800, 0.0))

    @property
    def policies(self) -> list[SecurityPolicy]:
        return [entry for entry in self.held if isinstance(entry, SecurityPolicy)]


def test_without_a_link_all_that_is_for_the_vpn_goes_into_the_tunnel():
    spoke = Spoke()
    assert spoke.held == {
        Address(OWN, VPN_DEVICE),
        Route(COMPANY.vpn_prefix, metric=4096, device=VPN_DEVICE, mtu=1352),
        *NOWHERE_ELSE,
    }


def test_a_new_link_is_asked_for_its_routers_and_asked_again():
    core = Spoke().core
    assert core.link_found("eth0", MAC, 10.0) == [SolicitRouters("eth0")]
    assert core.deadline == 11.0
    assert core.timer_expired(11.0) == [SolicitRouters("eth0")]


def test_outside_the_tunnel_has_a_care_of_address_and_a_way_from_there():
    spoke = Spoke()
    before = set(spoke.held)
    effects = spoke.plugged_into(WIFI)
    assert spoke.held - before == {
        Address(OUTSIDE, "eth0", detection=DuplicateDetection.OPTIMISTIC),
        NextHop(2, "eth0", ROUTER),
        Route(EVERYWHERE, next_hop=2),
    }
    details = {"care_of_address": str(OUTSIDE)}
    assert effects[1:] == [
        Record("care_of_address", details=details),
        # To the router, which may be looking for it.
        AnnounceAddress(OUTSIDE, "eth0", ROUTER),
    ]


def test_inside_the_address_is_on_the_link_and_the_tunnel_does_not_come_from_it():
    spoke = Spoke()
    effects = spoke.plugged_into(COMPANY.vpn_prefix)
    assert Address(OWN, "eth0", deprecated=True) in spoke.held
    assert Address(ON_LAN, "eth0") in spoke.held
    assert not spoke.held & NOWHERE_ELSE
    assert Route(COMPANY.vpn_prefix, metric=256, next_hop=1, mtu=1352) in spoke.held
    assert effects[1] == AnnounceAddress(OWN, "eth0")
    assert effects[2] == Record("mn_inside", details={"device": "eth0"})


def test_a_lost_link_leaves_nothing_but_the_tunnel():
    spoke = Spoke()
    alone = set(spoke.held)
    spoke.plugged_into(COMPANY.vpn_prefix)
    spoke.take(spoke.core.link_lost("eth0", 1.0))
    assert spoke.held == alone


def test_what_changes_nothing_has_no_effect():
    spoke = Spoke()
    spoke.plugged_into(WIFI)
    assert spoke.core.router_heard("eth0", ROUTER, [WIFI], 1800, 1.0) == []
    assert spoke.core.address_usable("eth0", OUTSIDE, 1.0) == []


def test_after_a_duplicate_another_address_is_taken():
    spoke = Spoke()
    spoke.plugged_into(WIFI)
    spoke.take(spoke.core.address_duplicate("eth0", OUTSIDE, 1.0))
    addresses = {entry.address for entry in spoke.held if isinstance(entry, Address)}
    assert OUTSIDE not in addresses
    assert len([address for address in addresses if address in WIFI]) == 1


@pytest.mark.parametrize(("prefix", "directions"), [(COMPANY.vpn_prefix, 2), (WIFI, 0)])
def test_policies_of_the_other_system_are_passed_by_inside_alone(
    prefix: IPv6Network, directions: int
):
    spoke = Spoke(has_policies=True)
    assert spoke.policies == []
    spoke.plugged_into(prefix)
    assert len({policy.direction for policy in spoke.policies}) == directions
    assert {policy.action for policy in spoke.policies} <= {PolicyAction.BYPASS}
    # The kernel has one policy for a selector and direction: the whole prefix is the other's.
    assert {policy.selector for policy in spoke.policies} <= {
        TrafficSelector(host(OWN), half) for half in COMPANY.vpn_prefix.subnets()
    }


def test_before_a_route_outside_exists_no_policy_is_passed_by():
    spoke = Spoke(has_policies=True)
    spoke.plugged_into(COMPANY.vpn_prefix)
    effects = spoke.core.link_lost("eth0", 1.0)
    (applied,) = [effect for effect in effects if isinstance(effect, Apply)]
    assert {change.entry for change in applied.changes if isinstance(change, Put)} == NOWHERE_ELSE
    gone = [change.entry for change in applied.changes]
    names = [entry.direction for entry in gone if isinstance(entry, SecurityPolicy)]
    assert set(names) == {Direction.OUTBOUND, Direction.INBOUND}
