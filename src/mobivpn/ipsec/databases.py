"""SAD, SPD and their neighbours as values, and the ordered difference of two of them.

A host's core says what the kernel should hold; `difference` says which changes lead there, in an
order that fails closed: associations, bindings, policies, and only then addresses and routes, so
that no path exists before its policies do. What goes away goes in the opposite order.
"""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from mobivpn.errors import CallerError


class Rank(IntEnum):
    """When an entry is put in place relative to the others."""

    ASSOCIATION = 0
    BINDING = 1
    POLICY = 2
    INTERFACE = 3
    ADDRESS = 4
    NEXT_HOP = 5
    ROUTE = 6
    NEIGHBOUR = 7


class Entry(Protocol):
    """A frozen value that a kernel holds: `identity` is what makes two of them the same slot."""

    @property
    def rank(self) -> Rank: ...

    @property
    def identity(self) -> Hashable: ...


@dataclass(frozen=True, slots=True)
class Put:
    """Add an entry, or replace `before`, which has the same identity."""

    entry: Entry
    before: Entry | None = None


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove an entry; one that the kernel has dropped by itself is as good as removed."""

    entry: Entry


Change = Put | Remove
Databases = tuple[Entry, ...]
"""What one kernel should hold, in the order in which equals of a rank are put in place."""


def databases(entries: Iterable[Entry]) -> Databases:
    """Return `entries` as databases; raise CallerError where two claim the same slot."""
    slots: dict[Hashable, Entry] = {}
    for entry in entries:
        if slots.setdefault(entry.identity, entry) != entry:
            raise CallerError(f"two different entries for {entry.identity}")
    return tuple(slots.values())


def difference(before: Databases, after: Databases) -> tuple[Change, ...]:
    """Return the changes that lead from `before` to `after`, in the order that fails closed."""
    left = {entry.identity: entry for entry in before}
    now = [(entry, left.pop(entry.identity, None)) for entry in after]
    puts = [Put(entry, former) for entry, former in now if former != entry]
    removals = [Remove(entry) for entry in left.values()]
    puts.sort(key=lambda change: change.entry.rank)
    removals.sort(key=lambda change: change.entry.rank, reverse=True)
    return (*puts, *removals)
