"""What became of each probe and each echo: the end points' logs joined with the captures."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from experiments.dissect import ETHERNET_BYTES
from experiments.errors import ResultError
from experiments.measure.observe import DatagramKey, Observations
from experiments.network_plan import NetworkPlan
from experiments.paths import PacketPath, joined
from experiments.probe_format import ECHO, HEADERS_BYTES, PORT, PROBE, USUAL_BYTES, sender_of
from experiments.resultset import ResultSet, end_name

KIND_BY_NAME = {"probe": PROBE, "echo": ECHO}
COLUMNS = 8


class Phase(Enum):
    """The parts of a walk; those of a move have the names of its kinds."""

    INSIDE = "inside"
    LEAVING = "leaving"
    VIA_GATEWAY = "via_gateway"
    SWITCH_TO_DIRECT = "switch_to_direct"
    VIA_HOME_AGENTS = "via_home_agents"
    DIRECT = "direct"
    HANDOVER = "handover"
    RETURNING = "returning"


@dataclass(slots=True)
class Leg:
    """One numbered datagram on its one way from `source` to `destination`; times in nanoseconds.

    `sent_ns` and `arrived_ns` are the end points' (kernel time stamps), `left_ns` and `landed_ns`
    the captures' on the two nodes' own links, `left_by` and `landed_by` the access networks whose
    care-of addresses it had there. `copies` counts arrivals. `refused` is the error that
    the sender's own kernel gave instead of sending, "" if none.
    """

    source: str
    destination: str
    kind: int
    sequence: int
    sent_ns: int
    refused: str = ""
    arrived_ns: int | None = None
    copies: int = 0
    left_ns: int | None = None
    landed_ns: int | None = None
    left_by: str | None = None
    landed_by: str | None = None
    path: PacketPath | None = None
    optimised: bool = False
    """A header of its own told a care-of address, where it landed."""
    overhead_bytes: int | None = None
    """What the larger of its packets on the two links has beside the datagram's own headers."""
    overtaken_by: "Leg | None" = None
    phase: Phase | None = None
    move: int | None = None
    """Index of the move that the leg belongs to, None for none."""

    @property
    def lost(self) -> bool:
        return self.arrived_ns is None

    @property
    def transit_ns(self) -> int | None:
        """Time under way, None if it was lost."""
        return None if self.arrived_ns is None else self.arrived_ns - self.sent_ns


@dataclass(slots=True)
class Probe:
    """A probe and its echo, None if the probe never reached who would have turned it round."""

    forward: Leg
    echo: Leg | None = None

    @property
    def round_trip_ns(self) -> int | None:
        """Time from sending the probe to the arrival of its echo, None unless both arrived."""
        if self.echo is None or self.echo.arrived_ns is None:
            return None
        return self.echo.arrived_ns - self.forward.sent_ns


@dataclass(frozen=True, slots=True)
class Traffic:
    """All probes of a pair, by the end that numbered them, in the order of their numbers.

    `one_way` is (source, destination) where only one end sends, and nothing is echoed.
    """

    probes_by_sender: Mapping[str, list[Probe]]
    one_way: tuple[str, str] | None = None

    def directions(self, pair: tuple[str, str]) -> list[tuple[str, str]]:
        """Return the directions, source and destination, in which there is traffic."""
        return [pair, pair[::-1]] if self.one_way is None else [self.one_way]

    def probes(self) -> Iterator[Probe]:
        """Yield every probe, first end first."""
        for probes in self.probes_by_sender.values():
            yield from probes

    def legs(self) -> Iterator[Leg]:
        """Yield every leg, echoes too."""
        for probe in self.probes():
            yield probe.forward
            if probe.echo is not None:
                yield probe.echo


def read_traffic(
    results: ResultSet,
    plan: NetworkPlan,
    pair: tuple[str, str],
    seen: Observations,
    *,
    number: int = 0,
    one_way: tuple[str, str] | None = None,
    payload_bytes: Sequence[int] = (USUAL_BYTES,),
) -> Traffic:
    """Join the two ends' logs and the sightings of each datagram on the two ends' links.

    `number` is the pair's: 0 for the one under test. `payload_bytes` are the datagrams', in turn.
    """
    by_number: dict[tuple[str, int], Probe] = {}
    peer = {pair[0]: pair[1], pair[1]: pair[0]}
    name_by_id = {sender_of(plan.node_by_name[name].internal_home_address): name for name in pair}
    rows = {
        name: list(_rows(results.probe_log_path(end_name(name, peer[name], number))))
        for name in pair
    }
    for name in pair:
        for row in rows[name]:
            if row.event in ("sent", "refused") and row.kind == PROBE:
                leg = Leg(name, peer[name], PROBE, row.sequence, row.sent_ns, row.detail)
                by_number[name, row.sequence] = Probe(leg)
    for name in pair:
        for row in rows[name]:
            sender = name_by_id.get(row.sender)
            probe = by_number.get((sender, row.sequence)) if sender else None
            if probe is None:
                continue
            if row.event in ("sent", "refused") and row.kind == ECHO:
                if probe.echo is None:
                    probe.echo = Leg(name, peer[name], ECHO, row.sequence, row.time_ns, row.detail)
            elif row.event == "arrived" and row.kind == PROBE:
                _arrive(probe.forward, row.time_ns)
    for name in pair:
        for row in rows[name]:
            if row.event == "arrived" and row.kind == ECHO:
                probe = by_number.get((name, row.sequence))
                if probe is not None and probe.echo is not None:
                    _arrive(probe.echo, row.time_ns)
    traffic = Traffic(
        {
            name: sorted(
                (probe for (sender, _), probe in by_number.items() if sender == name),
                key=lambda probe: probe.forward.sequence,
            )
            for name in pair
        },
        one_way,
    )
    id_by_name = {name: number for number, name in name_by_id.items()}
    for probe in traffic.probes():
        sender = id_by_name[probe.forward.source]
        size = payload_bytes[probe.forward.sequence % len(payload_bytes)]
        _see(probe.forward, PORT + number, sender, size, seen)
        if probe.echo is not None:
            _see(probe.echo, PORT + number, sender, size, seen)
    for name in pair:
        mark_overtaken([probe.forward for probe in traffic.probes_by_sender[name]])
    return traffic


def _arrive(leg: Leg, time_ns: int) -> None:
    leg.copies += 1
    if leg.arrived_ns is None or time_ns < leg.arrived_ns:
        leg.arrived_ns = time_ns


def _see(leg: Leg, port: int, sender: int, payload_bytes: int, seen: Observations) -> None:
    name = (port, leg.kind, sender, leg.sequence)
    left = seen.datagrams.get(DatagramKey(leg.source, *name))
    if left is None:
        left = seen.sealed.sent_at(leg.source, leg.sent_ns)
    landed = seen.datagrams.get(DatagramKey(leg.destination, *name))
    if landed is None and leg.arrived_ns is not None:
        landed = seen.sealed.arrived_at(leg.destination, leg.arrived_ns)
    leg.left_ns = left.time_ns if left else None
    leg.landed_ns = landed.time_ns if landed else None
    leg.left_by = left.network if left else None
    leg.landed_by = landed.network if landed else None
    leg.path = joined(left.path if left else None, landed.path if landed else None)
    leg.optimised = landed is not None and landed.optimised
    if left is not None and landed is not None:
        largest = max(left.frame_bytes, landed.frame_bytes)
        leg.overhead_bytes = largest - ETHERNET_BYTES - HEADERS_BYTES - payload_bytes


def lost_between_moves(legs: Sequence[Leg]) -> int:
    """Count the lost legs that belong to no move."""
    return sum(leg.lost and leg.move is None for leg in legs)


def mark_overtaken(legs: list[Leg]) -> None:
    """Mark each leg that arrived after one with a higher number: reordered, by RFC 4737.

    `legs` are of one direction in the order of their numbers.
    """
    first_above: Leg | None = None
    for leg in reversed(legs):
        if leg.arrived_ns is None:
            continue
        if first_above is not None and (first_above.arrived_ns or 0) < leg.arrived_ns:
            leg.overtaken_by = first_above
        else:
            first_above = leg


@dataclass(frozen=True, slots=True)
class _Row:
    time_ns: int
    event: str
    kind: int
    sender: int
    sequence: int
    sent_ns: int
    detail: str


def _rows(path: Path) -> Iterator[_Row]:
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError as error:
        raise ResultError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ResultError(f"{path}: damaged (not ASCII text)") from error
    for number, line in enumerate(lines[1:], start=2):
        fields = line.split(",")
        try:
            if len(fields) != COLUMNS:
                raise ValueError(f"{len(fields)} fields instead of {COLUMNS}")
            time_ns, event, kind, sender, sequence, sent_ns, _, detail = fields
            if event in ("error", "foreign"):
                continue
            yield _Row(
                int(time_ns),
                event,
                KIND_BY_NAME[kind],
                int(sender, 16),
                int(sequence),
                int(sent_ns),
                detail,
            )
        except (ValueError, KeyError) as error:
            raise ResultError(f"{path}, line {number}: damaged ({error})") from error
