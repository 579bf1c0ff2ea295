"""All that is measured of a run, put together in the order in which one needs the other."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

from experiments.clear_text import FAKE_LINK
from experiments.databases import Database, read_databases
from experiments.esp_keys import read_esp_sa
from experiments.measure.bindings import (
    WrongBinding,
    direct_associations,
    wrong_bindings,
    wrong_bindings_inside,
)
from experiments.measure.bounds import (
    Authorisation,
    MoveBound,
    move_bound,
    path_ms,
    setup_bound_ms,
)
from experiments.measure.expected import (
    FORGOTTEN_AFTER_S,
    Stage,
    attributed_until_ns,
    best_path_of,
    expected_places,
    have_an_algorithm_in_common,
    places_of_run,
    silent_at_end_s,
    stages,
    traffic_span_ns,
    trigger_of,
)
from experiments.measure.handovers import Handover, exchanges, steps_of
from experiments.measure.messages import Message, named, read_messages
from experiments.measure.moves import Window, assign_to_moves, windows_of
from experiments.measure.observe import ClearText, Observations, observe
from experiments.measure.phases import Interval, assign_to_intervals, intervals_of
from experiments.measure.probes import Leg, Phase, Probe, Traffic, read_traffic
from experiments.measure.setup import DirectSetup, direct_setup
from experiments.measure.timeline import (
    END_OF_TIME_NS,
    Move,
    MoveKind,
    Timeline,
    read_timeline,
)
from experiments.measure.transfers import Transfer, read_transfers
from experiments.network_plan import INSIDE, NetworkPlan, plan_from_run
from experiments.paths import OF_PAIRS, PacketPath, joined
from experiments.probe_format import USUAL_BYTES
from experiments.resultset import ResultSet


@dataclass(frozen=True, slots=True)
class MoveResult:
    """A move, its two directions, its bound and what it lost."""

    windows: tuple[Window, ...]
    bound: MoveBound
    authorisation: Authorisation
    used: PacketPath
    """The path that the pair was on before."""
    alone: bool
    """The peer stood still from the beginning to the first arrivals on the new path."""
    lost: int
    steps: Handover | None
    """Of a handover, else None."""

    @property
    def move(self) -> Move:
        return self.windows[0].move

    @property
    def direct(self) -> bool:
        """Whether the pair was direct before."""
        return self.used is PacketPath.DIRECT

    @property
    def outbound(self) -> Window | None:
        """What the node that moves sends; None if it only receives."""
        return next((window for window in self.windows if window.outbound), None)

    @property
    def inbound(self) -> Window | None:
        """What the node that moves receives; None if it only sends."""
        return next((window for window in self.windows if not window.outbound), None)

    @property
    def gap_ns(self) -> int | None:
        """The worse of the directions with traffic; None if one of them never arrived."""
        gaps = [window.gap_ns for window in self.windows]
        return None if not gaps or None in gaps else max(gap for gap in gaps if gap is not None)

    @property
    def bound_ms(self) -> float | None:
        """The worse of the directions with traffic; None where there is no way."""
        bounds = [self._bound_ms(window) for window in self.windows]
        return None if None in bounds else max(bound for bound in bounds if bound is not None)

    @property
    def gaps_over_bounds(self) -> list[float]:
        """The gaps of the directions with traffic as multiples of their bounds, where known."""
        return [
            window.gap_ns / 1e6 / bound_ms
            for window in self.windows
            if window.gap_ns is not None and (bound_ms := self._bound_ms(window))
        ]

    def _bound_ms(self, window: Window) -> float | None:
        return self.bound.outbound_ms if window.outbound else self.bound.inbound_ms


@dataclass(frozen=True, slots=True)
class Walk:
    """What a run shows of a pair of nodes; everything else is counting."""

    run: Mapping[str, Any]
    plan: NetworkPlan
    pair: tuple[str, str]
    timeline: Timeline
    seen: Observations
    messages: Sequence[Message]
    traffic: Traffic
    stages: Sequence[Stage]
    intervals: Sequence[Interval]
    moves: Sequence[MoveResult]
    setup: DirectSetup | None
    transfers: Sequence[Transfer]
    wrong_bindings: Sequence[WrongBinding] | None
    """At the end of the run, of the ends that are outside then; None if none is."""
    associations_left: int | None
    """Direct ones at the end, where the session has been over for long; else None."""
    others: Sequence["Walk"] = ()
    """The other pairs that talk, of the one under test."""

    @property
    def one_way(self) -> bool:
        """Whether only one end sends."""
        return self.traffic.one_way is not None

    @property
    def probe_interval_ms(self) -> float | None:
        """How often a probe was sent, as far as the run says."""
        return self.run.get("scenario", {}).get("traffic", {}).get("probe_interval_ms")

    @property
    def best_path(self) -> PacketPath:
        """How far the run lets the pair go."""
        return best_path_of(self.run)

    def first_best_interval(self) -> tuple[int, int] | None:
        """Return begin and end of the first interval on the best path, both ends being outside.

        It ends with the next change of any kind.
        """
        for index, interval in enumerate(self.intervals):
            outside = INSIDE not in self._places_at(interval.begin_ns)
            if interval.phase.value == self.best_path.value and outside:
                later = [i.begin_ns for i in self.intervals[index + 1 :]]
                return interval.begin_ns, min([END_OF_TIME_NS, *later])
        return None

    def setup_bound_ms(self) -> float | None:
        """Return the bound of the set-up, for the places where the nodes were then."""
        if self.setup is None:
            return None
        return setup_bound_ms(self._places_at(self.setup.begin_ns), self.plan)

    def shortest_path_rtt_ms(self) -> float | None:
        """Return the shortest round trip on the best path, in the first interval on it."""
        interval = self.first_best_interval()
        if interval is None:
            return None
        return 2 * path_ms(self.best_path, *self._places_at(interval[0]), self.plan)

    def round_trips_ms(self, path: PacketPath) -> list[float]:
        """Return the round trips of probes that went, and whose echoes came, by `path`."""
        trips = ((probe.forward, round_trip_by(probe, path)) for probe in self.traffic.probes())
        return self._comparable_ms(trips, path)

    def delays_ms(self, path: PacketPath) -> list[float]:
        """Return the one-way delays of probes that went by `path`."""
        legs = (probe.forward for probe in self.traffic.probes())
        return self._comparable_ms(
            ((leg, leg.transit_ns) for leg in legs if leg.path is path), path
        )

    def _comparable_ms(
        self, taken: Iterable[tuple[Leg, int | None]], path: PacketPath
    ) -> list[float]:
        """Return the times (ns) that can be compared.

        On the best path: in the first interval on it. Via the gateway: while both ends were
        outside, since from inside to outside all packets pass it.
        """
        found = []
        interval = self.first_best_interval()
        for leg, trip in taken:
            if trip is None:
                continue
            begin_ns, end_ns = leg.sent_ns, leg.sent_ns + trip
            if path is self.best_path and not (
                interval and interval[0] <= begin_ns and end_ns < interval[1]
            ):
                continue
            if path is PacketPath.VIA_GATEWAY and INSIDE in self._places_at(begin_ns):
                continue
            found.append(trip / 1e6)
        return found

    def unexplained_overtaking(self, tolerance_ms: float) -> list[Leg]:
        """Return the overtaken probes that the difference of two paths' delays does not explain.

        Nor those that a router held for a node that it looked for, until that was back.
        """
        found = []
        for leg in self.traffic.legs():
            other = leg.overtaken_by
            if other is None or leg.transit_ns is None or other.transit_ns is None:
                continue
            slow, fast = self._propagation_ms(leg), self._propagation_ms(other)
            behind_ms = (leg.transit_ns - other.transit_ns) / 1e6
            if (
                slow is None
                or fast is None
                or (behind_ms > slow - fast + tolerance_ms and not self._was_held(leg, slow))
            ):
                found.append(leg)
        return found

    def _was_held(self, leg: Leg, propagation_ms: float) -> bool:
        """Tell whether a leg was due before the node had the link by which it came all the same."""
        landed_ns = leg.landed_ns or leg.arrived_ns or 0
        network = leg.landed_by or self.timeline.place_at(leg.destination, landed_ns)
        link = (leg.destination, network)
        up_ns = max(
            (
                move.up_ns
                for move in self.timeline.moves
                if (move.node, move.target) == link and move.up_ns <= landed_ns
            ),
            default=0,
        )
        due_ns = leg.sent_ns + round(1e6 * propagation_ms)
        return due_ns < up_ns

    def moves_otherwise(self) -> int:
        """Return how many of the scenario's moves of the pair were not made, or others were."""
        wanted = places_of_run(self.run, self.timeline, self.pair)
        start: tuple[str, str] = self._places_at(0)
        made = [(result.move.node, result.move.target) for result in self.moves]
        found = expected_places(dict(zip(self.pair, start, strict=True)), made, self.pair)
        return sum(one != other for one, other in zip_longest(wanted, found))

    @property
    def can_be_direct(self) -> bool:
        """Whether the pair offers an algorithm in common."""
        return have_an_algorithm_in_common(self.run, self.pair)

    def optimising_messages(self) -> list[Message]:
        """Return what the nodes of the pair have sent each other to be found directly (218)."""
        return [
            message
            for name in ("HomeTestInit", "CareOfTestInit", "BindingUpdate")
            for source, destination in (self.pair, self.pair[::-1])
            for message in named(self.messages, name, source=source, destination=destination)
        ]

    def settled(self) -> list[tuple[PacketPath, bool]]:
        """Tell for each stage that settles the expected path, and whether the last arrivals in all
        directions took it."""
        return [
            (stage.path, all(leg is not None and leg.path is stage.path for leg in lasts))
            for stage, lasts in self._last_arrivals()
            if stage.settles
        ]

    def optimised(self) -> list[bool]:
        """Tell for each stage whose packets through the gateway have to be optimised whether the
        last arrivals in all directions were."""
        return [
            all(leg is not None and leg.optimised for leg in lasts)
            for stage, lasts in self._last_arrivals()
            if stage.optimised
        ]

    def _last_arrivals(self) -> Iterator[tuple[Stage, list[Leg | None]]]:
        """Yield each stage with what arrived last in it, in each direction."""
        legs_by_direction = arrived_by_direction(self.traffic)
        for stage in self.stages:
            yield (
                stage,
                [
                    _last_between(legs_by_direction.get(direction, []), stage)
                    for direction in self.traffic.directions(self.pair)
                ],
            )

    def settled_segments(self) -> list[bool]:
        """Tell for each stage that settles whether the TCP transfer's last segment of it took the
        expected path."""
        landed = sorted(self._segments())
        found = []
        for stage in self.stages:
            if stage.settles:
                index = bisect_left(landed, (stage.end_ns,))
                last = landed[index - 1] if index else None
                found.append(
                    last is not None and last[0] >= stage.begin_ns and last[1] == stage.path.value
                )
        return found

    def _segments(self) -> Iterator[tuple[int, str]]:
        """Yield when a segment of the transfer came to its receiver's link, and by which path."""
        home = {name: self.plan.node_by_name[name].internal_home_address for name in self.pair}
        for source, destination in (self.pair, self.pair[::-1]):
            for key, landed in self.seen.segments.items():
                ends = home[source], home[destination]
                if key.link != destination or (key.source, key.destination) != ends:
                    continue
                left = self.seen.segments.get(key._replace(link=source))
                path = joined(left.path if left else None, landed.path)
                yield landed.time_ns, path.value if path else ""

    @property
    def lured(self) -> list[MoveResult]:
        """The moves into an attacker's network."""
        return [result for result in self.moves if result.move.target in self.plan.fake_networks]

    def given_away_in(self, network: str) -> list[ClearText]:
        """Return what could be read in an attacker's network, from its own capture."""
        link = FAKE_LINK.format(network)
        return [found for found in self.seen.clear_text if found.link == link]

    def given_away_elsewhere(self) -> list[ClearText]:
        """Return what could be read outside, but for the networks of attackers."""
        fakes = self.plan.fake_networks
        own = {FAKE_LINK.format(network) for network in fakes}
        return [
            found
            for found in self.seen.clear_text
            if found.link not in own
            and not (
                found.link in self.plan.node_by_name
                and self.timeline.place_at(found.link, found.time_ns) in fakes
            )
        ]

    def _places_at(self, time_ns: int) -> tuple[str, str]:
        first, second = self.pair
        return self.timeline.place_at(first, time_ns), self.timeline.place_at(second, time_ns)

    def _propagation_ms(self, leg: Leg) -> float | None:
        place_at = self.timeline.place_at
        source = leg.left_by or place_at(leg.source, leg.sent_ns)
        target = leg.landed_by or place_at(leg.destination, leg.arrived_ns or leg.sent_ns)
        if {source, target} & self.plan.fake_networks.keys():
            return None
        return path_ms(leg.path, source, target, self.plan) if leg.path else None


def round_trip_by(probe: Probe, path: PacketPath) -> int | None:
    """Return a probe's round trip in nanoseconds if it and its echo took `path`."""
    if probe.echo is None or probe.forward.path is not path or probe.echo.path is not path:
        return None
    return probe.round_trip_ns


def arrived_by_direction(traffic: Traffic) -> dict[tuple[str, str], list[Leg]]:
    """Return the legs that arrived, echoes too, by direction in the order of arrival."""
    legs_by_direction: dict[tuple[str, str], list[Leg]] = {}
    for leg in traffic.legs():
        direction = legs_by_direction.setdefault((leg.source, leg.destination), [])
        if leg.arrived_ns is not None:
            direction.append(leg)
    for legs in legs_by_direction.values():
        legs.sort(key=lambda leg: leg.arrived_ns or 0)
    return legs_by_direction


def _last_between(legs: Sequence[Leg], stage: Stage) -> Leg | None:
    index = bisect_right(legs, stage.end_ns - 1, key=lambda leg: leg.arrived_ns or 0)
    last = legs[index - 1] if index else None
    return last if last is not None and last.sent_ns >= stage.begin_ns else None


def measure(results: ResultSet) -> Walk:
    """Read a result folder and derive all of it."""
    run = results.load_run()
    plan = plan_from_run(run)
    pairs = [(str(one), str(other)) for one, other in (run["pair"], *run.get("other_pairs", ()))]
    timeline = read_timeline(results.load_events(), plan.external_networks)
    seen = observe(results, read_esp_sa(results.keys_path), plan, timeline, pairs)
    messages = read_messages(seen, plan, timeline, pairs)
    databases = read_databases(results.databases_path)
    under_test, *others = (
        _measure_pair(results, run, plan, timeline, seen, messages, databases, pair, number)
        for number, pair in enumerate(pairs)
    )
    return replace(
        under_test, others=others, transfers=read_transfers(results.transfer_log_paths())
    )


def _measure_pair(
    results: ResultSet,
    run: Mapping[str, Any],
    plan: NetworkPlan,
    timeline: Timeline,
    seen: Observations,
    messages: Sequence[Message],
    databases: Sequence[Database],
    pair: tuple[str, str],
    number: int,
) -> Walk:
    sent = run.get("scenario", {}).get("traffic", {})
    one_way = {"forward": pair, "backward": pair[::-1]}.get(sent.get("direction", "both"))
    sizes = sent.get("payload_bytes", (USUAL_BYTES,))
    traffic = read_traffic(
        results, plan, pair, seen, number=number, one_way=one_way, payload_bytes=sizes
    )
    best = best_path_of(run)
    found = stages(
        places_of_run(run, timeline, pair),
        timeline,
        pair,
        plan,
        traffic_span_ns(run),
        trigger_of(run, pair),
        best,
    )
    windows = windows_of(traffic, timeline, pair)
    arrived = arrived_by_direction(traffic)
    intervals = intervals_of(arrived, messages, timeline, pair, best)
    for legs in _sent_by_direction(traffic).values():
        assign_to_moves(legs, windows, timeline, attributed_until_ns(found))
        assign_to_intervals(legs, intervals)
    lost_by_move = [0] * len(windows)
    for probe in traffic.probes():
        if probe.forward.lost and probe.forward.move is not None:
            lost_by_move[probe.forward.move] += 1
    exchanged = exchanges(messages, [of_move[0].move for of_move in windows])
    moves = [
        _move_result(of_move, windows, lost, exchange, intervals, timeline, plan, pair, arrived)
        for of_move, lost, exchange in zip(windows, lost_by_move, exchanged, strict=True)
    ]
    paired = [i.begin_ns for i in intervals if i.phase in PHASES_OF_PAIRS]
    return Walk(
        run=run,
        plan=plan,
        pair=pair,
        timeline=timeline,
        seen=seen,
        messages=messages,
        traffic=traffic,
        stages=found,
        intervals=intervals,
        moves=moves,
        setup=direct_setup(messages, seen, pair, plan, min(paired, default=END_OF_TIME_NS)),
        transfers=(),
        **_databases_at_end(databases, run, plan, timeline, pair, found[-1]),
    )


def _databases_at_end(
    databases: Sequence[Database],
    run: Mapping[str, Any],
    plan: NetworkPlan,
    timeline: Timeline,
    pair: tuple[str, str],
    last: Stage,
) -> dict[str, Any]:
    """Return what of a walk is read from the kernels' databases at the end of the run.

    Nodes that are not direct in the `last` stage know nothing of each other's bindings, but for the
    one outside where the route between inside and outside is optimised.
    """
    if not plan.is_ours:
        # Another system has neither.
        return {"wrong_bindings": None, "associations_left": None}
    places_at_end = {name: timeline.place_at(name, END_OF_TIME_NS) for name in pair}
    outside = {
        name: place for name, place in places_at_end.items() if place in plan.prefix_by_network
    }
    silent_s = silent_at_end_s(run)
    over = silent_s >= FORGOTTEN_AFTER_S
    direct = last.path is PacketPath.DIRECT and not silent_s
    wrong = [*wrong_bindings(databases, outside, plan, direct=direct)]
    if last.optimised and not silent_s:
        inside = next(name for name, place in places_at_end.items() if place == INSIDE)
        wrong += wrong_bindings_inside(databases, inside, outside, plan)
    return {
        "wrong_bindings": wrong if outside else None,
        "associations_left": direct_associations(databases, pair, plan) if over else None,
    }


def _sent_by_direction(traffic: Traffic) -> dict[tuple[str, str], list[Leg]]:
    legs_by_direction: dict[tuple[str, str], list[Leg]] = {}
    for leg in traffic.legs():
        legs_by_direction.setdefault((leg.source, leg.destination), []).append(leg)
    for legs in legs_by_direction.values():
        legs.sort(key=lambda leg: leg.sent_ns)
    return legs_by_direction


def _move_result(
    windows: Sequence[Window],
    all_windows: Sequence[Sequence[Window]],
    lost: int,
    exchange: Sequence[Message],
    intervals: Sequence[Interval],
    timeline: Timeline,
    plan: NetworkPlan,
    pair: tuple[str, str],
    arrived: Mapping[tuple[str, str], Sequence[Leg]],
) -> MoveResult:
    move = windows[0].move
    peer = pair[1] if move.node == pair[0] else pair[0]
    before = [interval.phase for interval in intervals if interval.begin_ns < move.begin_ns]
    paired = bool(before) and before[-1] in PHASES_OF_PAIRS
    used = PacketPath(before[-1].value) if paired else PacketPath.VIA_GATEWAY
    authorisation = authorisation_of(exchange, move.node, peer, move.up_ns)
    received = arrived.get((peer, move.node), ())
    index = bisect_left(received, move.begin_ns, key=lambda leg: leg.arrived_ns or 0)
    last = received[index - 1] if index else None
    bound = move_bound(
        move,
        timeline.place_at(peer, move.up_ns),
        used,
        authorisation,
        plan,
        optimised=last is not None and last.optimised and last.path is PacketPath.VIA_GATEWAY,
    )
    handover = move.kind is MoveKind.HANDOVER and move.target not in plan.fake_networks
    steps = steps_of(windows, peer, exchange) if handover else None
    begin_ns, end_ns = span_of(windows)
    alone = not any(
        others[0].move.node == peer and first_ns < end_ns and begin_ns < last_ns
        for others in all_windows
        for first_ns, last_ns in [span_of(others)]
    )
    return MoveResult(tuple(windows), bound, authorisation, used, alone, lost, steps)


PHASES_OF_PAIRS = frozenset(Phase(path.value) for path in OF_PAIRS)


def span_of(windows: Sequence[Window]) -> tuple[int, int]:
    """Return from when to when a move lasts: until traffic arrives, and the links are settled."""
    move = windows[0].move
    arrivals = [window.first_arrival_ns for window in windows]
    ends = [END_OF_TIME_NS if at is None else at for at in arrivals]
    return move.begin_ns, max(move.up_ns, move.down_ns, *ends)


def authorisation_of(
    messages: Sequence[Message], node: str, peer: str, up_ns: int
) -> Authorisation:
    """Tell by which tests `node` authorised its first binding update to `peer` after `up_ns`."""
    updates = [
        message.sent_ns
        for message in named(messages, "BindingUpdate", source=node, destination=peer)
        if message.sent_ns >= up_ns
    ]
    until_ns = min(updates, default=up_ns)

    def done(test: str) -> bool:
        tests = named(messages, test, source=node, destination=peer)
        return any(up_ns <= message.sent_ns <= until_ns for message in tests)

    if done("HomeTestInit"):
        return Authorisation.BOTH_TESTS
    return Authorisation.CARE_OF_TEST if done("CareOfTestInit") else Authorisation.NO_TEST
