"""Several runs on one page: their curves over one another, their values and parameters abreast."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any

from experiments.errors import ResultError
from experiments.report import page
from experiments.report.drawing import (
    DASH,
    LOOKS,
    PATH_NAMES,
    PATHS,
    WIDTH_IN,
    Picture,
    blank,
    milliseconds,
    not_drawn,
    style,
)
from experiments.report.figures import trips
from experiments.report.handovers import draw_share
from experiments.report.record import Record, load_whole
from experiments.resultset import ResultSet

VALUES = "values"
"""The table of values, as CSV."""

_BINS = 300
_PROBES_IN_BIN = 4
_MARKS = 10
_RUN = ("experiment", "embodiment", "machine", "clock", "seed", "links", "versions")
"""What run.json says of a run's parameters beside its scenario."""


@dataclass(frozen=True, slots=True)
class Row:
    """A value or a parameter, of each run as text; empty where a run has none."""

    name: str
    texts: Sequence[str]

    @property
    def differs(self) -> bool:
        return len(set(self.texts)) > 1


def load(folders: Sequence[Path]) -> list[Record]:
    """Read the folders to be overlaid. Raises ResultError in one line."""
    seen: set[Path] = set()
    for folder in folders:
        if folder.resolve() in seen:
            raise ResultError(f"{folder}: named twice; name different results to compare them")
        seen.add(folder.resolve())
    if len(folders) > len(LOOKS):
        raise ResultError(
            f"{len(folders)} results are too many to be told apart in one figure, {len(LOOKS)} are "
            "not; for a table of many runs: ./lab sweep"
        )
    return [load_whole(folder) for folder in folders]


def write(folder: Path, records: Sequence[Record]) -> Path:
    """Draw an overlay into a folder: figures, values.csv, page. Return the page's path."""
    with style():
        pictures = [round_trip_times(records), gaps(records)]
    rows = values(records)
    ResultSet(folder).save_table(
        VALUES, ("value", *labels(records)), ((row.name, *row.texts) for row in rows)
    )

    def rendered(plots: Path) -> str:
        return page.templates().get_template("overlay.html.j2").render(
            title=folder.name,
            labels=labels(records),
            verdicts=[record.verdict for record in records],
            pictures=[page.shown(picture, plots) for picture in pictures],
            values=rows,
            parameters=[row for row in parameters(records) if row.differs],
        )  # fmt: skip

    return page.publish(folder, pictures, rendered)


def labels(records: Sequence[Record]) -> list[str]:
    """Return what each run is called: its number here, and its folder's name."""
    return [f"{n}: {record.folder.resolve().name}" for n, record in enumerate(records, 1)]


# --- tables -------------------------------------------------------------------------------------


def values(records: Sequence[Record]) -> list[Row]:
    """Return the headline values of each summary; those that no run has are left out."""

    def checked(record: Record, name: str) -> Any:
        checks = {check["name"]: check["value"] for check in record.value("checks") or []}
        return checks.get(name)

    def under(*keys: str) -> Callable[[Record], Any]:
        return lambda record: record.value(*keys)

    def handovers(record: Record) -> Any:
        return record.value("handovers", "count") or None

    wanted: dict[str, Callable[[Record], Any]] = {
        "verdict": under("verdict"),
        "failed checks": lambda r: sum(not c["passed"] for c in r.value("checks")),
        "packets in clear outside": under("clear_text_packets_outside"),
        "probes sent": under("probes", "sent"),
        "probes lost": under("probes", "lost"),
        "probes lost by the switch": lambda r: checked(r, "probes lost by the switch"),
        **{f"round trip {PATH_NAMES[path]} (ms)": under("rtt_ms", path) for path in PATHS},
        **{f"one-way delay {PATH_NAMES[path]} (ms)": under("delay_ms", path) for path in PATHS},
        "round trip on the shortest path (ms)": under("shortest_path_rtt_ms"),
        "direct set-up (ms)": under("direct_setup_ms"),
        "its lower bound (ms)": under("direct_setup_lower_bound_ms"),
        "handovers": handovers,
        **{
            f"gap of a handover, {which} (ms)": under("handovers", "gap_ms", which)
            for which in ("median", "p95", "worst")
        },
        **{
            f"gap / lower bound, {which}": under("handovers", "gap_over_lower_bound", which)
            for which in ("median", "worst")
        },
        "probes lost in handovers": lambda r: (
            r.value("handovers", "lost") if handovers(r) else None
        ),
    }
    rows = [Row(name, [_text(value(r)) for r in records]) for name, value in wanted.items()]
    return [row for row in rows if any(row.texts)]


def parameters(records: Sequence[Record]) -> list[Row]:
    """Return every parameter of the runs, by its key in the scenario or in run.json."""
    found = []
    for record in records:
        given = {key: record.run[key] for key in _RUN if key in record.run}
        scenario = dict(record.run.get("scenario") or {})
        scenario.pop("summary", None)
        found.append(_flat({**scenario, **given}))
    names = dict.fromkeys(name for one in found for name in one)
    return [Row(name, [one.get(name, "") for one in found]) for name in names]


def _flat(value: Any, name: str = "") -> dict[str, str]:
    """Return the values in an object as text, by their keys with dots between.

    Lists count from 1 on; an object in one is a single text.
    """
    if isinstance(value, Mapping):
        items: list[tuple[Any, Any]] = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value, 1))
    else:
        return {name: _text(value)}
    flat: dict[str, str] = {}
    for key, item in items:
        own = _flat(item, f"{name}.{key}" if name else str(key))
        if isinstance(value, list) and isinstance(item, Mapping):
            words = [f"{k.removeprefix(f'{name}.{key}.')} {text}" for k, text in own.items()]
            own = {f"{name}.{key}": ", ".join(words)}
        flat |= own
    return flat


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    return str(value)


# --- figures ------------------------------------------------------------------------------------


def round_trip_times(records: Sequence[Record]) -> Picture:
    """Return the round-trip time over time, a line for each run; delays if one is one-way."""
    one_way = any(record.one_way for record in records)
    what = "One-way delay" if one_way else "Round-trip time"
    name, title = "round-trip-time", f"{what} of each run"
    points = [trips(record, one_way) for record in records]
    if not any(points):
        why = "no probe of these runs came back with its path known"
        return not_drawn(name, title, why)
    width_s = max(
        max(record.end_s for record in records) / _BINS,
        *(_PROBES_IN_BIN * r.end_s / len(r.probes) for r in records if r.probes),
    )
    figure = blank(WIDTH_IN, 3.6 + 0.2 * len(records), layout="constrained")
    axes = figure.subplots()
    for number, (label, own) in enumerate(zip(labels(records), points, strict=True)):
        line = binned([(at, took) for at, took, _ in own], width_s)
        step = max(1, len(line) // _MARKS)
        axes.plot(
            [at for at, _ in line], [took for _, took in line], label=label,
            markevery=(step * number // len(records), step), **_look(number, len(records)),
        )  # fmt: skip
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.set_xlabel("time since the first probe (s)")
    axes.set_ylabel(f"{what.lower()} (ms)")
    figure.legend(loc="outside upper left", handlelength=5)
    caption = (
        f"Median of the probes sent in each {1000 * width_s:.0f} ms, of those whose path is known "
        "from captures (and whose echo took the same); a line ends where none arrived. Lines of "
        "later runs are thinner, so that equal ones show through."
    )
    told = "; ".join(
        f"{label}: "
        + (
            f"{min(took for _, took, _ in own):.1f} to {max(took for _, took, _ in own):.1f} ms"
            if own
            else "none"
        )
        for label, own in zip(labels(records), points, strict=True)
    )
    return Picture(name, title, caption, f"{title}. {told}.", figure)


def _look(number: int, of: int) -> dict[str, Any]:
    """Return how a run is drawn: lines of equal runs lie on one another, the lower ones wider."""
    return {**LOOKS[number], "markersize": 5, "linewidth": 1.2 + 2.4 * (1 - (number + 1) / of)}


def binned(points: Sequence[tuple[float, float]], width_s: float) -> list[tuple[float, float]]:
    """Return the medians of bins as a line of steps, broken at bins without a point."""
    line: list[tuple[float, float]] = []
    expected: int | None = None
    for place, group in groupby(sorted(points), key=lambda point: int(point[0] / width_s)):
        if expected is not None and place > expected:
            line.append((expected * width_s, float("nan")))
        middle = median(took for _, took in group)
        line += [(place * width_s, middle), ((place + 1) * width_s, middle)]
        expected = place + 1
    return line


def gaps(records: Sequence[Record]) -> Picture:
    """Return the share of handovers at or below each gap, a line for each run."""
    name, title = "gaps", "How long handovers took"
    every = [[m.gap_ms for m in record.moves if m.kind == "handover"] for record in records]
    known = [[gap for gap in own if gap is not None] for own in every]
    if not any(known):
        why = "no handover of these runs has a first arrival in both directions"
        return not_drawn(name, title, why)
    figure = blank(WIDTH_IN, 3.2 + 0.2 * len(records), layout="constrained")
    axes = figure.subplots()
    told = []
    for number, (label, own) in enumerate(zip(labels(records), known, strict=True)):
        count = len(every[number])
        middle = milliseconds(median(own)) if own else DASH
        told.append(f"{label}: {count} handovers, median {middle}")
        if own:
            draw_share(
                axes, own, count, label=f"{label}, {count} handovers",
                markevery=max(1, len(own) // _MARKS), **_look(number, len(records)),
            )  # fmt: skip
    axes.set_xlabel("gap (ms), the worse direction")
    figure.legend(loc="outside upper left", handlelength=5)
    never = sum(len(own) for own in every) - sum(len(own) for own in known)
    caption = (
        "Share of each run's handovers (moves from one access network to another) after which "
        "packets had arrived on the new path in both directions, over the time since link down"
        + (f"; {never} without such an arrival count as none." if never else ".")
    )
    return Picture(name, title, caption, f"{'; '.join(told)}.", figure)
