"""A study's folder: what is written when its runs are over, and read to be drawn again."""

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.errors import ResultError
from experiments.report import page
from experiments.report.drawing import style
from experiments.resultset import ResultSet, check_schema, load_object, rounded
from experiments.study import studies
from experiments.study.study import Row

ROWS = "rows"
_OF_OUTCOME = ("verdict", "failed_checks")
KEYS = (
    "schema",
    "verdict",
    "study",
    "summary",
    "clock",
    "options",
    "versions",
    "runs",
    "known_before",
    "wall_seconds",
    "values",
    "checks",
)
"""The keys of a study's summary.json, in their order."""


@dataclass(frozen=True, slots=True)
class StudyResults:
    """What a study's folder has."""

    folder: Path
    summary: Mapping[str, Any]
    rows: Sequence[Row]

    @property
    def failed(self) -> list[Mapping[str, Any]]:
        """The checks that did not pass."""
        return [check for check in self.summary["checks"] if not check["passed"]]


def is_study(folder: Path) -> bool:
    """Tell whether a folder is a study's, as far as it can be read."""
    with contextlib.suppress(ResultError):
        return "study" in load_object(ResultSet(folder).summary_path)
    return False


def save(folder: Path, summary: Mapping[str, Any], rows: Sequence[Row]) -> None:
    """Write summary.json and rows.csv. Raises ResultError."""
    results = ResultSet(folder)
    ordered = {key: rounded(summary[key]) for key in KEYS}
    columns = studies.load(summary["study"]).columns
    results.save_table(ROWS, columns, ([row[column] for column in columns] for row in rows))
    try:
        results.summary_path.write_text(json.dumps(ordered, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise ResultError(
            f"{results.summary_path}: cannot be written ({error.strerror})"
        ) from error


def load(folder: Path) -> StudyResults:
    """Read a study's folder. Raises ResultError."""
    results = ResultSet(folder)
    summary = load_object(results.summary_path)
    check_schema(summary, results.summary_path)
    for key in KEYS:
        if key not in summary:
            raise ResultError(f"{results.summary_path}: {key!r} is missing")
    if summary["study"] not in studies.NAMES:
        raise ResultError(
            f"{results.summary_path}: no study is called {summary['study']!r}; there are: "
            f"{', '.join(studies.NAMES)}"
        )
    table = results.load_table(ROWS)
    columns = list(studies.load(summary["study"]).columns)
    if table and list(table[0]) != columns:
        raise ResultError(
            f"{folder / ROWS}.csv: damaged (its columns are not {', '.join(columns)})"
        )
    rows = [{key: _typed(value) for key, value in row.items()} for row in table]
    return StudyResults(folder, summary, rows)


def _typed(text: str) -> Any:
    """Return what a cell of a table was: a number, a text, or nothing."""
    if not text:
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def draw(results: StudyResults) -> Path:
    """Draw plots and page; return the page's path. Raises ResultError."""
    study = studies.load(results.summary["study"])
    try:
        with style():
            pictures = study.pictures(results.summary["values"], results.rows)
    except (KeyError, TypeError) as error:
        raise ResultError(f"{results.folder}: damaged (not drawn: {error!r})") from error

    def rendered(plots: Path) -> str:
        return page.templates().get_template("study.html.j2").render(
            title=results.folder.resolve().name,
            summary=results.summary,
            failed=results.failed,
            runs=_with_all_keys(results.summary["runs"]),
            pictures=[page.shown(picture, plots) for picture in pictures],
            command=command(results.summary),
        )  # fmt: skip

    return page.publish(results.folder, pictures, rendered)


def _with_all_keys(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return rows that all have the same keys: what a run changes, what others do, what came."""
    keys = sorted(dict.fromkeys(key for row in rows for key in row), key=_OF_OUTCOME.count)
    return [{key: row.get(key) for key in keys} for row in rows]


def command(summary: Mapping[str, Any]) -> str:
    """Return the command that repeats a study."""
    options = [f"--{name} {value}" for name, value in summary["options"].items()]
    return " ".join(["./lab run", summary["study"], *options])
