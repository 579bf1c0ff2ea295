"""All that is measured of a run, put together in the order in which one needs the other."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.databases import read_databases
from experiments.esp_keys import read_esp_sa
from experiments.measure.bindings import WrongBinding, wrong_bindings
from experiments.measure.bounds import (
    Authorisation,
    MoveBound,
    move_bound,
    setup_bound_ms,
    shortest_round_trip_ms,
)
from experiments.measure.handovers import Handover, exchanges, steps_of
from experiments.measure.messages import Message, named, read_messages
from experiments.measure.moves import Window, assign_to_moves, windows_of
from experiments.measure.observe import Observations, observe
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
from experiments.paths import PacketPath
from experiments.resultset import ResultSet


@dataclass(frozen=True, slots=True)
class MoveResult:
    """A move, its two directions, its bound and what it lost."""

    windows: tuple[Window, ...]
    bound: MoveBound
    authorisation: Authorisation
    direct: bool
    lost: int
    steps: Handover | None
    """Of a handover, else None."""

    @property
    def move(self) -> Move:
        return self.windows[0].move

    @property
    def outbound(self) -> Window:
        return next(window for window in self.windows if window.outbound)

    @property
    def inbound(self) -> Window:
        return next(window for window in self.windows if not window.outbound)

    @property
    def gap_ns(self) -> int | None:
        """The worse of the two directions; None if either never arrived."""
        gaps = [window.gap_ns for window in self.windows]
        return None if not gaps or None in gaps else max(gap for gap in gaps if gap is not None)

    @property
    def gaps_over_bounds(self) -> list[float | None]:
        """Both directions' gaps as multiples of their bounds, outbound first."""
        ways = ((self.outbound, self.bound.outbound_ms), (self.inbound, self.bound.inbound_ms))
        return [
            None if window.gap_ns is None or not bound_ms else window.gap_ns / 1e6 / bound_ms
            for window, bound_ms in ways
        ]


@dataclass(frozen=True, slots=True)
class Walk:
    """What a run shows; everything else is counting."""

    run: Mapping[str, Any]
    plan: NetworkPlan
    pair: tuple[str, str]
    timeline: Timeline
    seen: Observations
    messages: Sequence[Message]
    traffic: Traffic
    intervals: Sequence[Interval]
    moves: Sequence[MoveResult]
    setup: DirectSetup | None
    transfers: Sequence[Transfer]
    wrong_bindings: Sequence[WrongBinding] | None
    """At the end of the run, of the ends that are outside then; None if none is."""

    @property
    def probe_interval_ms(self) -> float | None:
        """How often a probe was sent, as far as the run says."""
        return self.run.get("scenario", {}).get("traffic", {}).get("probe_interval_ms")

    def first_direct_interval(self) -> tuple[int, int] | None:
        """Return begin and end of the first direct interval: up to the next change of any kind."""
        for index, interval in enumerate(self.intervals):
            if interval.phase is Phase.DIRECT:
                later = [i.begin_ns for i in self.intervals[index + 1 :]]
                return interval.begin_ns, min([END_OF_TIME_NS, *later])
        return None

    def setup_bound_ms(self) -> float | None:
        """Return the bound of the set-up, for the places where the nodes were then."""
        if self.setup is None:
            return None
        return setup_bound_ms(self._places_at(self.setup.begin_ns), self.plan)

    def shortest_path_rtt_ms(self) -> float | None:
        """Return the shortest round trip in the first direct interval."""
        interval = self.first_direct_interval()
        if interval is None:
            return None
        return shortest_round_trip_ms(self._places_at(interval[0]), self.plan)

    def round_trips_ms(self, path: PacketPath) -> list[float]:
        """Return the round trips of probes that went, and whose echoes came, by `path`.

        Via the gateway: while both ends were outside, since from inside to outside all packets pass
        it. Direct: in the first direct interval.
        """
        found = []
        interval = self.first_direct_interval()
        for probe in self.traffic.probes():
            trip = round_trip_by(probe, path)
            if trip is None:
                continue
            begin_ns, end_ns = probe.forward.sent_ns, probe.forward.sent_ns + trip
            if path is PacketPath.DIRECT and not (
                interval and interval[0] <= begin_ns and end_ns < interval[1]
            ):
                continue
            if path is PacketPath.VIA_GATEWAY and INSIDE in self._places_at(begin_ns):
                continue
            found.append(trip / 1e6)
        return found

    def unexplained_overtaking(self, tolerance_ms: float) -> list[Leg]:
        """Return the overtaken probes that the difference of two paths' delays does not explain."""
        found = []
        for leg in self.traffic.legs():
            other = leg.overtaken_by
            if other is None or leg.transit_ns is None or other.transit_ns is None:
                continue
            slow, fast = self._propagation_ms(leg), self._propagation_ms(other)
            behind_ms = (leg.transit_ns - other.transit_ns) / 1e6
            if slow is None or fast is None or behind_ms > slow - fast + tolerance_ms:
                found.append(leg)
        return found

    @property
    def can_be_direct(self) -> bool:
        """Whether the pair offers an algorithm in common."""
        return have_an_algorithm_in_common(self.run)

    def settled(self) -> list[tuple[str, bool]]:
        """Tell for the time before the first move, after each and at the end, by what path traffic
        ought to go there and whether the last arrivals in both directions did.

        A move that the other node's overtakes, while the first has not done with its links, settles
        nothing.
        """
        moves = [move for move in self.timeline.moves if move.node in self.pair]
        times = [move.begin_ns for move in moves]
        done = [max(move.down_ns, move.up_ns) for move in moves]
        legs_by_direction = arrived_by_direction(self.traffic)
        states = []
        spans = zip([0, *times], [0, *done], [*times, END_OF_TIME_NS], strict=True)
        for begin_ns, done_ns, end_ns in spans:
            if end_ns < done_ns:
                continue
            inside = [place == INSIDE for place in self._places_at(begin_ns)]
            if all(inside):
                wanted = PacketPath.INSIDE
            elif any(inside) or not self.can_be_direct:
                wanted = PacketPath.VIA_GATEWAY
            else:
                wanted = PacketPath.DIRECT
            lasts = [_last_between(legs, begin_ns, end_ns) for legs in legs_by_direction.values()]
            right = all(leg is not None and leg.path is wanted for leg in lasts)
            states.append((wanted.value, right))
        return states

    def _places_at(self, time_ns: int) -> tuple[str, str]:
        first, second = self.pair
        return self.timeline.place_at(first, time_ns), self.timeline.place_at(second, time_ns)

    def _propagation_ms(self, leg: Leg) -> float | None:
        way = self.plan.propagation_ms
        place_at = self.timeline.place_at
        source = leg.left_by or place_at(leg.source, leg.sent_ns)
        target = leg.landed_by or place_at(leg.destination, leg.arrived_ns or leg.sent_ns)
        if leg.path is PacketPath.VIA_HOME_AGENTS:
            return way(source, "ha", target)
        if leg.path is PacketPath.VIA_GATEWAY:
            if INSIDE in (source, target):
                return way(source, "sg", target)
            return way(source, "sg", "r22", "sg", target)
        return way(source, target) if leg.path else None


def have_an_algorithm_in_common(run: Mapping[str, Any]) -> bool:
    """Tell whether the pair of a run does; in one that does not say, nodes offered all."""
    offered = [set(names) for names in run.get("algorithms", {}).values()]
    return not offered or bool(set.intersection(*offered))


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


def _last_between(legs: Sequence[Leg], begin_ns: int, end_ns: int) -> Leg | None:
    index = bisect_right(legs, end_ns - 1, key=lambda leg: leg.arrived_ns or 0)
    last = legs[index - 1] if index else None
    return last if last is not None and last.sent_ns >= begin_ns else None


def measure(results: ResultSet) -> Walk:
    """Read a result folder and derive all of it."""
    run = results.load_run()
    plan = plan_from_run(run)
    first, second = run["pair"]
    pair = (str(first), str(second))
    timeline = read_timeline(results.load_events(), plan.access_networks)
    seen = observe(results, read_esp_sa(results.keys_path), plan, timeline, pair)
    messages = read_messages(seen, plan, timeline, pair)
    traffic = read_traffic(results, plan, pair, seen)
    windows = windows_of(traffic, timeline, pair)
    intervals = intervals_of(arrived_by_direction(traffic), messages, timeline, pair)
    for legs in _sent_by_direction(traffic).values():
        assign_to_moves(legs, windows, timeline)
        assign_to_intervals(legs, intervals)
    lost_by_move = [0] * len(windows)
    for probe in traffic.probes():
        if probe.forward.lost and probe.forward.move is not None:
            lost_by_move[probe.forward.move] += 1
    exchanged = exchanges(messages, [of_move[0].move for of_move in windows])
    moves = [
        _move_result(of_move, lost, exchange, intervals, timeline, plan, pair)
        for of_move, lost, exchange in zip(windows, lost_by_move, exchanged, strict=True)
    ]
    places_at_end = {name: timeline.place_at(name, END_OF_TIME_NS) for name in pair}
    outside_at_end = {
        name: place for name, place in places_at_end.items() if place in plan.prefix_by_network
    }
    # Nodes that cannot be direct know nothing of each other's bindings.
    knowing = [outside_at_end]
    if not have_an_algorithm_in_common(run):
        knowing = [{name: place} for name, place in outside_at_end.items()]
    databases = read_databases(results.databases_path)
    direct_begins = [i.begin_ns for i in intervals if i.phase is Phase.DIRECT]
    return Walk(
        run=run,
        plan=plan,
        pair=pair,
        timeline=timeline,
        seen=seen,
        messages=messages,
        traffic=traffic,
        intervals=intervals,
        moves=moves,
        setup=direct_setup(messages, seen, pair, min(direct_begins, default=END_OF_TIME_NS)),
        transfers=read_transfers(results.transfer_log_paths()),
        wrong_bindings=[
            wrong for places in knowing for wrong in wrong_bindings(databases, places, plan)
        ]
        if outside_at_end
        else None,
    )


def _sent_by_direction(traffic: Traffic) -> dict[tuple[str, str], list[Leg]]:
    legs_by_direction: dict[tuple[str, str], list[Leg]] = {}
    for leg in traffic.legs():
        legs_by_direction.setdefault((leg.source, leg.destination), []).append(leg)
    for legs in legs_by_direction.values():
        legs.sort(key=lambda leg: leg.sent_ns)
    return legs_by_direction


def _move_result(
    windows: Sequence[Window],
    lost: int,
    exchange: Sequence[Message],
    intervals: Sequence[Interval],
    timeline: Timeline,
    plan: NetworkPlan,
    pair: tuple[str, str],
) -> MoveResult:
    move = windows[0].move
    peer = pair[1] if move.node == pair[0] else pair[0]
    before = [interval.phase for interval in intervals if interval.begin_ns < move.begin_ns]
    direct = bool(before) and before[-1] is Phase.DIRECT
    authorisation = authorisation_of(exchange, move.node, peer, move.up_ns)
    bound = move_bound(move, timeline.place_at(peer, move.up_ns), direct, authorisation, plan)
    steps = steps_of(windows, peer, exchange) if move.kind is MoveKind.HANDOVER else None
    return MoveResult(tuple(windows), bound, authorisation, direct, lost, steps)


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
