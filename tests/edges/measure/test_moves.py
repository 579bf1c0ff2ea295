"""Windows and gaps of soft handovers: the new path is told by what packets show."""

from experiments.measure.moves import Window, assign_to_moves, windows_of
from experiments.measure.probes import Leg, Probe, Traffic
from experiments.measure.timeline import Timeline, read_timeline
from experiments.probe_format import PROBE
from experiments.resultset import Event

MS = 1_000_000
PAIR = ("mn1", "mn2")


def soft_handover(up_ms: int, down_ms: int) -> Timeline:
    told = ((0, "link_up", "wifi1"), (up_ms, "link_up", "cell"), (down_ms, "link_down", "wifi1"))
    return read_timeline(
        [Event(t * MS, "mn1", event, None, {"network": n}) for t, event, n in told],
        frozenset({"wifi1", "cell"}),
    )


def leg(number: int, sent_ms: int, network: str, transit_ms: int | None = 10) -> Leg:
    """Return a datagram from the node that moves, by one of its access networks."""
    made = Leg("mn1", "mn2", PROBE, number, sent_ms * MS, left_ns=sent_ms * MS, left_by=network)
    made.arrived_ns = None if transit_ms is None else (sent_ms + transit_ms) * MS
    return made


def outbound(timeline: Timeline, *legs: Leg) -> Window:
    (windows,) = windows_of(Traffic({"mn1": [Probe(leg) for leg in legs]}), timeline, PAIR)
    return next(window for window in windows if window.outbound)


def test_what_still_leaves_from_the_former_address_is_not_on_the_new_path() -> None:
    found = outbound(soft_handover(100, 600), leg(0, 200, "wifi1"), leg(1, 300, "cell"))
    assert found.first_arrival_ns == 310 * MS


def test_what_a_router_has_held_for_a_node_that_comes_back_is_not_on_the_new_path() -> None:
    told = ((0, "up", "wifi1"), (200, "down", "wifi1"), (220, "up", "cell"), (900, "down", "cell"),
            (920, "up", "wifi1"))  # fmt: skip
    events = [Event(t * MS, "mn1", f"link_{e}", None, {"network": n}) for t, e, n in told]
    timeline = read_timeline(events, frozenset({"wifi1", "cell"}))

    def inbound(number: int, sent_ms: int, arrived_ms: int, network: str) -> Leg:
        made = Leg("mn2", "mn1", PROBE, number, sent_ms * MS, arrived_ns=arrived_ms * MS)
        made.landed_ns, made.landed_by = arrived_ms * MS, network
        return made

    legs = [inbound(0, 190, 921, "wifi1"), inbound(1, 600, 640, "cell"),
            inbound(2, 980, 1020, "wifi1")]  # fmt: skip
    traffic = Traffic({"mn2": [Probe(leg) for leg in legs]})
    gone, back = (
        next(w for w in windows if not w.outbound)
        for windows in windows_of(traffic, timeline, PAIR)
    )
    assert gone.first_arrival_ns == 640 * MS
    assert back.first_arrival_ns == 1020 * MS


def test_nobody_waits_if_the_new_path_carries_before_the_old_link_goes() -> None:
    assert outbound(soft_handover(100, 600), leg(0, 300, "cell")).gap_ns == 0


def test_an_overlap_that_is_too_short_leaves_a_gap_from_link_down_on() -> None:
    assert outbound(soft_handover(100, 150), leg(0, 300, "cell")).gap_ns == 160 * MS


def test_what_is_lost_before_the_old_link_goes_belongs_to_the_handover() -> None:
    timeline = soft_handover(100, 600)
    lost = leg(2, 590, "cell", transit_ms=None)
    legs = [leg(0, 50, "wifi1"), leg(1, 300, "cell"), lost, leg(3, 700, "cell")]
    windows = windows_of(Traffic({"mn1": [Probe(leg) for leg in legs]}), timeline, PAIR)
    assign_to_moves(legs, windows, timeline)
    assert [leg.move for leg in legs] == [None, 0, 0, None]


def test_what_a_busy_host_sends_late_into_a_link_that_is_gone_belongs_to_the_handover() -> None:
    told = ((0, "link_up", "wifi1"), (600, "link_down", "wifi1"), (620, "link_up", "cell"))
    timeline = read_timeline(
        [Event(t * MS, "mn1", event, None, {"network": n}) for t, event, n in told],
        frozenset({"wifi1", "cell"}),
    )
    late = Leg("mn2", "mn1", PROBE, 1, 599 * MS, left_ns=601 * MS, left_by="wifi1")
    early = Leg("mn2", "mn1", PROBE, 0, 500 * MS, left_ns=500 * MS, arrived_ns=500 * MS)
    traffic = Traffic({"mn2": [Probe(early), Probe(late)]})
    assign_to_moves([early, late], windows_of(traffic, timeline, PAIR), timeline)
    assert [early.move, late.move] == [None, 0]


def test_what_came_right_before_the_link_went_and_was_not_taken_in_belongs_to_the_handover() -> (
    None
):
    told = ((0, "link_up", "wifi1"), (600, "link_down", "wifi1"), (620, "link_up", "cell"))
    timeline = read_timeline(
        [Event(t * MS, "mn1", event, None, {"network": n}) for t, event, n in told],
        frozenset({"wifi1", "cell"}),
    )
    arrived = Leg("mn2", "mn1", PROBE, 0, 500 * MS, left_ns=500 * MS, arrived_ns=535 * MS)
    lost = Leg("mn2", "mn1", PROBE, 1, 562 * MS, left_ns=562 * MS)
    not_taken_in = Leg("mn2", "mn1", PROBE, 2, 564_800_000, left_ns=564_800_000)
    legs = [arrived, lost, not_taken_in]
    traffic = Traffic({"mn2": [Probe(leg) for leg in legs]})
    assign_to_moves(legs, windows_of(traffic, timeline, PAIR), timeline)
    assert [leg.move for leg in legs] == [None, None, 0]
