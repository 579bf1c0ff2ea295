"""The handover microscope: each step is the first of its kind, where a packet shows it."""

from experiments.measure.handovers import exchanges, steps_of
from experiments.measure.messages import Message
from experiments.measure.moves import Window
from experiments.measure.timeline import Move

MS = 1_000_000
MOVE = Move("mn1", "wifi1", "wifi2", 100 * MS, 120 * MS)
LINKS = {"mn1": ["mn1", "uplink-wifi2"], "peer": ["mn1", "uplink-wifi2", "uplink-cell", "mn2"]}


def message(
    name: str, source: str, destination: str, sent_ms: float, took_ms: float, links: list[str]
) -> Message:
    return Message(
        protocol="mobility",
        name=name,
        numeral=None,
        source=source,
        destination=destination,
        sent_ns=round(sent_ms * MS),
        arrived_ns=round((sent_ms + took_ms) * MS),
        links=links,
    )


def windows(outbound_ms: float = 160, inbound_ms: float = 250) -> list[Window]:
    return [
        Window(MOVE, "mn2", "mn1", round(inbound_ms * MS), round((inbound_ms - 38) * MS)),
        Window(MOVE, "mn1", "mn2", round(outbound_ms * MS), round((outbound_ms - 38) * MS)),
    ]


EXCHANGE = [
    message("RouterSolicitation", "mn1", "", 120, 0, ["mn1"]),
    message("RouterAdvertisement", "wifi2", "mn2", 121, 0, ["mn2", "mn1"]),
    message("BindingUpdate", "mn1", "ha", 122, 28, LINKS["mn1"]),
    message("BindingUpdate", "mn1", "sg", 122.5, 23, LINKS["mn1"]),
    message("CareOfTestInit", "mn1", "mn2", 123, 60, LINKS["peer"]),
    message("BindingAcknowledgement", "sg", "mn1", 145.5, 23, LINKS["mn1"]),
    message("BindingAcknowledgement", "ha", "mn1", 150, 28, LINKS["mn1"]),
    message("CareOfTest", "mn2", "mn1", 183, 60, LINKS["peer"]),
    message("BindingUpdate", "mn1", "mn2", 243, 10, LINKS["mn1"]),  # lost on the way
    message("BindingUpdate", "mn1", "mn2", 1243, 38, LINKS["peer"]),
    message("BindingAcknowledgement", "mn2", "mn1", 1281, 38, LINKS["peer"]),
]


def test_every_step_is_timed_where_the_node_or_its_peer_sees_it():
    steps = steps_of(windows(), "mn2", EXCHANGE)
    assert steps.router_solicitation_ns == 120 * MS
    # Routers answer to all nodes: whoever asked.
    assert steps.router_advertisement_ns == 121 * MS
    assert steps.care_of_address_ns == steps.home_update_ns == 122 * MS
    assert steps.home_acknowledgement_ns == 178 * MS
    assert (steps.gateway_update_ns, steps.gateway_acknowledgement_ns) == (122.5 * MS, 168.5 * MS)
    assert (steps.care_of_test_init_ns, steps.care_of_test_ns) == (123 * MS, 243 * MS)
    assert steps.outbound_sent_ns == 122 * MS
    assert steps.outbound_arrived_ns == 160 * MS
    assert steps.inbound_arrived_ns == 250 * MS


def test_an_update_that_was_lost_was_sent_and_bound_nothing():
    steps = steps_of(windows(), "mn2", EXCHANGE)
    assert steps.peer_update_ns == 243 * MS
    assert steps.binding_at_peer_ns == 1281 * MS
    assert steps.peer_acknowledgement_ns == 1319 * MS


def test_a_step_that_was_not_taken_has_no_time():
    steps = steps_of(windows(), "mn2", EXCHANGE)
    assert steps.home_test_init_ns is None
    assert steps.home_test_ns is None


def test_each_move_gets_what_was_sent_until_the_same_nodes_next_one():
    moves = [
        MOVE,
        Move("mn2", "cell", "wifi1", 300 * MS, 320 * MS),
        Move("mn1", "wifi2", "cell", 1000 * MS, 1020 * MS),
    ]
    first, other, second = exchanges(EXCHANGE, moves)
    assert list(first) == EXCHANGE[:-2]
    assert list(other) == EXCHANGE[-2:]
    assert list(second) == EXCHANGE[-2:]
