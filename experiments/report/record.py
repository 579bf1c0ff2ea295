"""A result folder as the report reads it: every table parsed once, what is missing told in words.

A run that failed leaves some files out; a page must still say so. So nothing here raises for a file
that is absent or damaged: its part is empty, and `gaps` has a line about it.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from math import inf
from pathlib import Path
from typing import Any, TypeVar

from experiments.databases import Database, read_databases
from experiments.errors import ResultError
from experiments.measure.transfers import Transfer, read_transfers
from experiments.resultset import NANOSECONDS, ResultSet

T = TypeVar("T")

MOST_DETAILED_MOVES = 12

NO_VERDICT = "none"
"""Stands for the verdict of a run that was not measured."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One row of probes.csv; times in seconds from time zero."""

    sender: str
    sequence: int
    sent_s: float
    phase: str
    move: int | None
    path: str
    echo_path: str
    arrived_s: float | None
    rtt_ms: float | None
    refused: str
    optimised: bool = False

    @property
    def lost(self) -> bool:
        return self.arrived_s is None

    @property
    def delay_ms(self) -> float | None:
        """The one-way delay."""
        return None if self.arrived_s is None else 1000 * (self.arrived_s - self.sent_s)

    @property
    def round_trip_path(self) -> str:
        """The path, if probe and echo took the same; else empty."""
        return self.path if self.path == self.echo_path else ""


@dataclass(frozen=True, slots=True)
class Way:
    """One direction of a move."""

    first_arrival_s: float | None
    gap_ms: float | None
    lower_bound_ms: float | None


@dataclass(frozen=True, slots=True)
class Move:
    """One row of moves.csv."""

    index: int
    node: str
    origin: str
    target: str
    kind: str
    link_down_s: float
    link_up_s: float
    direct_before: bool
    authorisation: str
    outbound: Way
    inbound: Way
    lost: int

    @property
    def begin_s(self) -> float:
        """When the first of the two links changes: in a soft handover, link up."""
        return min(self.link_down_s, self.link_up_s)

    @property
    def title(self) -> str:
        return f"{self.node}: {self.origin} to {self.target}"

    @property
    def gap_ms(self) -> float | None:
        """The worse of the directions with traffic; None if one of them never arrived."""
        gaps = [way.gap_ms for way in self.ways]
        known = [gap for gap in gaps if gap is not None]
        return max(known) if known and len(known) == len(gaps) else None

    @property
    def lower_bound_ms(self) -> float | None:
        return max((way.lower_bound_ms or 0.0 for way in self.ways), default=None)

    @property
    def ways(self) -> list[Way]:
        """The directions with traffic: one without has no bound."""
        return [way for way in (self.outbound, self.inbound) if way.lower_bound_ms is not None]

    @property
    def gap_over_bound(self) -> float:
        """The gap as a multiple of its bound; infinite if there is no arrival."""
        gap, bound = self.gap_ms, self.lower_bound_ms
        return inf if gap is None or not bound else gap / bound

    @property
    def settled_s(self) -> float | None:
        """When all directions with traffic had arrived on the new path."""
        arrivals = [way.first_arrival_s for way in self.ways]
        known = [at for at in arrivals if at is not None]
        return max(known) if known and len(known) == len(arrivals) else None


@dataclass(frozen=True, slots=True)
class Handover:
    """One row of handovers.csv: the time of each step that was taken, by its column's name."""

    move: int
    at_s: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Phase:
    """One row of phases.csv with its end."""

    name: str
    begin_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Message:
    """One row of messages.csv."""

    sent_s: float
    arrived_s: float
    source: str
    destination: str
    protocol: str
    name: str
    numeral: str
    links: tuple[str, ...]
    details: Mapping[str, Any]

    @property
    def transit_ms(self) -> float:
        return 1000 * (self.arrived_s - self.sent_s)


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One event of events.jsonl."""

    at_s: float
    node: str
    event: str
    numeral: str
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Bytes:
    """What a TCP transfer's end passed in 100 ms."""

    at_s: float
    count: int


@dataclass(frozen=True)
class Record:
    """All that the report knows of a run."""

    folder: Path
    run: Mapping[str, Any]
    summary: Mapping[str, Any]
    probes: Sequence[Probe] = ()
    moves: Sequence[Move] = ()
    handovers: Sequence[Handover] = ()
    phases: Sequence[Phase] = ()
    messages: Sequence[Message] = ()
    events: Sequence[Occurrence] = ()
    clear_text: Sequence[Mapping[str, str]] = ()
    transfers: Mapping[str, Sequence[Bytes]] = field(default_factory=dict)
    databases: Sequence[Database] = ()
    gaps: Sequence[str] = ()

    @property
    def verdict(self) -> str:
        return str(self.summary.get("verdict") or NO_VERDICT)

    @property
    def pair(self) -> tuple[str, str]:
        """The nodes between which traffic ran; the first is the seed's MN1."""
        pair = self.run.get("pair")
        return (str(pair[0]), str(pair[1])) if pair and len(pair) == 2 else ("mn1", "mn2")

    @property
    def fake_networks(self) -> list[str]:
        """The attackers' networks in which a node was."""
        known = (self.run.get("addresses") or {}).get("fake_networks") or {}
        return sorted({move.target for move in self.moves} & set(known))

    @property
    def start(self) -> dict[str, str]:
        """Where each node of the pair was at the beginning."""
        start = self.run.get("start") or {}
        return {node: str(start.get(node, "lan")) for node in self.pair}

    @property
    def one_way(self) -> tuple[str, str] | None:
        """Sender and receiver, where only one of the nodes sends; else None."""
        direction = ((self.run.get("scenario") or {}).get("traffic") or {}).get("direction")
        return {"forward": self.pair, "backward": self.pair[::-1]}.get(str(direction))

    @property
    def best_path(self) -> str:
        """How far the run lets the pair go: direct, via_home_agents or via_gateway."""
        return str((self.run.get("variants") or {}).get("best_path", "direct"))

    @property
    def end_s(self) -> float:
        """When the last thing of the run was seen."""
        last = [probe.sent_s for probe in self.probes[-1:]]
        last += [phase.begin_s for phase in self.phases] + [move.link_up_s for move in self.moves]
        last += [max((probe.sent_s for probe in self.probes), default=0.0)]
        return max(last, default=0.0)

    @property
    def detailed_moves(self) -> Sequence[Move]:
        """The moves that are shown one by one: all, or of many the slowest over their bounds."""
        if len(self.moves) <= MOST_DETAILED_MOVES:
            return self.moves
        slowest = sorted(self.moves, key=lambda move: move.gap_over_bound, reverse=True)
        return sorted(slowest[:MOST_DETAILED_MOVES], key=lambda move: move.index)

    @property
    def detailed_moves_told(self) -> str:
        """A sentence for captions where not all moves are shown, else empty."""
        shown, known = len(self.detailed_moves), len(self.moves)
        if shown == known:
            return ""
        return f" Shown are the {shown} of {known} moves that took longest over their bounds."

    def value(self, *keys: str) -> Any:
        """Return what the summary has under nested keys; None if it has nothing."""
        value: Any = self.summary
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        return value

    @property
    def shortest_ms(self) -> float | None:
        """What propagation on the shortest path takes, there and back, or one way."""
        trip = self.value("shortest_path_rtt_ms")
        return trip / 2 if trip is not None and self.one_way else trip

    def trip_ms(self, path: str) -> float | None:
        """Return the median round trip by a path; one way, the delay."""
        return self.value("delay_ms" if self.one_way else "rtt_ms", path)

    def phase_at(self, at_s: float) -> str:
        """Return the phase that lasted at a time; empty if none is known."""
        for phase in reversed(self.phases):
            if phase.begin_s <= at_s:
                return phase.name
        return ""

    def first(self, phase: str) -> Phase | None:
        """Return the first interval of a phase."""
        return next((found for found in self.phases if found.name == phase), None)


def load_whole(folder: Path) -> Record:
    """Read a result folder of which nothing may be missing. Raises ResultError in one line."""
    results = ResultSet(folder)
    if not folder.is_dir():
        raise ResultError(f"{folder}: no such folder of results")
    if not results.run_path.exists():
        raise ResultError(
            f"{folder}: no result of a run, there is no run.json in it; name a folder that "
            "./lab run left"
        )
    again = f"python -m experiments.analyse {folder}"
    results.load_run()
    if not results.summary_path.exists():
        raise ResultError(f"{folder}: not measured, there is no summary.json; to do so: {again}")
    results.load_summary()
    record = load(folder)
    gaps = [*record.gaps, *_unlike_summary(record)]
    if gaps:
        raise ResultError(f"{folder}: {gaps[0]}; measured again by: {again}")
    return record


def _unlike_summary(record: Record) -> Iterator[str]:
    """Yield which tables have another number of rows than the summary tells: they were cut."""
    sent, moves = record.value("probes", "sent"), record.value("moves")
    if sent is not None and len(record.probes) != sent:
        yield f"probes.csv: {len(record.probes)} probes, where summary.json tells of {sent}"
    if isinstance(moves, list) and len(record.moves) != len(moves):
        yield f"moves.csv: {len(record.moves)} moves, where summary.json tells of {len(moves)}"


def load(folder: Path) -> Record:
    """Read a result folder; whatever cannot be read is empty and stands in `gaps`."""
    results = ResultSet(folder)
    gaps: list[str] = []
    empty: dict[str, Any] = {}
    run = _or_gap(results.load_run, gaps, empty)
    # Of a run that failed, what there is is worth showing.
    run = run or _or_gap(lambda: _object(results.run_path), [], empty)
    summary = _or_gap(results.load_summary, gaps, empty)
    clock = _Clock(results, run)

    def table(name: str, parse: Callable[[Mapping[str, str]], T]) -> list[T]:
        return _or_gap(lambda: [parse(row) for row in results.load_table(name)], gaps, [], name)

    probes = table("probes", clock.probe)
    end_s = max((probe.sent_s for probe in probes), default=0.0)
    begins = table("phases", lambda row: (clock.begin(row["begin_s"]), row["phase"]))
    ends = [*(begin for begin, _ in begins[1:]), max([end_s, *(begin for begin, _ in begins)])]
    return Record(
        folder=folder,
        run=run,
        summary=summary,
        probes=probes,
        moves=table("moves", clock.move),
        handovers=table("handovers", clock.handover),
        phases=[Phase(name, begin, end) for (begin, name), end in zip(begins, ends, strict=False)],
        messages=table("messages", clock.message),
        events=_or_gap(lambda: clock.events(results), gaps, []),
        clear_text=table("clear_text", dict),
        transfers=_or_gap(
            lambda: {
                transfer.name: clock.throughput(transfer)
                for transfer in read_transfers(results.transfer_log_paths())
            },
            gaps,
            {},
            "transfers",
        ),
        databases=_or_gap(lambda: read_databases(results.databases_path), gaps, [], "databases"),
        # Names within the folder: a page is passed on, and nobody else has that folder.
        gaps=[gap.replace(f"{folder}/", "") for gap in gaps],
    )


def _or_gap(read: Callable[[], T], gaps: list[str], otherwise: T, name: str = "") -> T:
    try:
        return read()
    except ResultError as error:
        gaps.append(str(error))
    except (ValueError, KeyError, TypeError, ArithmeticError, OSError) as error:
        gaps.append(f"{name}: damaged ({error!r})")
    return otherwise


def _object(path: Path) -> dict[str, Any]:
    """Return an object of JSON without a check of its keys."""
    value = json.loads(path.read_text(encoding="utf-8"))
    return value if isinstance(value, dict) else {}


class _Clock:
    """Turns the tables' times into seconds from time zero."""

    def __init__(self, results: ResultSet, run: Mapping[str, Any]) -> None:
        self._zero = self._find_zero(results, run)

    @staticmethod
    def _find_zero(results: ResultSet, run: Mapping[str, Any]) -> Decimal:
        """Time zero is run.json's; of an older or broken run, the first probe or event."""
        if isinstance(run.get("time_zero"), int | float):
            return Decimal(str(run["time_zero"]))
        try:
            return min(Decimal(row["sent_s"]) for row in results.load_table("probes"))
        except (ResultError, ValueError, KeyError, ArithmeticError):
            pass
        try:
            return Decimal(results.load_events()[0].time_ns) / NANOSECONDS
        except (ResultError, IndexError):
            return Decimal(0)

    def seconds(self, text: str) -> float:
        return float(Decimal(text) - self._zero)

    def begin(self, text: str) -> float:
        """Return a phase's begin; the first one begins before all else."""
        return max(0.0, self.seconds(text))

    def optional(self, text: str) -> float | None:
        return self.seconds(text) if text else None

    def probe(self, row: Mapping[str, str]) -> Probe:
        return Probe(
            sender=row["sender"],
            sequence=int(row["sequence"]),
            sent_s=self.seconds(row["sent_s"]),
            phase=row["phase"],
            move=int(row["move"]) if row["move"] else None,
            path=row["path"],
            echo_path=row["echo_path"],
            arrived_s=self.optional(row["arrived_s"]),
            rtt_ms=_number(row["rtt_ms"]),
            refused=row["refused"],
            optimised=row.get("optimised") == "yes",
        )

    def move(self, row: Mapping[str, str]) -> Move:
        down_s = self.seconds(row["link_down_s"])
        return Move(
            index=int(row["move"]),
            node=row["node"],
            origin=row["from"],
            target=row["to"],
            kind=row["kind"],
            link_down_s=down_s,
            link_up_s=down_s if not row["link_up_s"] else self.seconds(row["link_up_s"]),
            direct_before=row["direct_before"] == "yes",
            authorisation=row["authorisation"],
            outbound=self._way(row, "outbound"),
            inbound=self._way(row, "inbound"),
            lost=int(row["lost"] or 0),
        )

    def handover(self, row: Mapping[str, str]) -> Handover:
        times = {key.removesuffix("_s"): at for key, at in row.items() if key.endswith("_s") and at}
        return Handover(int(row["move"]), {step: self.seconds(at) for step, at in times.items()})

    def _way(self, row: Mapping[str, str], direction: str) -> Way:
        return Way(
            first_arrival_s=self.optional(row[f"{direction}_first_arrival_s"]),
            gap_ms=_number(row[f"{direction}_gap_ms"]),
            lower_bound_ms=_number(row[f"{direction}_lower_bound_ms"]),
        )

    def message(self, row: Mapping[str, str]) -> Message:
        return Message(
            sent_s=self.seconds(row["sent_s"]),
            arrived_s=self.seconds(row["arrived_s"]),
            source=row["source"],
            destination=row["destination"],
            protocol=row["protocol"],
            name=row["name"],
            numeral=row["numeral"],
            links=tuple(row["links"].split()),
            details=json.loads(row["details"]) if row["details"] else {},
        )

    def events(self, results: ResultSet) -> list[Occurrence]:
        return [
            Occurrence(
                at_s=float(Decimal(event.time_ns) / NANOSECONDS - self._zero),
                node=event.node,
                event=event.event,
                numeral=event.numeral or "",
                details=event.details,
            )
            for event in results.load_events()
        ]

    def throughput(self, transfer: Transfer) -> list[Bytes]:
        return [
            Bytes(float(Decimal(time_ns) / NANOSECONDS - self._zero), count)
            for time_ns, count in transfer.bytes_by_bin
        ]


def _number(text: str) -> float | None:
    return float(text) if text else None
