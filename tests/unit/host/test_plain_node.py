"""Plain Mobile IPv6: two nodes and a home agent without IPsec (mobivpn.host.plain_node)."""

from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network
from typing import Any

import pytest

from mobivpn.host.effects import Apply, Record
from mobivpn.host.fixed_databases import HomeAgentDatabases
from mobivpn.host.home_agent import HomeAgentHost
from mobivpn.host.movement import Detached, SolicitRouters, interface_identifier
from mobivpn.host.network import Address, Route, Tunnel
from mobivpn.host.plain_node import PlainDatabases, PlainNodeHost
from mobivpn.host.plan import NodeIdentity
from mobivpn.ipsec.databases import Entry, Remove
from mobivpn.ipsec.policy import (
    EspTemplate,
    HomeAddressTemplate,
    RoutingHeaderTemplate,
    SecurityPolicy,
)
from mobivpn.ipsec.route_optimisation import Extension, RouteOptimisation
from mobivpn.ipsec.sa import SecurityAssociation
from mobivpn.ipsec.selector import TrafficSelector, host
from mobivpn.mip6 import codec
from mobivpn.mip6.binding_errors import RefusedOption
from mobivpn.mip6.correspondent_node import CorrespondentNode
from mobivpn.mip6.effects import SendMobility
from mobivpn.mip6.home_agent import HomeAgent
from mobivpn.mip6.messages import BindingError, BindingUpdate, CareOfTestInit, HomeTestInit
from mobivpn.mip6.mobile_node import MobileNode
from tests.support.company import MN1, MN2, PUBLIC_COMPANY, DifferentBytes

COMPANY = replace(PUBLIC_COMPANY, node_prefix=None)
WIFI, WIFI_2 = IPv6Network("2001:db8:1::/64"), IPv6Network("2001:db8:2::/64")
LAN = COMPANY.vpn_prefix
ROUTER = IPv6Address("fe80::1")
MACS = {"mn1": bytes.fromhex("0200000000d1"), "mn2": bytes.fromhex("0200000000d2")}
HOME_1, HOME_2 = MN1.external_home_address, MN2.external_home_address
AGENT = COMPANY.home_agent


def on(prefix: IPv6Network, name: str) -> IPv6Address:
    return prefix[interface_identifier(MACS[name])]


class World:
    """Two nodes and the home agent, whose messages arrive at once, unless they are cut off."""

    def __init__(self) -> None:
        prefix = IPv6Network((AGENT, 64), strict=False)
        kernel = HomeAgentDatabases(COMPANY, {}, "home")
        self.agent = HomeAgentHost(kernel, HomeAgent(AGENT, prefix))
        self.nodes = {
            node.name: PlainNodeHost(
                PlainDatabases(node, COMPANY),
                MobileNode(node.external_home_address, DifferentBytes()),
                CorrespondentNode(DifferentBytes()),
                [peer.external_home_address],
            )
            for node, peer in ((MN1, MN2), (MN2, MN1))
        }
        self.held: dict[str, list[Entry]] = {"mn1": [], "mn2": [], "ha": []}
        self.sent: list[SendMobility] = []
        self.records: list[Record] = []
        self.at: dict[IPv6Address, str] = {HOME_1: "mn1", HOME_2: "mn2", AGENT: "ha"}
        self.cut_off: set[str] = set()
        for name, core in (*self.nodes.items(), ("ha", self.agent)):
            self.take(name, core.started(), 0.0)

    def take(self, name: str, effects: Iterable[Any], now: float) -> None:
        """Carry out a host's effects, and what comes of them."""
        waiting = deque((name, effect) for effect in effects)
        while waiting:
            name, effect = waiting.popleft()
            if isinstance(effect, Apply):
                self._apply(name, effect)
            elif isinstance(effect, Record):
                self.records.append(effect)
            elif isinstance(effect, SendMobility):
                self.sent.append(effect)
                waiting.extend(self._delivered(effect, now))

    def _apply(self, name: str, effect: Apply) -> None:
        held = self.held[name]
        for change in effect.changes:
            if isinstance(change, Remove):
                held.remove(change.entry)
                continue
            if change.before is not None:
                held.remove(change.before)
            held.append(change.entry)

    def _delivered(self, effect: SendMobility, now: float) -> list[tuple[str, Any]]:
        there = self.at.get(effect.destination)
        if there is None or there in self.cut_off:
            return []
        data = codec.encode(effect.message, effect.source, effect.destination)
        told = effect.care_of_address if isinstance(effect.message, BindingUpdate) else None
        core = self.agent if there == "ha" else self.nodes[there]
        received = core.mobility_received(data, effect.source, effect.destination, told, now)
        return [(there, one) for one in received]

    def goes_to(self, name: str, prefix: IPv6Network, now: float) -> None:
        """Plug a node into a network; its former link is gone."""
        core = self.nodes[name]
        self.take(name, core.link_lost("eth0", now), now)
        self.at = {where: who for where, who in self.at.items()
                   if who != name or where in (HOME_1, HOME_2)}  # fmt: skip
        self.at[on(prefix, name)] = name
        self.take(name, core.link_found("eth0", MACS[name], now), now)
        self.take(name, core.router_heard("eth0", ROUTER, [prefix], 1800, now), now)

    def both_away(self) -> None:
        self.goes_to("mn2", WIFI_2, 1.0)
        self.goes_to("mn1", WIFI, 2.0)

    def data_out(self, name: str, peer: NodeIdentity) -> set[Any]:
        """Return the headers that a node's data to a peer gets."""
        remote = host(peer.external_home_address)
        found = [
            entry.templates
            for entry in self.held[name]
            if isinstance(entry, SecurityPolicy)
            and entry.name.startswith("bound/")
            and entry.name.endswith("/out")
            and entry.selector.remote_prefix == remote
        ]
        return {template for templates in found for template in templates}


@pytest.fixture
def world() -> World:
    return World()


def test_no_host_has_an_association_or_asks_for_one(world: World):
    world.both_away()
    entries = [entry for held in world.held.values() for entry in held]
    assert not any(isinstance(entry, SecurityAssociation) for entry in entries)
    templates = [t for e in entries if isinstance(e, SecurityPolicy) for t in e.templates]
    assert templates
    assert not any(isinstance(template, EspTemplate) for template in templates)


def test_the_home_agent_has_a_tunnel_to_where_a_node_is_and_the_node_one_back(world: World):
    world.goes_to("mn1", WIFI, 1.0)
    here = on(WIFI, "mn1")
    (at_agent,) = [e for e in world.held["ha"] if isinstance(e, Tunnel)]
    (at_node,) = [e for e in world.held["mn1"] if isinstance(e, Tunnel)]
    assert (at_agent.local, at_agent.remote) == (AGENT, here)
    assert (at_node.local, at_node.remote) == (here, AGENT)


def test_two_nodes_find_each_other_by_return_routability(world: World):
    world.both_away()
    assert {type(effect.message) for effect in world.sent} >= {HomeTestInit, CareOfTestInit}
    for name, home, peer in (("mn1", HOME_1, MN2), ("mn2", HOME_2, MN1)):
        far = peer.external_home_address
        prefix = WIFI if name == "mn1" else WIFI_2
        assert world.data_out(name, peer) == {
            RoutingHeaderTemplate(home, far),
            HomeAddressTemplate(home, far, on(prefix, name)),
        }
    details = {"peer": str(HOME_2), "care_of_address": str(on(WIFI_2, "mn2"))}
    assert Record("binding", "218", details) in world.records


def test_the_companys_lan_is_a_network_like_any_other(world: World):
    world.both_away()
    world.goes_to("mn1", LAN, 5.0)
    there = on(LAN, "mn1")
    assert RouteOptimisation(Extension.ROUTING_HEADER, HOME_2, HOME_1, there) in world.held["mn2"]


def test_a_lost_link_leaves_neither_address_nor_route(world: World):
    world.both_away()
    world.take("mn1", world.nodes["mn1"].link_lost("eth0", 3.0), 3.0)
    held = world.held["mn1"]
    assert [e.address for e in held if isinstance(e, Address)] == [HOME_1]
    assert not any(isinstance(entry, Route) for entry in held)


def test_what_changes_nothing_has_no_effect(world: World):
    world.goes_to("mn1", WIFI, 1.0)
    core = world.nodes["mn1"]
    assert core.router_heard("eth0", ROUTER, [WIFI], 1800, 2.0) == []
    assert core.address_usable("eth0", on(WIFI, "mn1"), 2.0) == []


def test_after_a_duplicate_all_are_told_of_another_address(world: World):
    world.both_away()
    world.sent.clear()
    core = world.nodes["mn1"]
    world.take("mn1", core.address_duplicate("eth0", on(WIFI, "mn1"), 3.0), 3.0)
    updates = [e for e in world.sent if isinstance(e.message, BindingUpdate)]
    assert AGENT in {effect.destination for effect in updates}
    assert on(WIFI, "mn1") not in {effect.care_of_address for effect in updates}


def test_what_is_not_answered_is_sent_again(world: World):
    world.cut_off = {"ha"}
    world.goes_to("mn1", WIFI, 1.0)
    core = world.nodes["mn1"]
    assert core.deadline is not None
    world.sent.clear()
    world.take("mn1", core.timer_expired(core.deadline), core.deadline)
    assert AGENT in {effect.destination for effect in world.sent}


def test_routers_are_asked_again(world: World):
    core = world.nodes["mn1"]
    core.link_found("eth0", MACS["mn1"], 1.0)
    assert core.timer_expired(2.0) == [SolicitRouters("eth0")]


def test_a_binding_that_is_over_is_used_no_more(world: World):
    world.both_away()
    core = world.nodes["mn2"]
    world.cut_off = {"mn2"}
    for _ in range(200):
        assert core.deadline is not None
        world.take("mn2", core.timer_expired(core.deadline), core.deadline)
        if not world.data_out("mn2", MN1):
            break
    assert world.data_out("mn2", MN1) == set()


def test_a_binding_that_is_refreshed_makes_nobody_ask_again(world: World):
    world.both_away()
    core = world.nodes["mn1"]
    world.sent.clear()
    for _ in range(50):
        assert core.deadline is not None
        now = core.deadline
        world.take("mn1", core.timer_expired(now), now)
        if any(
            isinstance(e.message, BindingUpdate) and e.destination == HOME_2 for e in world.sent
        ):
            break
    assert not any(e.source == HOME_2 and isinstance(e.message, HomeTestInit) for e in world.sent)
    details = {"peer": str(HOME_1), "care_of_address": str(on(WIFI, "mn1"))}
    assert world.records.count(Record("binding", "218", details)) == 2


def test_data_with_an_option_that_nobody_knows_is_answered_by_an_error(world: World):
    world.goes_to("mn2", WIFI_2, 1.0)
    elsewhere = IPv6Address("2001:db8:3::9")
    option = RefusedOption(HOME_1, elsewhere, HOME_2)
    world.take("mn2", world.nodes["mn2"].home_address_refused(option, 2.0), 2.0)
    assert [type(effect.message) for effect in world.sent[-1:]] == [BindingError]


def test_what_is_no_message_is_counted_and_dropped(world: World):
    core = world.nodes["mn1"]
    (record,) = core.mobility_received(b"\0", HOME_2, HOME_1, None, 1.0)
    assert isinstance(record, Record)
    assert record.event == "mobility_dropped"


def test_data_by_the_home_agent_is_let_in_with_a_routing_header_or_without_one():
    held = PlainDatabases(MN1, COMPANY).at(Detached())
    (data,) = [e for e in held if isinstance(e, SecurityPolicy) and e.name == "data/in"]
    assert data.selector == TrafficSelector(host(HOME_1), IPv6Network("::/0"))
