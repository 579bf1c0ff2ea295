"""What a scenario lets one expect of a pair: by which path its traffic goes, and from when on.

Where the ends are follows from the scenario's places and moves, the path from where they are, and
when it has to be settled from the time that the protocols need at least. No scenario has a list of
its own.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from experiments.measure.bounds import Authorisation, move_bound, pair_bound_ms
from experiments.measure.timeline import END_OF_TIME_NS, Move, Timeline
from experiments.network_plan import INSIDE, NetworkPlan
from experiments.paths import OF_PAIRS, PacketPath

SETTLING = 1.25
"""Who stays for less than this many times the lower bound is only passing through."""

OPTIMISED_WITHIN_S = 3.5
"""What a node that returns sends its peer outside first may come too soon; sent again after one
second, and after two more, it does not."""

FORGOTTEN_AFTER_S = 80.0
"""Nodes report a pair that has been idle for 60 s, looking every 15 s; then it is taken back."""


@dataclass(frozen=True, slots=True)
class Stage:
    """The time from one move of a pair to its next; the first one begins at 0.

    `settles`: it is long enough, with enough traffic in it, that traffic has to be on `path` at its
    end. `move_ms` is what the move that began it takes at least, 0 for none. `optimised`: at its
    end, packets through the gateway have to tell the care-of address of the node inside.
    """

    places: tuple[str, str]
    path: PacketPath
    begin_ns: int
    end_ns: int
    move_ms: float
    settles: bool
    optimised: bool = False


def have_an_algorithm_in_common(run: Mapping[str, Any], pair: Iterable[str]) -> bool:
    """Tell whether a pair does; in a run that does not say, nodes offered all."""
    known = run.get("algorithms", {})
    offered = [set(known[node]) for node in pair if node in known]
    return not offered or bool(set.intersection(*offered))


def trigger_of(run: Mapping[str, Any], pair: Iterable[str]) -> str:
    """Return what makes a pair's session direct: nothing does without an algorithm in common."""
    if not have_an_algorithm_in_common(run, pair):
        return "none"
    return str(run.get("variants", {}).get("trigger", "both"))


def best_path_of(run: Mapping[str, Any]) -> PacketPath:
    """Return how far a run lets a pair outside go."""
    return PacketPath(run.get("variants", {}).get("best_path", PacketPath.DIRECT.value))


def is_triggered(trigger: str, began_ns: int, both_outside_ns: int) -> bool:
    """Tell whether a session becomes direct that has packets since `began_ns`, and whose ends are
    both outside since `both_outside_ns` (seed: "General")."""
    existed = began_ns < both_outside_ns
    return {"session": existed, "initiation": not existed, "none": False}.get(trigger, True)


def expected_path(
    places: tuple[str, str], *, triggered: bool = True, best: PacketPath = PacketPath.DIRECT
) -> PacketPath:
    """Return the path that two nodes that talk end up on; `triggered`: their session is one that
    may leave the gateway, for the `best` path that the run has."""
    inside = [place == INSIDE for place in places]
    if all(inside):
        return PacketPath.INSIDE
    return best if triggered and not any(inside) else PacketPath.VIA_GATEWAY


def expected_places(
    start: Mapping[str, str], moves: Iterable[tuple[str, str]], pair: tuple[str, str]
) -> list[tuple[str, str]]:
    """Return where the two ends are at the beginning, and after each move of one of them.

    `moves` are nodes and where they go; who is not in `start` begins inside.
    """
    at = {node: start.get(node, INSIDE) for node in pair}
    places = [(at[pair[0]], at[pair[1]])]
    for node, network in moves:
        if node in at:
            at[node] = network
            places.append((at[pair[0]], at[pair[1]]))
    return places


def places_of_run(
    run: Mapping[str, Any], timeline: Timeline, pair: tuple[str, str]
) -> list[tuple[str, str]]:
    """Return the expected places of a run; one that does not tell its moves has those it made."""
    start = run.get("start", {node: timeline.place_at(node, 0) for node in pair})
    if "moves" in run:
        moves = [(move["node"], move["to"]) for move in run["moves"]]
    else:
        moves = [(move.node, move.target) for move in timeline.moves]
    return expected_places(start, moves, pair)


def traffic_span_ns(run: Mapping[str, Any]) -> tuple[int, int]:
    """Return from when to when the scenario has traffic; all the time, if that is not known."""
    scenario = run.get("scenario", {})
    traffic, zero_s = scenario.get("traffic", {}), run.get("time_zero")
    if zero_s is None:
        return 0, END_OF_TIME_NS
    ends = traffic.get("stop_s") or scenario.get("duration_s")
    begin_ns = round((zero_s + traffic.get("start_s", 0)) * 1e9)
    return begin_ns, END_OF_TIME_NS if ends is None else round((zero_s + ends) * 1e9)


def silent_at_end_s(run: Mapping[str, Any]) -> float:
    """Return how long before the end of a run its traffic stops."""
    scenario = run.get("scenario", {})
    stop_s = scenario.get("traffic", {}).get("stop_s")
    return 0.0 if stop_s is None else scenario["duration_s"] - stop_s


def stages(
    places: Sequence[tuple[str, str]],
    timeline: Timeline,
    pair: tuple[str, str],
    plan: NetworkPlan,
    traffic_ns: tuple[int, int],
    trigger: str = "both",
    best: PacketPath = PacketPath.DIRECT,
) -> list[Stage]:
    """Return the stages of a pair: the expected places, with the times of the moves as made.

    None settles while one of the pair is in an attacker's network.
    """
    moves = [move for move in timeline.moves if move.node in pair]
    times = [0, *(move.begin_ns for move in moves), END_OF_TIME_NS]
    used, goes_on = PacketPath.INSIDE, False
    both_outside_ns: int | None = None
    found: list[Stage] = []
    for here, move, (begin_ns, end_ns) in zip(
        places, [None, *moves], pairwise(times), strict=False
    ):
        if INSIDE in here:
            both_outside_ns = None
        elif both_outside_ns is None:
            both_outside_ns = begin_ns
        triggered = is_triggered(trigger, traffic_ns[0], both_outside_ns or 0)
        path = expected_path(here, triggered=triggered, best=best)
        lured = not plan.fake_networks.keys().isdisjoint(here)
        was_optimised = bool(found) and found[-1].optimised
        move_ms = 0.0
        if move is not None and not lured:
            move_ms = _move_ms(move, here, pair, used, was_optimised, plan)
        needed_ms = move_ms
        if path in OF_PAIRS and used is not path:
            needed_ms += pair_bound_ms(path, here, plan)
        done_ns = 0 if move is None else max(move.down_ns, move.up_ns)
        time_ns = min(end_ns, traffic_ns[1]) - max(begin_ns, traffic_ns[0])
        enough = time_ns > 0 and time_ns >= SETTLING * needed_ms * 1e6
        settles = done_ns <= end_ns and enough and not lured
        # A session that was direct goes on, optimised, while one of its nodes is inside.
        was_direct = used is PacketPath.DIRECT
        goes_on = plan.is_public and path is PacketPath.VIA_GATEWAY and (was_direct or goes_on)
        goes_on = goes_on and INSIDE in here and not lured
        optimised = bool(goes_on and settles and time_ns >= OPTIMISED_WITHIN_S * 1e9)
        found.append(Stage(here, path, begin_ns, end_ns, move_ms, settles, optimised))
        if settles or path not in OF_PAIRS:
            used = path
    return found


def _move_ms(
    move: Move,
    places: tuple[str, str],
    pair: tuple[str, str],
    used: PacketPath,
    optimised: bool,
    plan: NetworkPlan,
) -> float:
    peer_place = places[1] if move.node == pair[0] else places[0]
    bound = move_bound(move, peer_place, used, Authorisation.BOTH_TESTS, plan, optimised=optimised)
    return bound.worse_ms


def attributed_until_ns(stages: Sequence[Stage]) -> list[int]:
    """Return for each move until when, at least, what is lost is lost by it.

    Who only passes through has no path to be lost on before the next move. Nor does the peer know
    at once, after such moves, which of the places that it hears of is the last.
    """
    untils = []
    for before, stage in pairwise(stages):
        if not stage.settles:
            untils.append(stage.end_ns)
        elif not before.settles:
            untils.append(stage.begin_ns + round(SETTLING * stage.move_ms * 1e6))
        else:
            untils.append(0)
    return untils
