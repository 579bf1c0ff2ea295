"""A run's folder to its summary and tables: counting and judging what was measured.

    python -m experiments.analyse results/2026-11-23-120000-walk

Reads run.json, events.jsonl, probes/, transfers/, captures/ and keys/; writes summary.json,
probes.csv, moves.csv, handovers.csv, phases.csv, messages.csv and clear_text.csv (docs/schema.md).
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import fields
from math import ceil
from pathlib import Path
from statistics import median
from typing import Any

from experiments.errors import ResultError
from experiments.measure.handovers import Handover
from experiments.measure.messages import named
from experiments.measure.probes import Leg, Phase
from experiments.measure.timeline import END_OF_TIME_NS
from experiments.measure.walk import MoveResult, Walk, measure
from experiments.paths import PacketPath
from experiments.resultset import SCHEMA, ResultSet, seconds

DIRECT_RATIO_LIMIT = 1.02
SETUP_RATIO_LIMIT = 1.10
HANDOVER_RATIO_LIMIT = 1.05
FINE_INTERVAL_MS = 0.5
"""Probes that come less often add more to a gap than the limit leaves room for."""
OVERTAKING_TOLERANCE_MS = 1.0
"""What transmission times and queues may add to the difference of two paths' propagation."""

PASSED, FAILED = "passed", "failed"

PROBE_COLUMNS = (
    "sender",
    "sequence",
    "sent_s",
    "phase",
    "move",
    "sender_place",
    "receiver_place",
    "path",
    "arrived_s",
    "copies",
    "overtaken_by",
    "refused",
    "echo_path",
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


def analyse(folder: Path) -> dict[str, Any]:
    """Measure a result folder, write its summary and tables, return the summary."""
    results = ResultSet(folder)
    walk = measure(results)
    write_tables(results, walk)
    summary = summarise(walk)
    results.save_summary(summary)
    return results.load_summary()


def summarise(walk: Walk) -> dict[str, Any]:
    """Return the summary of a run (docs/schema.md, summary.json)."""
    run = walk.run
    forward = [probe.forward for probe in walk.traffic.probes()]
    checks = judge(walk)
    rtt = {path.value: _median(walk.round_trips_ms(path)) for path in PacketPath}
    return {
        "schema": SCHEMA,
        "verdict": PASSED if all(check["passed"] for check in checks) else FAILED,
        "experiment": run["experiment"],
        "embodiment": run["embodiment"],
        "clock": run["clock"],
        "seed": run["seed"],
        "versions": run["versions"],
        "links": run["links"],
        "probes": {
            "sent": len(forward),
            "received": sum(not leg.lost for leg in forward),
            "lost": sum(leg.lost for leg in forward),
            "duplicated": _duplicated(forward),
            "reordered": sum(leg.overtaken_by is not None for leg in forward),
        },
        "lost_by_phase": {
            phase.value: sum(leg.lost for leg in forward if leg.phase is phase) for phase in Phase
        },
        "clear_text_packets_outside": len(walk.seen.clear_text),
        "rtt_ms": rtt,
        "shortest_path_rtt_ms": walk.shortest_path_rtt_ms(),
        "direct_setup_ms": walk.setup.duration_ms if walk.setup else None,
        "direct_setup_lower_bound_ms": walk.setup_bound_ms(),
        "moves": [
            {
                "node": result.move.node,
                "from": result.move.origin,
                "to": result.move.target,
                "gap_ms": _milliseconds(result.gap_ns),
                "lower_bound_ms": result.bound.worse_ms,
                "lost": result.lost,
            }
            for result in walk.moves
        ],
        "handovers": _handovers(walk),
        "wall_seconds": run.get("wall_seconds"),
        "checks": checks,
    }


def _handovers(walk: Walk) -> dict[str, Any] | None:
    """Return how long the handovers took, the worse direction of each; None if there were none."""
    results = [result for result in walk.moves if result.steps is not None]
    if not results:
        return None
    gaps_ms = [result.gap_ns / 1e6 for result in results if result.gap_ns is not None]
    return {
        "count": len(results),
        "complete": len(gaps_ms),
        "lost": sum(result.lost for result in results),
        "gap_ms": _spread(gaps_ms),
        "gap_over_lower_bound": _spread(_gaps_over_bounds(results)),
    }


def _gaps_over_bounds(results: Sequence[MoveResult]) -> list[float]:
    """Return the gaps of direct handovers over their bounds, in each direction."""
    return [
        ratio
        for result in results
        if result.direct and result.steps is not None
        for ratio in result.gaps_over_bounds
        if ratio is not None
    ]


def _spread(values: Sequence[float]) -> dict[str, float | None]:
    """Return median, 95th percentile (the value that 95 % do not exceed) and worst."""
    ordered = sorted(values)
    rank = ceil(0.95 * len(ordered))
    return {
        "median": _median(values),
        "p95": ordered[rank - 1] if ordered else None,
        "worst": max(values, default=None),
    }


def judge(walk: Walk) -> list[dict[str, Any]]:
    """Return the named checks of a run, in a fixed order."""
    forward = [probe.forward for probe in walk.traffic.probes()]
    echoes = [probe.echo for probe in walk.traffic.probes() if probe.echo is not None]
    lossless = not any(walk.plan.loss_percent.values()) and not walk.run.get(
        "signalling_loss_percent"
    )
    # A lost message is sent again after a second: that is no property of what it sets up.
    at_full_speed = (
        lossless and not walk.run.get("agent_delay_ms") and walk.run["clock"] == "virtual"
    )
    direct = _median(walk.round_trips_ms(PacketPath.DIRECT))
    shortest, bound = walk.shortest_path_rtt_ms(), walk.setup_bound_ms()
    settled = walk.settled()
    went_direct = PacketPath.DIRECT.value in [wanted for wanted, _ in settled]
    checks = [
        at_most("probes were sent (ends without any)", _silent_ends(walk), 0),
        at_most("clear text packets outside", len(walk.seen.clear_text), 0),
        at_most("ESP packets that no key opens", walk.seen.unopened_esp, 0),
        at_most("probes lost by the switch", _lost_between_moves(forward), 0 if lossless else None),
        at_most("echoes lost by the switch", _lost_between_moves(echoes), 0 if lossless else None),
        at_most("probes duplicated", _duplicated(forward), 0),
        at_most("echoes duplicated", _duplicated(echoes), 0),
        at_most(
            "overtaking that the paths' delays do not explain",
            len(walk.unexplained_overtaking(OVERTAKING_TOLERANCE_MS)),
            0 if walk.run["clock"] == "virtual" else None,
        ),
        at_least("path settled before, between and after moves", sum(r for _, r in settled),
                 len(settled)),
        at_least(
            "moves with a first arrival in both directions",
            sum(result.gap_ns is not None for result in walk.moves),
            len(walk.run.get("moves", walk.moves)),
        ),
    ]  # fmt: skip
    if not walk.can_be_direct:
        offers = len(named(walk.messages, "SaOffer"))
        checks.append(at_most("offers without an algorithm in common", offers, 0))
    if went_direct:
        ratio = direct / shortest if direct and shortest else None
        checks.append(at_most("direct round trip / shortest path", ratio, DIRECT_RATIO_LIMIT))
        ratio = walk.setup.duration_ms / bound if walk.setup and bound else None
        limit = SETUP_RATIO_LIMIT if at_full_speed else None
        checks.append(at_most("direct set-up / lower bound", ratio, limit))
    ratios = _gaps_over_bounds(walk.moves)
    if ratios:
        fine = walk.probe_interval_ms is not None and walk.probe_interval_ms <= FINE_INTERVAL_MS
        limit = HANDOVER_RATIO_LIMIT if at_full_speed and fine else None
        checks.append(at_most("handover gap / lower bound, the worst", max(ratios), limit))
    if walk.wrong_bindings is not None:
        checks.append(at_most("bindings wrong at the end", len(walk.wrong_bindings), 0))
    for transfer in walk.transfers:
        begins = [move.begin_ns for move in walk.timeline.moves]
        spans = list(zip([0, *begins], [*begins, END_OF_TIME_NS], strict=True))
        stopped = sum(not transfer.passed_in(*span) for span in spans) + bool(transfer.broken)
        checks.append(at_most(f"times that the transfer at {transfer.name} stopped", stopped, 0))
    return checks


def at_most(name: str, value: float | None, limit: float | None) -> dict[str, Any]:
    """Return a check that passes up to `limit`; without a limit it only tells."""
    passed = limit is None or (value is not None and value <= limit)
    return {"name": name, "value": value, "limit": limit, "passed": passed}


def at_least(name: str, value: float | None, limit: float) -> dict[str, Any]:
    """Return a check that passes from `limit` on."""
    passed = value is not None and value >= limit
    return {"name": name, "value": value, "limit": limit, "passed": passed}


def _silent_ends(walk: Walk) -> int:
    return sum(not probes for probes in walk.traffic.probes_by_sender.values())


def _lost_between_moves(legs: Sequence[Leg]) -> int:
    return sum(leg.lost and leg.move is None for leg in legs)


def _duplicated(legs: Sequence[Leg]) -> int:
    return sum(max(0, leg.copies - 1) for leg in legs)


def _median(values: Sequence[float]) -> float | None:
    return median(values) if values else None


def _milliseconds(time_ns: int | None) -> float | None:
    return None if time_ns is None else time_ns / 1e6


def _text_ms(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}"


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
        trip = probe.round_trip_ns
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
                seconds(leg.arrived_ns),
                leg.copies,
                leg.overtaken_by.sequence if leg.overtaken_by else None,
                leg.refused or None,
                echo.path.value if echo and echo.path else None,
                seconds(echo.arrived_ns) if echo else None,
                echo.copies if echo else 0,
                None if trip is None else _text_ms(trip / 1e6),
            )
        )
    return rows


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
                seconds(outbound.first_arrival_ns),
                _text_ms(_milliseconds(outbound.gap_ns)),
                _text_ms(result.bound.outbound_ms),
                seconds(inbound.first_arrival_ns),
                _text_ms(_milliseconds(inbound.gap_ns)),
                _text_ms(result.bound.inbound_ms),
                result.lost,
            )
        )
    return rows


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
                    _text_ms(_milliseconds(result.outbound.gap_ns)),
                    _text_ms(result.bound.outbound_ms),
                    _text_ms(_milliseconds(result.inbound.gap_ns)),
                    _text_ms(result.bound.inbound_ms),
                    result.lost,
                )
            )
    return rows


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


def main(arguments: list[str] | None = None) -> int:
    """Analyse a folder; 0 for passed, 1 for failed, 2 for a folder that cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m experiments.analyse", description=__doc__)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args(arguments)
    try:
        summary = analyse(options.folder)
    except ResultError as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(summary, indent=2))
    return 0 if summary["verdict"] == PASSED else 1


if __name__ == "__main__":
    sys.exit(main())
