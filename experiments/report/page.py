"""The page about a run: one file that needs nothing else, written from the run's folder alone.

python -m experiments.report.page results/2026-11-23-120000-walk
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from experiments.clear_text import GIVEN_AWAY
from experiments.databases import Database
from experiments.errors import ResultError
from experiments.report import figures, reproduction, sequence, story
from experiments.report.databases import (
    ASSOCIATION_COLUMNS,
    POLICY_COLUMNS,
    Comparison,
    compare,
)
from experiments.report.drawing import DASH, PATH_NAMES, THEMED, Picture, milliseconds
from experiments.report.record import Record, load

PAGE = "report.html"
PLOTS = "plots"
_TEMPLATES = Path(__file__).parent
_COLOUR = re.compile("|".join(THEMED), re.IGNORECASE)
_IDENTIFIER = re.compile(r'(\bid="|\bhref="#|url\(#)')


def write(folder: Path) -> Path:
    """Draw the plots and the page of a result folder; return the page's path.

    What is missing in the folder is said on the page. Raises ResultError if nothing can be written.
    """
    return draw(load(folder))


def draw(record: Record) -> Path:
    """Draw into the folder that a record was read from; as `write`."""
    charts = sequence.pictures(record)
    pictures = figures.pictures(record)
    return publish(
        record.folder, (*pictures, *charts), lambda plots: render(record, plots, pictures, charts)
    )


def publish(folder: Path, pictures: Iterable[Picture], rendered: Callable[[Path], str]) -> Path:
    """Write the pictures, then the page made from their folder; return the page's path.

    Raises ResultError if one of them cannot be written.
    """
    plots = folder / PLOTS
    page = folder / PAGE
    try:
        plots.mkdir(exist_ok=True)
        for picture in pictures:
            picture.save(plots)
        page.write_text(rendered(plots), encoding="utf-8")
    except OSError as error:
        raise ResultError(
            f"{error.filename or page}: cannot be written ({error.strerror})"
        ) from error
    return page


def templates() -> Environment:
    """Return what fills in the pages' templates."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["ms"] = milliseconds
    environment.filters["told"] = story.told
    return environment


def render(
    record: Record, plots: Path, pictures: Sequence[Picture], charts: Sequence[Picture]
) -> str:
    """Return the page as HTML."""
    return (
        templates()
        .get_template("report.html.j2")
        .render(
            record=record,
            title=_title(record),
            headline=story.headline(record),
            attacks=story.attacks(record),
            failures=story.failures(record),
            tiles=tiles(record),
            sentences=story.sentences(record),
            pictures=[shown(picture, plots) for picture in pictures],
            charts=[shown(chart, plots) for chart in charts],
            main_chart=main_chart(record, charts),
            switch=switch_of(record),
            changes=changes(record),
            association_columns=ASSOCIATION_COLUMNS,
            policy_columns=POLICY_COLUMNS,
            command=reproduction.command(record),
            needs_file=reproduction.needs_file(record),
            revision=reproduction.revision(record),
            scenario=reproduction.scenario_toml(record),
            phase_names=PATH_NAMES,
        )
    )


def _title(record: Record) -> str:
    name = (record.run.get("scenario") or {}).get("name") or record.run.get("experiment") or "run"
    return f"{name}, {record.folder.resolve().name}"


# --- key figures --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure that a reader looks for first; `passed` is None where nothing is judged."""

    label: str
    value: str
    note: str
    passed: bool | None


def tiles(record: Record) -> list[Tile]:
    """Return the key figures, each with what it is held against."""
    checks = {check["name"]: check for check in record.value("checks") or []}

    def judged(name: str) -> bool | None:
        check = checks.get(name)
        return None if check is None or check["limit"] is None else bool(check["passed"])

    lost = checks.get("probes lost by the switch", {}).get("value")
    one_way = record.one_way is not None
    what = "one-way delay" if one_way else "round trip"
    best = record.best_path
    trips = {path: milliseconds(record.trip_ms(path)) for path in ("via_gateway", best)}
    elsewhere = "" if best == "via_gateway" else f", through the gateway {trips['via_gateway']}"
    return [
        *(
            Tile(
                f"In clear in {network}'s network",
                _count(check["value"]),
                "which looks like the inside; "
                + ("it has to be seen" if check["limit"] else "none is allowed"),
                bool(check["passed"]),
            )
            for network in record.fake_networks
            if (check := checks.get(GIVEN_AWAY.format(network))) is not None
        ),
        Tile(
            "Packets in clear outside",
            _count(checks.get("clear text packets outside", {}).get("value")),
            "on any external link; none is allowed",
            judged("clear text packets outside"),
        ),
        Tile(
            "Probes lost by the switch",
            _count(lost),
            f"of {_count(record.value('probes', 'sent'))}; those that no move explains",
            judged("probes lost by the switch"),
        ),
        Tile(
            f"{PATH_NAMES[best].capitalize()} {what}",
            trips[best],
            f"shortest path {milliseconds(record.shortest_ms)}{elsewhere}",
            judged(f"{PATH_NAMES[best]} {what} / shortest path"),
        ),
        Tile(
            "Direct set-up",
            milliseconds(record.value("direct_setup_ms")),
            f"propagation alone needs {milliseconds(record.value('direct_setup_lower_bound_ms'))}",
            judged("direct set-up / lower bound"),
        ),
    ]


def _count(value: Any) -> str:
    return DASH if value is None else f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


# --- pictures -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture as the page has it; `svg` is empty where there was nothing to draw."""

    name: str
    title: str
    caption: str
    svg: Markup


def shown(picture: Picture, plots: Path) -> Shown:
    """Return a picture with its SVG ready to stand in the page."""
    svg = Markup("")
    if picture.figure is not None:
        text = (plots / f"{picture.name}.svg").read_text(encoding="utf-8")
        # Markup: it is matplotlib's own output, with every text of ours escaped.
        svg = Markup(inlined(text, picture))
    return Shown(picture.name, picture.title, picture.caption, svg)


def inlined(text: str, picture: Picture) -> str:
    """Return an SVG file as a part of a page that has others, in the page's colours."""
    head, body = text[text.index("<svg") :].split(">", 1)
    box = re.search(r'viewBox="[^"]*"', head)
    name = picture.name
    # Identifiers are the file's own; a reference into a folded part of the page would be dead.
    body = _IDENTIFIER.sub(lambda found: f"{found[1]}{name}-", body)
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'(fill|stroke)="(#[0-9a-fA-F]{6})"', r'style="\1: \2"', body)
    body = _COLOUR.sub(lambda found: f"var(--{THEMED[found[0].lower()]})", body)
    words = (
        f'<title id="{name}-title">{Markup.escape(picture.title)}</title>'
        f'<desc id="{name}-desc">{Markup.escape(picture.alternative)}</desc>'
    )
    return (
        f'<svg xmlns:xlink="http://www.w3.org/1999/xlink" {box[0] if box else ""} role="img" '
        f'aria-labelledby="{name}-title {name}-desc">{words}{body}'
    )


def main_chart(record: Record, charts: Sequence[Picture]) -> str:
    """Return the name of the chart that has the first switch to the direct path."""
    switch = record.first("switch_to_direct")
    earlier = [
        chart.name
        for move, chart in zip(record.detailed_moves, charts, strict=True)
        if switch is not None and move.link_down_s <= switch.begin_s
    ]
    return earlier[-1] if earlier else ""


# --- databases ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed in the nodes' databases between two moments."""

    before: str
    after: str
    nodes: Sequence[Comparison]

    @property
    def count(self) -> int:
        return sum(node.changed for node in self.nodes)


def switch_of(record: Record) -> Changes | None:
    """Return the databases before and after the first switch to the direct path."""
    moments = _moments(record.databases)
    for before, after in pairwise(moments):
        best = record.best_path
        if _phase_of(record, after) == best and _phase_of(record, before) != best:
            return _changes(record, moments, before, after)
    return None


def changes(record: Record) -> list[Changes]:
    """Return what changed from each moment to the next."""
    moments = _moments(record.databases)
    return [_changes(record, moments, before, after) for before, after in pairwise(moments)]


def _changes(
    record: Record, moments: dict[str, list[Database]], before: str, after: str
) -> Changes:
    return Changes(
        _name_of(record, before), _name_of(record, after), compare(moments[before], moments[after])
    )


def _moments(databases: Iterable[Database]) -> dict[str, list[Database]]:
    found: dict[str, list[Database]] = {}
    for database in databases:
        found.setdefault(database.moment, []).append(database)
    return found


def _time_of(record: Record, moment: str) -> float | None:
    """Return when a dump was made: the testbed's events say so."""
    number = moment.removeprefix("before-move-")
    for event in record.events:
        if event.event == {"start": "walk_begin", "end": "walk_end"}.get(moment):
            return event.at_s
        if event.event == "walk_step" and number == str(event.details.get("number")):
            return event.at_s
    return None


def _phase_of(record: Record, moment: str) -> str:
    at_s = _time_of(record, moment)
    # A moment before a move is told by the phase that the move ends.
    return "" if at_s is None else record.phase_at(at_s - 1e-3)


def _name_of(record: Record, moment: str) -> str:
    number = moment.removeprefix("before-move-")
    name = moment
    if number != moment:
        move = next((m for m in record.moves if str(m.index + 1) == number), None)
        name = f"before move {number}" + (f" ({move.title})" if move is not None else "")
    phase = _phase_of(record, moment)
    return f"{name}, {PATH_NAMES.get(phase, phase)}" if phase else name


def main(arguments: list[str] | None = None) -> int:
    """Draw a result folder's report again; 2 if that cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m experiments.report.page", description=__doc__)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args(arguments)
    try:
        if not options.folder.is_dir():
            raise ResultError(f"{options.folder}: no such folder of results")
        print(write(options.folder))
    except ResultError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
