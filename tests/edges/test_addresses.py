"""Address plans: as many mobile nodes as are asked for, each with addresses of its own."""

from ipaddress import IPv6Address

import pytest

from experiments.scenario import load
from mobivpn.host.fixed_databases import tunnel_name
from mobivpn.variants import Embodiment, System, Variants
from topologies.addresses import (
    MOST_NODES,
    OPEN_PLAN,
    PLAN,
    PUBLIC_PLAN,
    USUAL_NODES,
    Plan,
    node_name,
    plan_of,
)
from topologies.topo import CompanyTopo, far_end

ALL = (
    Variants(),
    Variants(embodiment=Embodiment.PUBLIC),
    Variants(system=System.MIP6),
)
IFNAMSIZ = 16
COUNTS = (2, 3, 15, 16, 200, MOST_NODES)


def others(plan: Plan) -> set[IPv6Address]:
    """Return the addresses that no mobile node has."""
    company = plan.company
    return {
        company.security_gateway,
        company.security_gateway_inside,
        company.internal_router,
        company.vcm,
        company.home_agent,
        plan.internal_router_lan,
        plan.gateway_router,
        plan.home_router,
        *(address for _, address in plan.desktops),
    }


def test_the_usual_nodes_are_those_of_figure_1():
    assert plan_of(Variants()) == PLAN
    assert plan_of(Variants(embodiment=Embodiment.PUBLIC)) == PUBLIC_PLAN
    assert plan_of(Variants(system=System.MIP6)) == OPEN_PLAN
    told = [
        (node.name, str(node.internal_home_address), str(node.external_home_address))
        for node in PLAN.company.nodes
    ]
    assert told == [
        ("mn1", "fd00:10::d1", "2001:db8:ee::d1"),
        ("mn2", "fd00:10::d2", "2001:db8:ee::d2"),
        ("mn3", "fd00:10::d3", "2001:db8:ee::d3"),
    ]
    assert str(PUBLIC_PLAN.company.node_prefix) == "2001:db8:ee::d0/124"


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("variants", ALL, ids=("private", "public", "mip6"))
def test_each_node_has_addresses_that_nobody_else_has(variants: Variants, count: int):
    plan = plan_of(variants, count)
    nodes = plan.company.nodes
    assert [node.name for node in nodes] == [node_name(n) for n in range(1, count + 1)]
    inside = {node.internal_home_address for node in nodes}
    outside = {node.external_home_address for node in nodes}
    assert len(inside) == len(outside) == count
    assert not (inside | outside) & others(plan)
    # Programs tell ends apart by the last two bytes (experiments.probe_format).
    assert len({address.packed[-2:] for address in inside}) == count


@pytest.mark.parametrize("count", COUNTS)
def test_one_prefix_has_the_public_home_addresses_and_no_others(count: int):
    plan = plan_of(Variants(embodiment=Embodiment.PUBLIC), count)
    prefix = plan.company.node_prefix
    assert prefix is not None
    assert all(node.external_home_address in prefix for node in plan.company.nodes)
    assert not any(address in prefix for address in others(plan))


def test_the_topology_has_a_host_and_a_cable_for_each_node():
    count = 40
    topo = CompanyTopo(plan=plan_of(Variants(), count))
    usual = CompanyTopo(plan=PLAN)
    assert len(topo.hosts()) - len(usual.hosts()) == count - USUAL_NODES
    assert len(topo.links()) - len(usual.links()) == count - USUAL_NODES
    cables = [cable for *_, cable in topo.links(withInfo=True)]
    ends = {cable[key] for cable in cables for key in ("intfName1", "intfName2")}
    assert {"mn40-eth0", far_end("mn40")} <= ends


def test_linux_takes_the_interfaces_names_of_every_node():
    node = plan_of(Variants(), MOST_NODES).company.nodes[-1]
    tunnel = tunnel_name(node, IPv6Address("2001:db8:1::5"))
    names = (f"{node.name}-eth99", far_end(node.name, 99), tunnel)
    assert all(len(name.encode()) < IFNAMSIZ for name in names)


def test_a_scenario_says_where_each_of_its_nodes_begins():
    scenario = load("outside-from-the-start", {"mobile_nodes": 4})
    assert scenario.place_at_start == {"mn1": "wifi1", "mn2": "cell", "mn3": "lan", "mn4": "lan"}
