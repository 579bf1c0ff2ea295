"""What a sweep asks for: a TOML file, all its runs checked before the first one begins."""

import hashlib
import json
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from experiments import scenario as scenarios
from experiments.scenario import Scenario, ScenarioError, first_error

SWEEPS = Path(__file__).parent.parent / "sweeps"
STORE, FAILED = "runs", "failed"
"""What is beside the sweeps' own folders."""
NOT_OF_THE_RESULT = ("name", "summary", "limit_s")
"""Keys of a scenario on which no result depends: two runs that differ in them alone are one."""

Value = str | int | float | bool


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Range(_Model):
    """Numbers between two, drawn evenly or, `log`, evenly over their logarithms."""

    least: float
    most: float
    scale: Literal["linear", "log"] = "linear"

    @model_validator(mode="after")
    def _in_order(self) -> "Range":
        if self.least >= self.most:
            raise ValueError("least: not below most")
        if self.scale == "log" and self.least <= 0:
            raise ValueError("least: a logarithmic scale begins above 0")
        return self

    def draw(self, chance: random.Random) -> float:
        """Return one of them, with six digits: a table is read by people, too."""
        if self.scale == "log":
            value = math.exp(chance.uniform(math.log(self.least), math.log(self.most)))
        else:
            value = chance.uniform(self.least, self.most)
        return float(f"{value:.6g}")


Choices = Annotated[tuple[Value, ...], Field(min_length=1)]


class Sample(_Model):
    """So many points at random, the same ones for the same `seed`."""

    points: Annotated[int, Field(ge=1, le=1_000_000)]
    seed: int = 1
    parameters: Annotated[dict[str, Range | Choices], Field(min_length=1)]


class Plot(_Model):
    """A value of the summary over a parameter, a line for each value of `by`."""

    value: str
    over: str
    by: str | None = None


def _seeds(given: Any) -> Any:
    return list(range(1, given + 1)) if isinstance(given, int) and given > 0 else given


class Sweep(_Model):
    """A scenario, what is changed in it, and how often each point is repeated.

    Parameters are the scenario's keys, those in tables with dots (`links.sg.delay_ms`). `seeds` is
    a list, or how many, from 1 on.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    summary: str
    scenario: str
    seeds: Annotated[tuple[int, ...], BeforeValidator(_seeds), Field(min_length=1)] = (1,)
    grid: dict[str, Choices] = {}
    sample: Sample | None = None
    plot: tuple[Plot, ...] = ()

    @model_validator(mode="after")
    def _one_of_both(self) -> "Sweep":
        if bool(self.grid) == (self.sample is not None):
            raise ValueError("name either a table [grid] or a table [sample]")
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("seeds: name each once")
        if self.name in (STORE, FAILED):
            raise ValueError(f"name: '{self.name}' is a folder beside the sweeps; take another")
        if "seed" in self.parameters:
            raise ValueError("seed: is set by seeds, which repeat every point")
        for name in self.parameters:
            several = self.sample is not None or len(self.grid[name]) > 1
            if name in NOT_OF_THE_RESULT and several:
                raise ValueError(f"{name}: changes no result, so that there is nothing to sweep")
            for other in self.parameters:
                if other.startswith(f"{name}."):
                    raise ValueError(f"{other}: is a part of {name}, which is swept as well")
        for number, plot in enumerate(self.plot, 1):
            for key in ("over", "by"):
                name = getattr(plot, key)
                if name is not None and name not in self.parameters:
                    known = ", ".join(self.parameters)
                    raise ValueError(f"plot {number}.{key}: no parameter '{name}'; swept: {known}")
        return self

    @property
    def parameters(self) -> tuple[str, ...]:
        """What is changed, in the file's order."""
        return tuple(self.grid if self.sample is None else self.sample.parameters)

    def points(self) -> Iterator[dict[str, Value]]:
        """Yield the values of the parameters, point after point."""
        if self.sample is None:
            for values in product(*self.grid.values()):
                yield dict(zip(self.grid, values, strict=True))
            return
        chance = random.Random(self.sample.seed)
        for _ in range(self.sample.points):
            yield {
                name: drawn.draw(chance) if isinstance(drawn, Range) else chance.choice(drawn)
                for name, drawn in self.sample.parameters.items()
            }


@dataclass(frozen=True, slots=True)
class Wanted:
    """One run of a sweep."""

    parameters: Mapping[str, Any]
    scenario: Scenario

    def key(self, inputs: Mapping[str, str]) -> str:
        """Return what names its result: the same for whatever gives the same result.

        `inputs` are the clock, the kernel and the program. How long a run may take, and what it is
        called, change nothing in it.
        """
        said = self.scenario.model_dump(mode="json", exclude=set(NOT_OF_THE_RESULT))
        text = json.dumps([said, dict(inputs)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:24]


def load(name_or_path: str) -> tuple[Sweep, list[Wanted]]:
    """Return a sweep and all its runs. Raises ScenarioError in one line."""
    path, data = scenarios.read(name_or_path, SWEEPS, "sweep")
    try:
        sweep = Sweep.model_validate(data)
    except ValidationError as error:
        raise ScenarioError(f"{path}: {first_error(error, Sweep)}") from error
    given = sweep.scenario
    if given.endswith(".toml"):
        given = str(path.parent / given)
    try:
        base = scenarios.read(given, scenarios.SCENARIOS, "experiment")
        return sweep, [
            Wanted(point, scenarios.checked(*base, {**nested(point), "seed": seed}))
            for point in sweep.points()
            for seed in sweep.seeds
        ]
    except ScenarioError as error:
        raise ScenarioError(f"{path}: of the scenario, {error}") from error


def nested(point: Mapping[str, Any]) -> dict[str, Any]:
    """Return the point as a scenario has it: dotted names are keys in tables."""
    tree: dict[str, Any] = {}
    for name, value in point.items():
        *tables, key = name.split(".")
        branch = tree
        for table in tables:
            branch = branch.setdefault(table, {})
        branch[key] = value
    return tree
