"""A run's folder to its summary: counting and judging what was measured.

    python -m experiments.analyse results/2026-11-23-120000-walk

Reads run.json, events.jsonl, probes/, transfers/, captures/ and keys/; writes summary.json,
probes.csv, moves.csv, handovers.csv, phases.csv, pairs.csv, messages.csv and clear_text.csv
(docs/schema.md).
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from statistics import median
from typing import Any

from experiments.clear_text import GIVEN_AWAY
from experiments.errors import ResultError
from experiments.measure.messages import named
from experiments.measure.probes import Leg, Phase, lost_between_moves
from experiments.measure.walk import MoveResult, Walk, measure
from experiments.network_plan import INSIDE
from experiments.paths import OF_PAIRS, PacketPath
from experiments.resultset import SCHEMA, ResultSet, milliseconds
from experiments.tables import write_tables

DIRECT_RATIO_LIMIT = 1.02
SETUP_RATIO_LIMIT = 1.10
HANDOVER_RATIO_LIMIT = 1.05
FINE_INTERVAL_MS = 0.5
"""Probes that come less often add more to a gap than the limit leaves room for."""
ENOUGH_OVERLAP_MS = 500.0
"""A soft handover is over by then, on links as they are by default."""
OVERTAKING_TOLERANCE_MS = 1.0
"""What transmission times and queues may add to the difference of two paths' propagation."""
DATAGRAMS_IN_STEP, FRAME_BYTES = 4, 256
"""All pairs send in the same instant, probes and echoes of both ends: a frame may wait behind
those of every other pair where they meet."""

PASSED, FAILED = "passed", "failed"


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
    forward = _forward(walk)
    checks = judge(walk)
    return {
        "schema": SCHEMA,
        "verdict": PASSED if all(check["passed"] for check in checks) else FAILED,
        "experiment": run["experiment"],
        "embodiment": run["embodiment"],
        "clock": run["clock"],
        "seed": run["seed"],
        "versions": run["versions"],
        "links": run["links"],
        "probes": _counts(forward),
        "lost_by_phase": {
            phase.value: sum(leg.lost for leg in forward if leg.phase is phase) for phase in Phase
        },
        "clear_text_packets_outside": len(walk.seen.clear_text),
        "clear_text_packets_by_link": dict(
            sorted(Counter(found.link for found in walk.seen.clear_text).items())
        ),
        "rtt_ms": {path.value: _median(walk.round_trips_ms(path)) for path in PacketPath},
        "delay_ms": {path.value: _median(walk.delays_ms(path)) for path in PacketPath},
        "shortest_path_rtt_ms": walk.shortest_path_rtt_ms(),
        "direct_setup_ms": walk.setup.duration_ms if walk.setup else None,
        "direct_setup_lower_bound_ms": walk.setup_bound_ms(),
        "moves": [
            {
                "node": result.move.node,
                "from": result.move.origin,
                "to": result.move.target,
                "gap_ms": milliseconds(result.gap_ns),
                "lower_bound_ms": result.bound_ms,
                "lost": result.lost,
            }
            for result in walk.moves
        ],
        "handovers": _handovers(walk),
        "other_pairs": [_other_pair(other) for other in walk.others],
        "wall_seconds": run.get("wall_seconds"),
        "checks": checks,
    }


def _counts(legs: Sequence[Leg]) -> dict[str, int]:
    return {
        "sent": len(legs),
        "received": sum(not leg.lost for leg in legs),
        "lost": sum(leg.lost for leg in legs),
        "duplicated": _duplicated(legs),
        "reordered": sum(leg.overtaken_by is not None for leg in legs),
    }


def _other_pair(walk: Walk) -> dict[str, Any]:
    """Return the figures of a pair that talks beside the one under test."""
    return {
        "nodes": list(walk.pair),
        "probes": _counts(_forward(walk)),
        "rtt_ms": {path.value: _median(walk.round_trips_ms(path)) for path in PacketPath},
        "delay_ms": {path.value: _median(walk.delays_ms(path)) for path in PacketPath},
        "shortest_path_rtt_ms": walk.shortest_path_rtt_ms(),
        "direct_setup_ms": walk.setup.duration_ms if walk.setup else None,
        "direct_setup_lower_bound_ms": walk.setup_bound_ms(),
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
        "gap_ms": spread(gaps_ms),
        "gap_over_lower_bound": spread(_gaps_over_bounds(results)),
    }


def _gaps_over_bounds(results: Sequence[MoveResult]) -> list[float]:
    """Return the gaps of handovers of paired nodes over their bounds, in each direction.

    Where the peer moved as well the bound holds, but more has to be done (docs/schema.md).
    """
    return [
        ratio
        for result in results
        if result.used in OF_PAIRS and result.alone and result.steps is not None
        for ratio in result.gaps_over_bounds
    ]


def spread(values: Sequence[float]) -> dict[str, float | None]:
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
    is_ours = walk.plan.is_ours
    lossless = (
        is_ours
        and not any(walk.plan.loss_percent.values())
        and not walk.run.get("signalling_loss_percent")
    )
    # A lost message is sent again after a second: that is no property of what it sets up.
    at_full_speed = (
        lossless and not walk.run.get("agent_delay_ms") and walk.run["clock"] == "virtual"
    )
    return [
        at_most(
            "clear text packets outside",
            len(walk.given_away_elsewhere()),
            None if walk.plan.is_open else 0,
        ),
        *_lured(walk),
        at_most("ESP packets that no key opens", walk.seen.unopened_esp, 0 if is_ours else None),
        *_checks_of_pair(walk, lossless, at_full_speed),
        *_checks_of_transfers(walk),
        *(
            {**check, "name": f"{'-'.join(other.pair)}: {check['name']}"}
            for other in walk.others
            for check in _checks_of_pair(other, lossless, at_full_speed)
        ),
    ]


def _checks_of_pair(walk: Walk, lossless: bool, at_full_speed: bool) -> list[dict[str, Any]]:
    is_ours = walk.plan.is_ours
    forward = _forward(walk)
    echoes = [probe.echo for probe in walk.traffic.probes() if probe.echo is not None]
    settled = walk.settled()
    moved = [m for m, stage in zip(walk.moves, walk.stages[1:], strict=False) if stage.settles]
    checks = [
        at_most("probes were sent (ends without any)", _silent_ends(walk), 0),
        at_most("probes lost by the switch", lost_between_moves(forward), 0 if lossless else None),
        at_most("echoes lost by the switch", lost_between_moves(echoes), 0 if lossless else None),
        at_most("probes duplicated", _duplicated(forward), 0),
        at_most("echoes duplicated", _duplicated(echoes), 0),
        at_most(
            "overtaking that the paths' delays do not explain",
            len(walk.unexplained_overtaking(_overtaking_tolerance_ms(walk))),
            0 if is_ours and _only_paths_delay(walk.run) else None,
        ),
        at_least(
            "path settled before, between and after moves",
            sum(right for _, right in settled),
            len(settled) if is_ours else 0,
        ),
        at_least(
            "moves with a first arrival in both directions",
            sum(result.gap_ns is not None for result in moved),
            len(moved) + walk.moves_otherwise() if is_ours else 0,
        ),
    ]
    optimised = walk.optimised()
    if optimised:
        told, name = sum(optimised), "route optimised between inside and outside"
        waits = walk.run.get("handover") == "classic"
        limit = len(optimised) if lossless and not waits else 0
        checks.append(at_least(name, told, limit))
    offers = len(named(walk.messages, "SaOffer"))
    if not walk.can_be_direct:
        checks.append(at_most("offers without an algorithm in common", offers, 0))
    if walk.best_path is PacketPath.VIA_GATEWAY:
        checks.append(at_most("offers where the gateway is the best path", offers, 0))
    if walk.best_path is not PacketPath.DIRECT:
        optimising = walk.optimising_messages()
        checks.append(at_most("route optimisation where nodes do none", len(optimising), 0))
    if any(s.settles and s.path is walk.best_path and INSIDE not in s.places for s in walk.stages):
        checks += _checks_of_best_path(walk, at_full_speed)
    ratios = _gaps_over_bounds(walk.moves)
    if ratios:
        fine = walk.probe_interval_ms is not None and walk.probe_interval_ms <= FINE_INTERVAL_MS
        limit = HANDOVER_RATIO_LIMIT if at_full_speed and fine else None
        checks.append(at_most("handover gap / lower bound, the worst", max(ratios), limit))
    soft = [result.lost for result in walk.moves if result.steps is not None]
    overlaps_ms = _overlaps_ms(walk.run)
    if soft and overlaps_ms:
        enough = at_full_speed and min(overlaps_ms) >= ENOUGH_OVERLAP_MS
        checks.append(at_most("probes lost in soft handovers", sum(soft), 0 if enough else None))
    if walk.wrong_bindings is not None:
        checks.append(at_most("bindings wrong at the end", len(walk.wrong_bindings), 0))
    if walk.associations_left is not None:
        checks.append(at_most("direct associations left at the end", walk.associations_left, 0))
    return checks


def _checks_of_best_path(walk: Walk, at_full_speed: bool) -> list[dict[str, Any]]:
    """Return how near to what is possible the best path and its set-up are.

    A set-up that the scenario disturbs takes as long as it does.
    """
    best, shortest = walk.best_path, walk.shortest_path_rtt_ms()
    what, took = "round trip", walk.round_trips_ms(best)
    if walk.one_way:
        what, took = "one-way delay", walk.delays_ms(best)
        shortest = shortest and shortest / 2
    median_ms = _median(took)
    ratio = median_ms / shortest if median_ms and shortest else None
    name = f"{best.value.replace('_', ' ')} {what} / shortest path"
    never = ratio is None and not walk.plan.is_ours
    # On another clock the machine's work takes time, too.
    told = never or walk.run["clock"] != "virtual"
    checks = [at_most(name, ratio, None if told else DIRECT_RATIO_LIMIT)]
    if best in OF_PAIRS:
        bound = walk.setup_bound_ms()
        setup_ratio = walk.setup.duration_ms / bound if walk.setup and bound else None
        first = next(stage for stage in walk.stages if stage.path is best)
        is_judged = at_full_speed and first.settles and walk.plan.is_ours
        limit = SETUP_RATIO_LIMIT if is_judged else None
        checks.append(at_most("direct set-up / lower bound", setup_ratio, limit))
    return checks


def _overtaking_tolerance_ms(walk: Walk) -> float:
    """Return how much less than the paths' delays allow an overtaken probe may have been behind."""
    others = len(walk.run.get("other_pairs", ()))
    queued_bits = 8 * FRAME_BYTES * DATAGRAMS_IN_STEP * others
    slowest_mbit = min((rate for rate in walk.plan.rate_mbit.values() if rate), default=None)
    queued_ms = queued_bits / (1000 * slowest_mbit) if slowest_mbit else 0.0
    return OVERTAKING_TOLERANCE_MS + queued_ms


def _only_paths_delay(run: dict[str, Any]) -> bool:
    """Tell whether a probe never waits: neither for a processor, nor behind a transfer's bursts."""
    traffic = run.get("scenario", {}).get("traffic", {})
    return run["clock"] == "virtual" and not traffic.get("tcp", False)


def _overlaps_ms(run: dict[str, Any]) -> list[float]:
    """Return how long nodes have two links in the soft handovers of a run."""
    scenario = run.get("scenario", {})
    if scenario.get("handover") != "soft":
        return []
    drawn = scenario.get("handovers")
    moves = scenario.get("move", []) if drawn is None else [drawn]
    return [move["overlap_ms"] for move in moves]


def _checks_of_transfers(walk: Walk) -> list[dict[str, Any]]:
    checks = []
    for transfer in walk.transfers:
        spans = [(stage.begin_ns, stage.end_ns) for stage in walk.stages if stage.settles]
        stopped = sum(not transfer.passed_in(*span) for span in spans) + bool(transfer.broken)
        checks.append(at_most(f"times that the transfer at {transfer.name} stopped", stopped, 0))
    if walk.transfers:
        right = walk.settled_segments()
        checks.append(at_least("transfer on the settled path", sum(right), len(right)))
    return checks


def _lured(walk: Walk) -> list[dict[str, Any]]:
    """Return the checks of visits to attackers' networks.

    A node that believes whoever advertises the company's prefix gives itself away: where a run
    shows that, it has to be seen.
    """
    believes = walk.run.get("variants", {}).get("inside_auth") != "ah"
    check, limit = (at_least, 1) if believes else (at_most, 0)
    return [
        check(GIVEN_AWAY.format(network), len(walk.given_away_in(network)), limit)
        for network in sorted(
            {move.target for move in walk.timeline.moves} & walk.plan.fake_networks.keys()
        )
    ]


def at_most(name: str, value: float | None, limit: float | None) -> dict[str, Any]:
    """Return a check that passes up to `limit`; without a limit it only tells."""
    passed = limit is None or (value is not None and value <= limit)
    return {"name": name, "value": value, "limit": limit, "passed": passed}


def at_least(name: str, value: float | None, limit: float) -> dict[str, Any]:
    """Return a check that passes from `limit` on."""
    passed = value is not None and value >= limit
    return {"name": name, "value": value, "limit": limit, "passed": passed}


def _forward(walk: Walk) -> list[Leg]:
    return [probe.forward for probe in walk.traffic.probes()]


def _silent_ends(walk: Walk) -> int:
    """Count the ends that have sent nothing, of those that send."""
    probes = walk.traffic.probes_by_sender
    return sum(not probes[source] for source, _ in walk.traffic.directions(walk.pair))


def _duplicated(legs: Sequence[Leg]) -> int:
    return sum(max(0, leg.copies - 1) for leg in legs)


def _median(values: Sequence[float]) -> float | None:
    return median(values) if values else None


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
