"""What was measured, as the CSV tables of a result set (docs/schema.md)."""

import json
from dataclasses import fields

from experiments.measure.handovers import Handover
from experiments.measure.moves import Window
from experiments.measure.probes import Leg, lost_between_moves
from experiments.measure.setup import both_known_ns
from experiments.measure.walk import Walk
from experiments.resultset import ResultSet, milliseconds, seconds

PROBE_COLUMNS = (
    "sender",
    "sequence",
    "sent_s",
    "phase",
    "move",
    "sender_place",
    "receiver_place",
    "path",
    "optimised",
    "overhead_bytes",
    "arrived_s",
    "copies",
    "overtaken_by",
    "refused",
    "echo_path",
    "echo_optimised",
    "echo_arrived_s",
    "echo_copies",
    "rtt_ms",
)
MOVE_COLUMNS = (
    "move",
    "node",
    "from",
    "to",
    "kind",
    "link_down_s",
    "link_up_s",
    "direct_before",
    "authorisation",
    "outbound_first_arrival_s",
    "outbound_gap_ms",
    "outbound_lower_bound_ms",
    "inbound_first_arrival_s",
    "inbound_gap_ms",
    "inbound_lower_bound_ms",
    "lost",
)
HANDOVER_STEPS = tuple(step.name.removesuffix("_ns") for step in fields(Handover))
HANDOVER_COLUMNS = (
    "move",
    "node",
    "from",
    "to",
    "direct_before",
    "authorisation",
    "link_down_s",
    "link_up_s",
    *(f"{step}_s" for step in HANDOVER_STEPS),
    "outbound_gap_ms",
    "outbound_lower_bound_ms",
    "inbound_gap_ms",
    "inbound_lower_bound_ms",
    "lost",
)
PAIR_COLUMNS = (
    "first",
    "second",
    "both_outside_s",
    "setup_begin_s",
    "setup_end_s",
    "setup_lower_bound_ms",
    "best_path_s",
    "sent",
    "lost",
    "lost_by_switch",
)
MESSAGE_COLUMNS = (
    "sent_s",
    "arrived_s",
    "source",
    "destination",
    "protocol",
    "name",
    "numeral",
    "links",
    "details",
)


def write_tables(results: ResultSet, walk: Walk) -> None:
    """Write every table of the result set."""
    results.save_table("probes", PROBE_COLUMNS, _probe_rows(walk))
    results.save_table("moves", MOVE_COLUMNS, _move_rows(walk))
    results.save_table("handovers", HANDOVER_COLUMNS, _handover_rows(walk))
    results.save_table(
        "phases",
        ("begin_s", "phase"),
        [(seconds(interval.begin_ns), interval.phase.value) for interval in walk.intervals],
    )
    results.save_table(
        "pairs", PAIR_COLUMNS, (_pair_row(of_pair) for of_pair in (walk, *walk.others))
    )
    results.save_table("messages", MESSAGE_COLUMNS, _message_rows(walk))
    results.save_table(
        "clear_text",
        ("time_s", "link", "what"),
        [(seconds(found.time_ns), found.link, found.what) for found in walk.seen.clear_text],
    )


def _probe_rows(walk: Walk) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    place_at = walk.timeline.place_at
    for probe in walk.traffic.probes():
        leg, echo = probe.forward, probe.echo
        rows.append(
            (
                leg.source,
                leg.sequence,
                seconds(leg.sent_ns),
                leg.phase.value if leg.phase else None,
                leg.move,
                place_at(leg.source, leg.sent_ns),
                place_at(leg.destination, leg.sent_ns),
                leg.path.value if leg.path else None,
                _yes_or_no(leg),
                leg.overhead_bytes,
                seconds(leg.arrived_ns),
                leg.copies,
                leg.overtaken_by.sequence if leg.overtaken_by else None,
                leg.refused or None,
                echo.path.value if echo and echo.path else None,
                _yes_or_no(echo),
                seconds(echo.arrived_ns) if echo else None,
                echo.copies if echo else 0,
                _text_ms(milliseconds(probe.round_trip_ns)),
            )
        )
    return rows


def _yes_or_no(leg: Leg | None) -> str | None:
    """Tell whether a datagram was optimised; None if that was not seen."""
    if leg is None or leg.path is None:
        return None
    return "yes" if leg.optimised else "no"


def _move_rows(walk: Walk) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for index, result in enumerate(walk.moves):
        outbound, inbound, move = result.outbound, result.inbound, result.move
        rows.append(
            (
                index,
                move.node,
                move.origin,
                move.target,
                move.kind.value,
                seconds(move.down_ns),
                seconds(move.up_ns),
                "yes" if result.direct else "no",
                result.authorisation.value if result.direct else None,
                seconds(outbound and outbound.first_arrival_ns),
                *_gap_cells(outbound, result.bound.outbound_ms),
                seconds(inbound and inbound.first_arrival_ns),
                *_gap_cells(inbound, result.bound.inbound_ms),
                result.lost,
            )
        )
    return rows


def _gap_cells(window: Window | None, bound_ms: float) -> tuple[str | None, str | None]:
    """Return a direction's gap and its bound; nothing for one without traffic."""
    if window is None:
        return None, None
    return _text_ms(milliseconds(window.gap_ns)), _text_ms(bound_ms)


def _handover_rows(walk: Walk) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for index, result in enumerate(walk.moves):
        move, steps = result.move, result.steps
        if steps is not None:
            rows.append(
                (
                    index,
                    move.node,
                    move.origin,
                    move.target,
                    "yes" if result.direct else "no",
                    result.authorisation.value if result.direct else None,
                    seconds(move.down_ns),
                    seconds(move.up_ns),
                    *(seconds(getattr(steps, f"{step}_ns")) for step in HANDOVER_STEPS),
                    *_gap_cells(result.outbound, result.bound.outbound_ms),
                    *_gap_cells(result.inbound, result.bound.inbound_ms),
                    result.lost,
                )
            )
    return rows


def _pair_row(walk: Walk) -> tuple[object, ...]:
    """Return how a pair came to its first best path outside, and what it lost in all."""
    setup, settled = walk.setup, walk.first_best_interval()
    forward = [probe.forward for probe in walk.traffic.probes()]
    known_ns = both_known_ns(walk.messages, walk.pair, walk.plan)
    return (
        *walk.pair,
        seconds(known_ns),
        seconds(setup.begin_ns) if setup else None,
        seconds(setup.end_ns) if setup else None,
        _text_ms(walk.setup_bound_ms()),
        seconds(settled[0]) if settled else None,
        len(forward),
        sum(leg.lost for leg in forward),
        lost_between_moves(forward),
    )


def _message_rows(walk: Walk) -> list[tuple[object, ...]]:
    return [
        (
            seconds(message.sent_ns),
            seconds(message.arrived_ns),
            message.source,
            message.destination,
            message.protocol,
            message.name,
            message.numeral,
            " ".join(message.links),
            json.dumps(message.details, sort_keys=True) if message.details else None,
        )
        for message in walk.messages
    ]


def _text_ms(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}"
