"""The kernels' own SAD and SPD as tables, and what changed between two moments."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from experiments.databases import Database

ASSOCIATION_COLUMNS = (
    "Protocol",
    "From, to",
    "SPI",
    "Mode",
    "Algorithm, or binding",
    "Window",
    "Selector",
)
POLICY_COLUMNS = ("Direction", "Priority", "Selector", "Action", "Templates, inside out")


class Change(Enum):
    """What became of an entry between two moments."""

    NEW = "new"
    GONE = "gone"
    KEPT = "kept"


@dataclass(frozen=True, slots=True)
class Row:
    """An entry and what became of it."""

    change: Change
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One node's databases before and after."""

    node: str
    associations: tuple[Row, ...]
    policies: tuple[Row, ...]

    @property
    def changed(self) -> int:
        """How many entries are new or gone."""
        return len(self.associations) + len(self.policies) - self.kept

    @property
    def kept(self) -> int:
        rows = (*self.associations, *self.policies)
        return sum(row.change is Change.KEPT for row in rows)


def compare(before: Sequence[Database], after: Sequence[Database]) -> list[Comparison]:
    """Return what changed on each node between two moments; entries keep the kernel's order."""
    earlier: Mapping[str, Database] = {database.node: database for database in before}
    found = []
    for database in after:
        previous = earlier.get(database.node)
        if previous is None:
            continue
        found.append(
            Comparison(
                database.node,
                _changes(
                    [entry.cells for entry in previous.associations],
                    [entry.cells for entry in database.associations],
                ),
                _changes(
                    [entry.cells for entry in previous.policies],
                    [entry.cells for entry in database.policies],
                ),
            )
        )
    return found


def _changes(before: list[tuple[str, ...]], after: list[tuple[str, ...]]) -> tuple[Row, ...]:
    new = [Row(Change.NEW, cells) for cells in after if cells not in before]
    gone = [Row(Change.GONE, cells) for cells in before if cells not in after]
    kept = [Row(Change.KEPT, cells) for cells in after if cells in before]
    return (*new, *gone, *kept)
