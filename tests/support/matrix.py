"""The matrix of options: runs of which every two values of two options are together in one.

In each, two nodes leave the company, go direct, change networks while they are, and come home.
"""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from functools import cache
from itertools import combinations, permutations, product
from typing import Any, get_args

from covertable import make
from pydantic import ValidationError

from experiments.handover import ACCESS_NETWORKS
from experiments.measure.expected import is_triggered
from experiments.scenario import Attach, Scenario, Traffic
from mobivpn.ipsec.sa import EspAlgorithm
from mobivpn.variants import Variants

SAMPLE = 8
DRAWN = 3000
"""Enough: of 1356 that are accepted, any two values that go together are in 20 or more."""

# Classic nodes need 3 s to be somewhere else: longer than any other.
PAIR = ("mn1", "mn2")
LEAVE_S = (2.0, 6.0)
BEGIN_OUTSIDE_S = 10.0
HAND_OVER_S = (13.0, 17.0)
RETURN_S = (21.0, 25.5)
DURATION_S = 30.0
PROBE_INTERVAL_MS = 20.0
"""Runs are many, and nothing here is timed."""

ALL, ONE_IN_COMMON = "all", "one in common"

Row = Mapping[str, Any]
"""A value for each option."""


def _choices(model: type[Scenario] | type[Traffic], key: str) -> tuple[Any, ...]:
    return get_args(model.model_fields[key].annotation)


TO_COMPARE = ("system", "best_path")
"""Without a direct path most options have nothing to do: they would be together in vain."""
VARIANTS = tuple(variant for variant in fields(Variants) if variant.name not in TO_COMPARE)

OPTIONS: Mapping[str, Sequence[Any]] = {
    "leaves_first": PAIR,
    "returns_first": PAIR,
    "hands_over": (*PAIR, "both"),
    "to": ("a third network", "the peer's"),
    "networks": tuple(" ".join(pair) for pair in permutations(ACCESS_NETWORKS, 2)),
    "attach": get_args(Attach),
    "session_begins": ("inside", "outside"),
    "direction": _choices(Traffic, "direction"),
    "tcp": (False, True),
    "handover": _choices(Scenario, "handover"),
    "binding_auth": _choices(Scenario, "binding_auth"),
    "agent_delay_ms": (0, 1, 50),
    "algorithms": (ALL, *(algorithm.value for algorithm in EspAlgorithm), ONE_IN_COMMON),
    **{
        variant.name: tuple(choice.value for choice in type(variant.default))
        for variant in VARIANTS
    },
}


@cache
def matrix() -> tuple[Row, ...]:
    """Return the runs, in an order that is always the same."""
    rows = make(dict(OPTIONS), constraints=list(_constraints()))
    return tuple({name: row[name] for name in OPTIONS} for row in rows)


def _constraints() -> Iterator[dict[str, Any]]:
    """Yield which values of which two options go together, as far as not all do.

    It is the scenario that says so: of many combinations at random, those that it accepts.
    """
    together = pairs_of(*filter(is_accepted, at_random(DRAWN)))
    for one, other in combinations(OPTIONS, 2):
        possible = {
            values
            for values in product(OPTIONS[one], OPTIONS[other])
            if tuple(zip((one, other), values, strict=True)) in together
        }
        if len(possible) < len(OPTIONS[one]) * len(OPTIONS[other]):
            yield {
                "operator": "fn",
                "requires": [one, other],
                "evaluate": lambda row, one=one, other=other, possible=possible: (
                    (row[one], row[other]) in possible
                ),
            }


def at_random(count: int, seed: int = 1) -> Iterator[Row]:
    """Yield combinations, possible or not, the same ones for the same seed."""
    chance = random.Random(seed)
    for _ in range(count):
        yield {name: chance.choice(values) for name, values in OPTIONS.items()}


def sample() -> tuple[Row, ...]:
    """Return runs of the matrix that together have every value, and as many pairs as they can."""
    chosen: list[Row] = []
    for _ in range(SAMPLE):
        values, pairs = values_of(*chosen), pairs_of(*chosen)
        rest = [row for row in matrix() if row not in chosen]
        chosen.append(
            max(rest, key=lambda row: (len(values_of(row) - values), len(pairs_of(row) - pairs)))
        )
    return tuple(row for row in matrix() if row in chosen)


def values_of(*rows: Row) -> set[Any]:
    """Return every value that an option has in one of the runs."""
    return {value for row in rows for value in row.items()}


def pairs_of(*rows: Row) -> set[Any]:
    """Return every two values that are together in one of the runs."""
    return {pair for row in rows for pair in combinations(row.items(), 2)}


def is_accepted(row: Row) -> bool:
    """Tell whether a scenario takes these options, and has a session that is to go direct."""
    try:
        scenario = Scenario.model_validate(scenario_of("matrix", row))
    except ValidationError:
        return False
    begins_ns, both_outside_ns = (round(at * 1e9) for at in (scenario.traffic.start_s, LEAVE_S[1]))
    return is_triggered(scenario.trigger.value, begins_ns, both_outside_ns)


def name_of(row: Row) -> str:
    """Return the name of a run of the matrix."""
    return f"matrix-{matrix().index(row) + 1:02}"


def scenario_of(name: str, row: Row) -> dict[str, Any]:
    """Return a run as a scenario file has it."""
    own = (*(variant.name for variant in VARIANTS), "handover", "binding_auth")
    return {
        "name": name,
        "summary": in_words(row),
        **{key: row[key] for key in (*own, "agent_delay_ms")},
        "duration_s": DURATION_S,
        **_algorithms(row["algorithms"]),
        "traffic": {
            "between": list(PAIR),
            "direction": row["direction"],
            "tcp": row["tcp"],
            "start_s": BEGIN_OUTSIDE_S if row["session_begins"] == "outside" else 0.0,
            "probe_interval_ms": PROBE_INTERVAL_MS,
        },
        "move": [
            {"at_s": at_s, "node": node, "to": to, "attach": row["attach"]}
            for at_s, node, to in _moves(row)
        ],
    }


def in_words(row: Row) -> str:
    """Return a run's options."""
    return ", ".join(f"{name} {value}" for name, value in row.items())


def count_outside(row: Row) -> list[int]:
    """Return how many nodes are outside before, between and after the moves while they talk."""
    scenario = scenario_of("matrix", row)
    at: dict[str, str] = {}
    counts = [(0.0, 0)]
    for move in scenario["move"]:
        at[move["node"]] = move["to"]
        counts.append((move["at_s"], sum(place != "lan" for place in at.values())))
    ends = [at_s for at_s, _ in counts[1:]] + [DURATION_S]
    begins_s = scenario["traffic"]["start_s"]
    return [count for (_, count), end_s in zip(counts, ends, strict=True) if end_s > begins_s]


def _algorithms(choice: str) -> dict[str, Any]:
    if choice == ALL:
        return {}
    if choice == ONE_IN_COMMON:
        first, common, last = [algorithm.value for algorithm in EspAlgorithm][:3]
        return {"offers": {"mn1": [first, common], "mn2": [last, common]}}
    return {"algorithm": choice}


def _moves(row: Row) -> Iterator[tuple[float, str, str]]:
    at: dict[str, str] = {}
    for at_s, node, to in zip(
        LEAVE_S, _first(row["leaves_first"]), row["networks"].split(), strict=True
    ):
        at[node] = to
        yield at_s, node, to
    movers = _first(row["leaves_first"]) if row["hands_over"] == "both" else (row["hands_over"],)
    for at_s, node in zip(HAND_OVER_S, movers, strict=False):
        together = at_s == HAND_OVER_S[0] and row["to"] == "the peer's"
        free = next(network for network in ACCESS_NETWORKS if network not in at.values())
        at[node] = at[_peer(node)] if together else free
        yield at_s, node, at[node]
    for at_s, node in zip(RETURN_S, _first(row["returns_first"]), strict=True):
        yield at_s, node, "lan"


def _first(node: str) -> Iterable[str]:
    return node, _peer(node)


def _peer(node: str) -> str:
    return PAIR[1] if node == PAIR[0] else PAIR[0]
