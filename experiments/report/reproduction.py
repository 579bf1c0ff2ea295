"""How to get a run again: its command, and its scenario as the TOML that it was read from."""

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from experiments import scenario as scenarios
from experiments.report.record import Record

_CHOSEN = (
    "seed",
    "agent_delay_ms",
    "algorithm",
    "binding_auth",
    "handover",
    "signalling_loss_percent",
)
"""A scenario's keys that the command gives, beside the variants."""


def command(record: Record) -> str:
    """Return the command that repeats the run."""
    run = record.run
    scenario = run.get("scenario") or {}
    name = str(scenario.get("name") or run.get("experiment") or "walk")
    words = ["./lab", "run", f"{name}.toml" if needs_file(record) else name]
    for option, key in (
        ("--seed", "seed"),
        ("--clock", "clock"),
        ("--machine", "machine"),
        ("--binding-auth", "binding_auth"),
        ("--handover", "handover"),
    ):
        if run.get(key) is not None:
            words += [option, str(run[key])]
    for name, choice in (run.get("variants") or {}).items():
        words += [f"--{name.replace('_', '-')}", str(choice)]
    if scenario.get("algorithm"):
        words += ["--algorithm", scenario["algorithm"]]
    if run.get("agent_delay_ms"):
        words += ["--agent-delay", f"{run['agent_delay_ms']:g}"]
    if run.get("signalling_loss_percent"):
        words += ["--signalling-loss", f"{run['signalling_loss_percent']:g}"]
    if scenario.get("handovers"):
        words += ["--runs", str(scenario["handovers"]["runs"])]
    return shlex.join(words)


def needs_file(record: Record) -> bool:
    """Tell whether the run's scenario is another than the one of that name with these options."""
    run = record.run
    made = run.get("scenario")
    if run.get("conducted"):
        return True
    if not isinstance(made, Mapping) or "traffic" not in made:
        return False
    given = {
        key: made[key]
        for key in (*_CHOSEN, *(run.get("variants") or {}))
        if made.get(key) is not None
    }
    if made.get("handovers"):
        given["handovers"] = {"runs": made["handovers"]["runs"]}
    try:
        usual = scenarios.load(str(made.get("name")), given).model_dump(mode="json")
    except scenarios.ScenarioError:
        return True
    # A folder of an older program may not have all of it.
    return usual.keys() <= made.keys() and usual != made


def revision(record: Record) -> str:
    """Return what the checkout was at; empty if that is not known."""
    versions = record.run.get("versions") or {}
    return str(versions.get("revision") or "")


def scenario_toml(record: Record) -> str:
    """Return the scenario as TOML; empty if the run does not have it."""
    scenario = record.run.get("scenario")
    return "\n".join(_table(scenario, ())) + "\n" if isinstance(scenario, Mapping) else ""


def _table(values: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    """Yield the lines of a table: its own values first, then the tables in it."""
    tables = {}
    for key, value in values.items():
        if isinstance(value, Mapping) or _is_list_of_tables(value):
            tables[key] = value
        elif value is not None:
            yield f"{key} = {json.dumps(value, ensure_ascii=False)}"
    for key, value in tables.items():
        name = ".".join((*path, key))
        for entry in [value] if isinstance(value, Mapping) else value:
            lines = list(_table(entry, (*path, key)))
            if lines:
                head = f"[{name}]" if isinstance(value, Mapping) else f"[[{name}]]"
                yield from ("", head, *lines)


def _is_list_of_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)
