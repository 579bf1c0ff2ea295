"""Scenarios: what happens in a run, written as TOML and checked before anything boots."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

SCENARIOS = Path(__file__).parent / "scenarios"

Node = Literal["mn1", "mn2", "mn3"]
Network = Literal["lan", "wifi1", "wifi2", "cell"]


class ScenarioError(Exception):
    """A scenario is not there, or wrong; the text names file, key and what is allowed."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Link(_Model):
    """A link profile; the delay is one way."""

    delay_ms: Annotated[float, Field(ge=0, le=10_000)] | None = None
    rate_mbit: Annotated[float, Field(gt=0, le=100_000)] | None = None
    loss_percent: Annotated[float, Field(ge=0, le=100)] | None = None


class Links(_Model):
    """What differs from the default links (docs/reference/scenario.md)."""

    lan: Link = Link()
    sg: Link = Link()
    ha: Link = Link()
    wifi1: Link = Link()
    wifi2: Link = Link()
    cell: Link = Link()


class Traffic(_Model):
    """What the two nodes under test send to each other, all along."""

    between: tuple[Node, Node] = ("mn1", "mn2")
    probe_interval_ms: Annotated[float, Field(gt=0, le=1000)] = 5.0
    tcp: bool = False

    @model_validator(mode="after")
    def _two_nodes(self) -> "Traffic":
        if self.between[0] == self.between[1]:
            raise ValueError("between: name two different nodes")
        return self


class Move(_Model):
    """At `at_s` after the first probe, take a node from its network to another.

    `gap_ms` is the time without a link; `attach` says whether its interface is plugged over or a
    new one made.
    """

    at_s: Annotated[float, Field(gt=0)]
    node: Node
    to: Network
    gap_ms: Annotated[float, Field(ge=0, le=60_000)] = 20.0
    attach: Literal["replug", "new"] = "replug"


class Scenario(_Model):
    """One run.

    `binding_auth` says what authorises the bindings between the nodes: return routability, or keys
    that come with each pair (RFC 4449). `handover` says how nodes find their next place: they ask
    for routers and use their care-of address at once (hard), or they wait until a router advertises
    itself and until nobody has objected to the address (classic).
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    summary: str
    experiment: Literal["walk"] = "walk"
    embodiment: Literal[1] = 1
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 1
    binding_auth: Literal["rr", "static"] = "rr"
    handover: Literal["hard", "classic"] = "hard"
    agent_delay_ms: Annotated[float, Field(ge=0, le=1000)] = 0.0
    duration_s: Annotated[float, Field(gt=0, le=86_400)]
    limit_s: Annotated[float, Field(gt=0)] = 900.0
    links: Links = Links()
    traffic: Traffic = Traffic()
    move: tuple[Move, ...] = ()

    @model_validator(mode="after")
    def _moves_make_sense(self) -> "Scenario":
        at: dict[str, str] = {"mn1": "lan", "mn2": "lan", "mn3": "lan"}
        last = 0.0
        for number, move in enumerate(self.move, 1):
            if move.at_s < last:
                raise ValueError(f"move {number}: at_s {move.at_s} comes before the move above it")
            if move.to == at[move.node]:
                raise ValueError(f"move {number}: {move.node} is on {move.to} already")
            if move.at_s >= self.duration_s:
                raise ValueError(f"move {number}: at_s is not before duration_s {self.duration_s}")
            at[move.node], last = move.to, move.at_s
        return self


def load(name_or_path: str, overrides: dict[str, Any] | None = None) -> Scenario:
    """Return the scenario of that name, or in that file, with `overrides` of top-level keys.

    Raises ScenarioError in one line.
    """
    path = Path(name_or_path)
    if path.suffix != ".toml":
        path = SCENARIOS / f"{name_or_path}.toml"
        if not path.is_file():
            known = ", ".join(sorted(p.stem for p in SCENARIOS.glob("*.toml")))
            raise ScenarioError(
                f"no experiment is called '{name_or_path}'; there are: {known} "
                f"(or name a file that ends in .toml)"
            )
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ScenarioError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ScenarioError(f"{path}: not UTF-8 text at byte {error.start}") from error
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"{path}: {error}") from error
    try:
        return Scenario.model_validate(data | (overrides or {}))
    except ValidationError as error:
        raise ScenarioError(f"{path}: {_first(error)}") from error


def _first(error: ValidationError) -> str:
    """Return the first thing that is wrong: the key, what it was, what is allowed."""
    # An unknown key says more than the key that is missed because of it.
    first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    key = ""
    for part in first["loc"]:
        key += f" {part + 1}" if isinstance(part, int) else f"{'.' if key else ''}{part}"
    allowed = ""
    if first["type"] == "extra_forbidden":
        model: type[BaseModel] = Scenario
        for part in first["loc"][:-1]:
            field = model.model_fields.get(str(part))
            nested = _model_in(field.annotation) if field is not None else None
            model = nested or model
        allowed = f"; allowed here: {', '.join(model.model_fields)}"
    message = first["msg"].removeprefix("Value error, ")
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{key + ': ' if key else ''}{message}{allowed}{more}"


def _model_in(annotation: Any) -> type[BaseModel] | None:
    for candidate in (annotation, *getattr(annotation, "__args__", ())):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None
