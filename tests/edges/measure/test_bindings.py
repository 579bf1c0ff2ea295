"""Who believes a node to be where it is not, by the kernels' own word."""

from dataclasses import replace
from ipaddress import IPv6Network

import pytest

from experiments.databases import Association, Database
from experiments.measure.bindings import wrong_bindings, wrong_bindings_inside
from experiments.network_plan import NetworkPlan, plan_from_run

HOME = {"mn1": "2001:db8:ee::d1", "mn2": "2001:db8:ee::d2"}
FIXED = {"ha": "2001:db8:ee::1", "sg": "2001:db8:5::5"}
CARE_OF = {"mn1": "2001:db8:1::1", "mn2": "2001:db8:3::2"}
PLACES = {"mn1": "wifi1", "mn2": "cell"}


@pytest.fixture
def plan(run_description) -> NetworkPlan:
    run_description["addresses"]["access_networks"] = {
        name: f"2001:db8:{number}::/64" for number, name in enumerate(("wifi1", "wifi2", "cell"), 1)
    }
    return plan_from_run(run_description)


def entry(protocol: str, source: str, destination: str, care_of_address: str) -> Association:
    return Association(source, destination, protocol, "", "ro", "", "", care_of_address, "any")


def databases(care_of: dict[str, str]) -> list[Database]:
    """Return what all hold when everybody believes that the nodes are at `care_of`."""
    held: dict[str, list[Association]] = {name: [] for name in (*HOME, *FIXED)}
    for node, home in HOME.items():
        peers = {**FIXED, **{name: other for name, other in HOME.items() if name != node}}
        for peer, address in peers.items():
            held[peer].append(entry("route2", address, home, care_of[node]))
            held[node].append(entry("hao", home, address, care_of[node]))
    return [Database("end", name, tuple(entries), ()) for name, entries in held.items()]


def test_nothing_is_wrong_when_everybody_knows_where_the_nodes_are(plan: NetworkPlan):
    assert not list(wrong_bindings(databases(CARE_OF), PLACES, plan))


def test_a_binding_of_another_network_is_wrong_wherever_it_stands(plan: NetworkPlan):
    stale = databases({**CARE_OF, "mn2": "2001:db8:2::2"})
    wrong = list(wrong_bindings(stale, PLACES, plan))
    assert {(found.holder, found.node) for found in wrong} == {
        *((holder, "mn2") for holder in ("ha", "sg", "mn1")),
        ("mn2", "mn2"),
    }


def test_a_missing_binding_is_wrong(plan: NetworkPlan):
    without = [found for found in databases(CARE_OF) if found.node != "sg"]
    wrong = list(wrong_bindings(without, PLACES, plan))
    assert [(found.holder, found.care_of_address) for found in wrong] == [("sg", ""), ("sg", "")]


INSIDE_CARE_OF = "2001:db8:10::1"


@pytest.mark.parametrize(("told", "wrong"), [(INSIDE_CARE_OF, 0), (CARE_OF["mn1"], 2), ("", 2)])
def test_a_node_inside_is_known_to_its_peer_outside_by_its_address_on_the_lan(
    plan: NetworkPlan, told: str, wrong: int
):
    public = replace(plan, vpn_prefixes=(IPv6Network("2001:db8:10::/64"),))
    held = {
        "mn1": entry("hao", HOME["mn1"], HOME["mn2"], told),
        "mn2": entry("route2", HOME["mn2"], HOME["mn1"], told),
    }
    found = [Database("end", name, (own,), ()) for name, own in held.items()]
    assert len(list(wrong_bindings_inside(found, "mn1", ["mn2"], public))) == wrong


def test_a_node_that_is_home_has_no_binding_to_be_wrong(plan: NetworkPlan):
    assert IPv6Network("2001:db8:1::/64") in plan.prefix_by_network.values()
    assert not list(wrong_bindings([], {}, plan))
