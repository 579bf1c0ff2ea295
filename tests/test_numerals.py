"""docs/numerals.md against the code: every name on it exists, and no numeral is missing."""

import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest

from experiments.cli import run
from experiments.scenario import SCENARIOS

CHECKOUT = Path(__file__).resolve().parent.parent
NUMERALS = {
    *("10", "12", "14", "16", "18a", "18b", "18c", "18d", "18e", "18f", "20", "22", "30", "32"),
    *(str(number) for number in range(202, 222, 2)),
}
"""Of the seed's figures 1 and 2."""


class Row(NamedTuple):
    seed: str
    happens: str
    decided_in: str
    carried_out_by: str
    test: str
    seen: str


def rows() -> list[Row]:
    lines = (CHECKOUT / "docs" / "numerals.md").read_text(encoding="utf-8").splitlines()
    cells = ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line[:1] == "|")
    return [Row(*row) for row in cells if "decided in" not in row and not row[1].startswith("---")]


ROWS = rows()


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def exists(name: str) -> bool:
    """Tell whether a dotted name is a module, or a class in one."""
    module, _, member = name.rpartition(".")
    if member.islower():
        return find_spec(name) is not None
    return hasattr(import_module(module), member)


def stands_in(text: str, name: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text) is not None


def test_no_numeral_of_the_figures_is_missing() -> None:
    told = {word for row in ROWS for word in row.seed.split(", ")}
    assert told >= NUMERALS


def test_every_module_and_class_on_the_page_exists() -> None:
    decided = {f"mobivpn.{name}" for row in ROWS for name in names(row.decided_in)}
    carried_out = {name for row in ROWS for name in names(row.carried_out_by)}
    assert [name for name in sorted(decided | carried_out) if not exists(name)] == []
    assert all(names(row.decided_in) and names(row.carried_out_by) for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.seed)
def test_every_row_has_tests_that_exist(row: Row) -> None:
    tests = names(row.test)
    assert tests
    assert [name for name in tests if not (CHECKOUT / name).is_file()] == []


def test_every_row_is_seen_in_a_run() -> None:
    """By a scenario, an option of a run, an event, or what the page on results tells."""
    sources = (
        path
        for folder in ("src", "agents", "controllers")
        for path in (CHECKOUT / folder).rglob("*.py")
    )
    events = "".join(path.read_text(encoding="utf-8") for path in sources)
    schema = (CHECKOUT / "docs" / "schema.md").read_text(encoding="utf-8")
    known = {path.stem for path in SCENARIOS.glob("*.toml")}
    known.update(option for parameter in run.params for option in parameter.opts)
    seen = {name for row in ROWS for name in names(row.seen)} - known
    assert [n for n in sorted(seen) if f'"{n}"' not in events and not stands_in(schema, n)] == []
    assert all(names(row.seen) for row in ROWS)
