"""The results of a sweep as one table: a row for each run, a column for each number."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.errors import ResultError

TABLE = "table.parquet"
_CONFIGURATION = frozenset(
    ("schema", "experiment", "embodiment", "clock", "seed", "versions", "links", "verdict")
)
"""What a summary says of its run that is no result."""
_LONGEST_LIST = 12
"""Of more moves than these, only the summary's own statistics are columns."""


def table_of(rows: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> pd.DataFrame:
    """Return the table of runs, each given as (parameters and seed, summary).

    Columns are the parameters by their names in the scenario, `verdict`, `failed_checks` (names,
    with semicolons between) and every number of the summary by its keys with dots between, list
    items counted from 1. Units are those of docs/schema.md.
    """
    return pd.DataFrame(
        {
            **parameters,
            "verdict": summary["verdict"],
            "failed_checks": "; ".join(c["name"] for c in summary["checks"] if not c["passed"]),
            **_numbers({k: v for k, v in summary.items() if k not in _CONFIGURATION | {"checks"}}),
        }
        for parameters, summary in rows
    )


def write(table: pd.DataFrame, folder: Path) -> Path:
    """Write the table as Parquet. Raises ResultError."""
    path = folder / TABLE
    try:
        table.to_parquet(path, engine="pyarrow", index=False)
    except OSError as error:
        raise ResultError(f"{path}: cannot be written ({error.strerror})") from error
    return path


def _numbers(value: Any, name: str = "") -> dict[str, float]:
    if isinstance(value, bool | str):
        return {}
    if isinstance(value, int | float):
        return {name: float(value)}
    if isinstance(value, Mapping):
        items: Iterable[tuple[Any, Any]] = value.items()
    elif isinstance(value, list) and len(value) <= _LONGEST_LIST:
        items = enumerate(value, 1)
    else:
        return {}
    found: dict[str, float] = {}
    for key, item in items:
        found |= _numbers(item, f"{name}.{key}" if name else str(key))
    return found
