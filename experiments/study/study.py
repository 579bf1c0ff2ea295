"""What a study is: its runs, what is kept of each, and what is made of all of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.report.drawing import Picture
from vm.clock import Clock

Row = Mapping[str, Any]
"""A flat record; every number's unit stands in its name."""
Check = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Study:
    """One study; its scenario is the file of its name in this folder.

    Each of `runs` is what that changes in it: keys of a scenario, with dots for those in tables.
    `takes` are the options by which a user may change all of them. `derive` takes what is kept of a
    run out of its folder: `rows`, with these `columns`. The values of the study are derived from
    all rows, judged and drawn.
    """

    name: str
    runs: Sequence[Mapping[str, Any]]
    takes: frozenset[str]
    columns: Sequence[str]
    named_by: Sequence[str]
    """The keys of a value that tell it from the others."""
    derive: Callable[[Path], dict[str, Any]]
    values_of: Callable[[Sequence[Row]], list[Row]]
    judge: Callable[[Sequence[Row]], list[Check]]
    pictures: Callable[[Sequence[Row], Sequence[Row]], list[Picture]]
    """Of values and rows."""
    clock: Clock | None = None
    """The only one on which it says anything; None: any. On the wall clock, runs come one by one:
    each would disturb the other."""
    varies: Mapping[str, float] = field(default_factory=dict[str, float])
    """Which of a value's keys differ between two runs, and by what share of it at most."""
