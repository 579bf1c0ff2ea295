"""Run an experiment again and compare with its reference result: what anyone must get again."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments import runner
from experiments.errors import ResultError
from experiments.resultset import ResultSet, check_schema, load_object
from experiments.study import studies
from vm import kernel, lease, places

REFERENCE = places.CHECKOUT / "results" / "reference"

TOLERANCE_MS = 0.1
"""By which a time may differ: docs/concepts/repeatability.md says why it does at all."""
TOLERANCE = 0.01
"""By which a number may differ that is neither a time nor a count, such as a ratio of times."""
TOLERANCE_REORDERED = 1
"""By how many overtaken probes a run may differ: two that arrive in one instant have no order."""
OF_THE_MACHINE = frozenset(("versions", "wall_seconds", "known_before"))
"""What a summary says of the machine and the checkout, not of the network."""


@dataclass(frozen=True, slots=True)
class Moved:
    """A value that is not what the reference says; None: not there, or without a sample."""

    key: str
    reference: Any
    found: Any

    def __str__(self) -> str:
        by = ""
        if _is_number(self.reference) and _is_number(self.found):
            by = f" (by {self.found - self.reference:+.3f})"
        return f"{self.key}: {_told(self.reference)} -> {_told(self.found)}{by}"


def names() -> list[str]:
    """Return the experiments that have a reference, in order."""
    return sorted(path.stem for path in REFERENCE.glob("*.json"))


def reference_of(name: str) -> dict[str, Any]:
    """Return the summary that is an experiment's reference. Raises ResultError."""
    path = REFERENCE / f"{name}.json"
    if not path.is_file():
        known = ", ".join(names()) or "none"
        raise ResultError(f"no reference result is called '{name}'; there are: {known}")
    value = load_object(path)
    check_schema(value, path)
    return value


def run_again(name: str, options: runner.Options, progress: kernel.Progress) -> Path:
    """Run an experiment, a study with all of its runs; return the result folder.

    Raises ScenarioError, ResultError or LabError in one line.
    """
    if name not in studies.NAMES:
        return runner.run(name, options, runner.Watch(progress=progress))
    # Here, not above: Dask takes a second to import.
    from experiments.study import conduct
    from experiments.sweep.store import Store

    # Runs that are known from before prove nothing.
    with lease.hold() as held, tempfile.TemporaryDirectory(dir=held.folder) as nothing_known:
        store = Store(Path(nothing_known))
        return conduct.carry_out(name, options, conduct.here(name, options), progress, store)


def compare(name: str, folder: Path) -> list[Moved]:
    """Return what moved in a result's summary, against the reference of an experiment."""
    return list(moved(reference_of(name), load_object(ResultSet(folder).summary_path)))


def moved(reference: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[Moved]:
    """Yield what differs between two summaries by more than two runs may."""
    study = studies.load(reference["study"]) if "study" in reference else None
    one, other = (s if study is None else _named(s, study.named_by) for s in (reference, found))
    for key in dict.fromkeys((*one, *other)):
        if key not in OF_THE_MACHINE:
            varies = study.varies if study is not None else {}
            yield from _differing(one.get(key), other.get(key), key, varies)


def _named(summary: Mapping[str, Any], named_by: Sequence[str]) -> Mapping[str, Any]:
    """Return a summary in which a study's values have names instead of places in a list."""
    values = {", ".join(f"{v.get(key)}" for key in named_by): v for v in summary.get("values", ())}
    return {**summary, "values": values}


def _differing(one: Any, other: Any, key: str, varies: Mapping[str, float]) -> Iterator[Moved]:
    share = varies.get(key.rpartition(".")[2])
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for name in dict.fromkeys((*one, *other)):
            yield from _differing(one.get(name), other.get(name), f"{key}.{name}", varies)
    elif isinstance(one, list) and isinstance(other, list):
        if len(one) != len(other):
            yield Moved(f"{key} (how many)", len(one), len(other))
        for number, (a, b) in enumerate(zip(one, other, strict=False), 1):
            yield from _differing(a, b, f"{key}.{_name_of(a, number)}", varies)
    elif share is not None and _is_number(one) and _is_number(other):
        if abs(one - other) > share * abs(one):
            yield Moved(key, one, other)
    elif isinstance(one, float) and isinstance(other, float):
        if abs(one - other) > (TOLERANCE_MS if "_ms" in key else TOLERANCE):
            yield Moved(key, one, other)
    elif key.endswith(".reordered") and _is_number(one) and _is_number(other):
        if abs(one - other) > TOLERANCE_REORDERED:
            yield Moved(key, one, other)
    elif one != other:
        yield Moved(key, one, other)


def _name_of(item: Any, number: int) -> str:
    """Return a check's name, else the place in its list, from 1."""
    name = item.get("name") if isinstance(item, Mapping) else None
    return name if isinstance(name, str) else str(number)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _told(value: Any) -> str:
    return "nothing" if value is None else str(value)
