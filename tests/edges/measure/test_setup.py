"""When both bindings stand at sg, from the acknowledgements that it sends."""

from experiments.measure.messages import Message
from experiments.measure.setup import both_bound_ns

OUTWARDS, INWARDS = ["sg-ext", "uplink-cell", "mn2"], ["sg-lan", "r22-sg", "r22-lan"]


def acknowledged(node: str, at_ns: int, links: list[str], lifetime_s: int = 600) -> Message:
    details = {"status": 0, "lifetime_s": lifetime_s}
    name = "BindingAcknowledgement"
    return Message("mobility", name, None, "sg", node, at_ns, at_ns + 5, links, details)


def test_both_stand_when_sg_acknowledges_the_second() -> None:
    messages = [acknowledged("mn2", 10, OUTWARDS), acknowledged("mn1", 20, OUTWARDS)]
    assert both_bound_ns(messages, ("mn1", "mn2")) == 20


def test_a_binding_inside_is_not_one_of_a_node_outside() -> None:
    messages = [
        acknowledged("mn1", 1, INWARDS),
        acknowledged("mn2", 2, INWARDS),
        acknowledged("mn2", 10, OUTWARDS),
    ]
    assert both_bound_ns(messages, ("mn1", "mn2")) is None


def test_who_returns_has_no_binding_outside_any_more() -> None:
    messages = [
        acknowledged("mn2", 10, OUTWARDS),
        acknowledged("mn2", 20, INWARDS, lifetime_s=0),
        acknowledged("mn1", 30, OUTWARDS),
    ]
    assert both_bound_ns(messages, ("mn1", "mn2")) is None
