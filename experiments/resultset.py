"""A run's folder as a versioned result set: what lies where, read with errors of one line."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.errors import ResultError

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1
"""Version of all that docs/schema.md describes; raised when a reader would misread older data."""

NANOSECONDS = 1_000_000_000
PAIR = 2

SUMMARY_KEYS = (
    "schema",
    "verdict",
    "experiment",
    "embodiment",
    "clock",
    "seed",
    "versions",
    "links",
    "probes",
    "lost_by_phase",
    "clear_text_packets_outside",
    "clear_text_packets_by_link",
    "rtt_ms",
    "delay_ms",
    "shortest_path_rtt_ms",
    "direct_setup_ms",
    "direct_setup_lower_bound_ms",
    "moves",
    "handovers",
    "other_pairs",
    "wall_seconds",
    "checks",
)
"""The keys of summary.json, in their order."""

RUN_KEYS: Mapping[str, type | tuple[type, ...]] = {
    "schema": int,
    "experiment": str,
    "embodiment": int,
    "clock": str,
    "seed": int,
    "versions": dict,
    "links": dict,
    "addresses": dict,
    "pair": list,
}
"""The keys that run.json must have, and their types."""


@dataclass(frozen=True, slots=True)
class Event:
    """One line of events.jsonl; `time_ns` is CLOCK_REALTIME."""

    time_ns: int
    node: str
    event: str
    numeral: str | None
    details: Mapping[str, Any]

    @classmethod
    def parse(cls, line: str) -> "Event":
        """Return the event that a line tells of. Raises ValueError, KeyError and the like."""
        value = json.loads(line, parse_float=Decimal)
        return cls(
            time_ns=int(Decimal(value["time"]) * NANOSECONDS),
            node=str(value["node"]),
            event=str(value["event"]),
            numeral=value.get("numeral"),
            details=value.get("details") or {},
        )


@dataclass(frozen=True, slots=True)
class ResultSet:
    """The folder of one run."""

    folder: Path

    @property
    def run_path(self) -> Path:
        return self.folder / "run.json"

    @property
    def events_path(self) -> Path:
        return self.folder / "events.jsonl"

    @property
    def summary_path(self) -> Path:
        return self.folder / "summary.json"

    @property
    def keys_path(self) -> Path:
        return self.folder / "keys" / "esp_sa"

    @property
    def databases_path(self) -> Path:
        return self.folder / "databases"

    def probe_log_path(self, end: str) -> Path:
        """Return where the probe program of an end (`end_name`) leaves its log."""
        return self.folder / "probes" / f"{end}.csv"

    def transfer_log_paths(self) -> list[Path]:
        """Return the logs of TCP transfers, in order of their names."""
        return sorted((self.folder / "transfers").glob("*.csv"))

    def capture_path(self, link: str) -> Path:
        """Return where the capture of a link is."""
        return self.folder / "captures" / f"{link}.pcapng"

    def links(self) -> list[str]:
        """Return the names of the captured links, in order."""
        return sorted(path.stem for path in (self.folder / "captures").glob("*.pcapng"))

    def load_run(self) -> dict[str, Any]:
        """Return run.json, checked for its schema, keys and types."""
        run = load_object(self.run_path)
        check_schema(run, self.run_path)
        for key, kind in RUN_KEYS.items():
            if key not in run:
                raise ResultError(f"{self.run_path}: {key!r} is missing")
            if not isinstance(run[key], kind) or isinstance(run[key], bool):
                raise ResultError(f"{self.run_path}: {key!r} is not of type {kind}")
        if len(run["pair"]) != PAIR:
            raise ResultError(f"{self.run_path}: 'pair' must name two nodes")
        return run

    def load_events(self) -> list[Event]:
        """Return the events of events.jsonl, in order of time."""
        events = []
        for number, line in enumerate(_read(self.events_path).splitlines(), start=1):
            if not line.strip():
                continue
            try:
                events.append(Event.parse(line))
            except KeyError as error:
                raise ResultError(f"{self.events_path}, line {number}: no {error}") from error
            except (ValueError, TypeError, AttributeError, ArithmeticError) as error:
                raise ResultError(
                    f"{self.events_path}, line {number}: not an event ({error})"
                ) from error
        return sorted(events, key=lambda event: event.time_ns)

    def load_summary(self) -> dict[str, Any]:
        """Return summary.json, checked for its schema and keys."""
        summary = load_object(self.summary_path)
        check_schema(summary, self.summary_path)
        for key in SUMMARY_KEYS:
            if key not in summary:
                raise ResultError(f"{self.summary_path}: {key!r} is missing")
        return summary

    def save_summary(self, summary: Mapping[str, Any]) -> None:
        """Write summary.json with its keys in their order, floats rounded to 0.001."""
        if set(summary) != set(SUMMARY_KEYS):
            wrong = sorted(set(summary) ^ set(SUMMARY_KEYS))
            raise ResultError(f"{self.summary_path}: missing or unknown keys {wrong}")
        ordered = {key: rounded(summary[key]) for key in SUMMARY_KEYS}
        _write(self.summary_path, json.dumps(ordered, indent=2, ensure_ascii=False) + "\n")

    def save_table(
        self, name: str, columns: Sequence[str], rows: Iterable[Sequence[object]]
    ) -> None:
        """Write a table NAME.csv of the result set; None becomes an empty field."""
        path = self.folder / f"{name}.csv"
        try:
            with path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(columns)
                writer.writerows(rows)
        except OSError as error:
            raise ResultError(f"{path}: cannot be written ({error.strerror})") from error

    def load_table(self, name: str) -> list[dict[str, str]]:
        """Return the rows of a table NAME.csv by column. Raises ResultError, also for a cut row."""
        path = self.folder / f"{name}.csv"
        lines = csv.reader(_read(path).splitlines())
        columns = next(lines, None)
        if columns is None:
            raise ResultError(f"{path}: damaged (empty)")
        rows = list(lines)
        for number, row in enumerate(rows, start=2):
            if len(row) != len(columns):
                raise ResultError(
                    f"{path}, line {number}: damaged ({len(row)} fields instead of {len(columns)})"
                )
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def load_frame(self, name: str) -> "pd.DataFrame":
        """Return a table NAME.csv, its times (`_s`) as seconds after time zero."""
        # Here, not above: it takes a second to import.
        import pandas as pd

        zero_s = self.load_run().get("time_zero", 0.0)
        frame = pd.read_csv(StringIO(_read(self.folder / f"{name}.csv")))
        for column in frame.columns[frame.columns.str.endswith("_s")]:
            frame[column] = (frame[column] - zero_s).round(6)
        return frame


def end_name(node: str, peer: str, number: int = 0) -> str:
    """Return the name of an end of a pair: of the pair under test, number 0, just the node's."""
    return f"{node}-{peer}" if number else node


def load_object(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file. Raises ResultError."""
    try:
        value = json.loads(_read(path))
    except ValueError as error:
        raise ResultError(f"{path}: damaged ({error})") from error
    if not isinstance(value, dict):
        raise ResultError(f"{path}: damaged (not an object)")
    return value


def check_schema(value: Mapping[str, Any], path: Path) -> None:
    """Raise ResultError unless a file is of the schema that this program knows."""
    if value.get("schema") != SCHEMA:
        versions = value.get("versions")
        revision = versions.get("revision") if isinstance(versions, Mapping) else None
        raise ResultError(
            f"{path}: schema {value.get('schema')!r}, but this program reads schema {SCHEMA}; "
            f"read it with the one that wrote it{f' ({revision})' if revision else ''}"
        )


def rounded(value: Any) -> Any:
    """Return a JSON value with every float rounded to 0.001, so that equal runs print equal."""
    if isinstance(value, float):
        return round(value, 3) + 0.0
    if isinstance(value, Mapping):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return value


def milliseconds(time_ns: int | None) -> float | None:
    """Return a duration in milliseconds."""
    return None if time_ns is None else time_ns / 1e6


def seconds(time_ns: int | None) -> str | None:
    """Return nanoseconds as decimal seconds with six places, as every table writes times."""
    if time_ns is None:
        return None
    microseconds = (time_ns + 500) // 1000
    return f"{microseconds // 1_000_000}.{microseconds % 1_000_000:06d}"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ResultError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ResultError(f"{path}: damaged (not UTF-8 text)") from error


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ResultError(f"{path}: cannot be written ({error.strerror})") from error
