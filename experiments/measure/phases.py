"""The phases of a walk between its moves, told from packets."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from experiments.measure.messages import Message
from experiments.measure.probes import Leg, Phase
from experiments.measure.timeline import Timeline
from experiments.network_plan import INSIDE
from experiments.paths import PacketPath

OFFER_NUMERALS = ("206", "210")


@dataclass(frozen=True, slots=True)
class Interval:
    """A phase that lasts from `begin_ns` until the next interval's."""

    begin_ns: int
    phase: Phase


def intervals_of(
    legs_by_direction: Mapping[tuple[str, str], Sequence[Leg]],
    messages: Iterable[Message],
    timeline: Timeline,
    pair: tuple[str, str],
    best: PacketPath = PacketPath.DIRECT,
) -> list[Interval]:
    """Return the steady phases in order of time, the first from time 0 on.

    Both ends inside: inside. Both outside: via_gateway until the first offer of a direct pair (206
    or 210) is on a link, switch_to_direct until both directions have arrived on the best path, then
    direct, or what that is. Else via_gateway. A change of attachment counts from its beginning on;
    moves overlay this. What goes through the gateway again while both ends are outside is
    via_gateway again.
    """
    intervals: list[Interval] = []
    boundaries = [0, *(move.begin_ns for move in timeline.moves if move.node in pair)]
    offers = sorted(
        message.sent_ns
        for message in messages
        if message.numeral in OFFER_NUMERALS and message.is_about(pair)
    )
    gateway = sorted(
        leg.sent_ns
        for legs in legs_by_direction.values()
        for leg in legs
        if leg.path is PacketPath.VIA_GATEWAY
    )
    ends = [*boundaries[1:], None]
    for begin_ns, end_ns in zip(boundaries, ends, strict=False):
        both_outside = all(timeline.place_at(name, begin_ns) != INSIDE for name in pair)
        was = intervals[-1].phase if intervals else None
        if not both_outside:
            intervals.append(Interval(begin_ns, _base(timeline, pair, begin_ns)))
        elif was in (Phase(best.value), Phase.SWITCH_TO_DIRECT):
            intervals.append(Interval(begin_ns, was))
        else:
            intervals.append(Interval(begin_ns, Phase.VIA_GATEWAY))
        if both_outside:
            intervals += _within(legs_by_direction, offers, gateway, intervals[-1], end_ns, best)
    return intervals


def _within(
    legs_by_direction: Mapping[tuple[str, str], Sequence[Leg]],
    offers: Sequence[int],
    gateway: Sequence[int],
    last: Interval,
    end_ns: int | None,
    best: PacketPath,
) -> list[Interval]:
    """Return the changes of phase between two moves while both ends are outside.

    `gateway` are the times at which what took the gateway was sent, in order.
    """
    found: list[Interval] = []

    def still(time_ns: int) -> bool:
        return end_ns is None or time_ns < end_ns

    if last.phase is Phase.VIA_GATEWAY:
        begin = next((offer for offer in offers if offer >= last.begin_ns), None)
        if begin is None:
            begin = min(_firsts(legs_by_direction, NOT_GATEWAY, last.begin_ns), default=None)
        if begin is None or not still(begin):
            return found
        last = Interval(begin, Phase.SWITCH_TO_DIRECT)
        found.append(last)
    if last.phase is Phase.SWITCH_TO_DIRECT:
        firsts = _firsts(legs_by_direction, {best}, last.begin_ns)
        if not firsts or len(firsts) < len(legs_by_direction) or not still(max(firsts)):
            return found
        last = Interval(max(firsts), Phase(best.value))
        found.append(last)
    back = bisect_right(gateway, last.begin_ns)
    if back < len(gateway) and still(gateway[back]):
        last = Interval(gateway[back], Phase.VIA_GATEWAY)
        found += [last, *_within(legs_by_direction, offers, gateway, last, end_ns, best)]
    return found


NOT_GATEWAY = {PacketPath.VIA_HOME_AGENTS, PacketPath.DIRECT}


def _firsts(
    legs_by_direction: Mapping[tuple[str, str], Sequence[Leg]],
    paths: set[PacketPath],
    since_ns: int,
) -> list[int]:
    """Return for each direction that has one its first arrival on one of `paths`."""
    firsts = []
    for legs in legs_by_direction.values():
        begin = bisect_left(legs, since_ns, key=lambda leg: leg.arrived_ns or 0)
        found = (leg.arrived_ns for leg in islice(legs, begin, None) if leg.path in paths)
        first = next(found, None)
        if first is not None:
            firsts.append(first)
    return firsts


def _base(timeline: Timeline, pair: tuple[str, str], time_ns: int) -> Phase:
    places = {timeline.place_at(name, time_ns) == INSIDE for name in pair}
    return Phase.INSIDE if places == {True} else Phase.VIA_GATEWAY


def assign_to_intervals(legs: Iterable[Leg], intervals: Sequence[Interval]) -> None:
    """Give each leg that belongs to no move to the phase in which it was sent."""
    begins = [interval.begin_ns for interval in intervals]
    for leg in legs:
        if leg.phase is None:
            leg.phase = intervals[max(0, bisect_right(begins, leg.sent_ns) - 1)].phase
