"""When sg knows both nodes to be outside, from what it acknowledges or tells r22."""

from dataclasses import replace

from experiments.measure.messages import Message
from experiments.measure.setup import both_known_ns
from experiments.network_plan import NetworkPlan

OUTWARDS, INWARDS = ["sg-ext", "uplink-cell", "mn2"], ["sg-lan", "r22-sg", "r22-lan"]


def acknowledged(node: str, at_ns: int, links: list[str], lifetime_s: int = 600) -> Message:
    details = {"status": 0, "lifetime_s": lifetime_s}
    name = "BindingAcknowledgement"
    return Message("mobility", name, None, "sg", node, at_ns, at_ns + 5, links, details)


def test_both_stand_when_sg_acknowledges_the_second(plan: NetworkPlan) -> None:
    messages = [acknowledged("mn2", 10, OUTWARDS), acknowledged("mn1", 20, OUTWARDS)]
    assert both_known_ns(messages, ("mn1", "mn2"), plan) == 20


def test_a_binding_inside_is_not_one_of_a_node_outside(plan: NetworkPlan) -> None:
    messages = [
        acknowledged("mn1", 1, INWARDS),
        acknowledged("mn2", 2, INWARDS),
        acknowledged("mn2", 10, OUTWARDS),
    ]
    assert both_known_ns(messages, ("mn1", "mn2"), plan) is None


def test_who_returns_has_no_binding_outside_any_more(plan: NetworkPlan) -> None:
    messages = [
        acknowledged("mn2", 10, OUTWARDS),
        acknowledged("mn2", 20, INWARDS, lifetime_s=0),
        acknowledged("mn1", 30, OUTWARDS),
    ]
    assert both_known_ns(messages, ("mn1", "mn2"), plan) is None


def told(name: str, node: str, at_ns: int) -> Message:
    details = {"internal_home_address": f"fd00:10::d{node[-1]}"}
    return Message("signalling", name, None, "sg", "r22", at_ns, at_ns + 5, INWARDS[:2], details)


def test_without_bindings_sg_knows_when_it_tells_r22(plan: NetworkPlan) -> None:
    unbound = replace(plan, binds_at_gateway=False)
    messages = [
        told("NodeAbsent", "mn2", 10),
        told("NodePresent", "mn2", 20),
        acknowledged("mn2", 25, OUTWARDS),
        told("NodeAbsent", "mn1", 30),
        told("NodeAbsent", "mn3", 35),
        told("NodeAbsent", "mn2", 40),
    ]
    assert both_known_ns(messages, ("mn1", "mn2"), unbound) == 40
    assert both_known_ns(messages, ("mn1", "mn2"), plan) is None
