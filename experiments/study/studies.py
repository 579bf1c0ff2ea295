"""Which studies there are."""

import tomllib
from importlib import import_module
from typing import Any

from experiments.scenario import STUDIES
from experiments.study.study import Study

NAMES = ("latency", "throughput", "compare", "crypto_cost", "scale")


def load(name: str) -> Study:
    """Return a study; what draws takes a second to import, so only the one that is wanted."""
    study: Study = import_module(f"experiments.study.{name}").STUDY
    return study


def base_of(name: str) -> dict[str, Any]:
    """Return the scenario that the runs of a study change."""
    return tomllib.loads((STUDIES / f"{name}.toml").read_text(encoding="utf-8"))
