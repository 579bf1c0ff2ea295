"""Whoever has a page can repeat its run: the command, and the scenario as it was read."""

import tomllib
from dataclasses import replace
from pathlib import Path

from experiments.report.record import Record
from experiments.report.reproduction import command, revision, scenario_toml
from experiments.scenario import SCENARIOS, Scenario, load


def test_the_command_repeats_what_was_chosen(record: Record) -> None:
    assert command(record) == "./lab run walk --seed 1 --clock virtual --machine uml"
    delayed = replace(record, run={**record.run, "agent_delay_ms": 50.0, "clock": "wall"})
    expected = "./lab run walk --seed 1 --clock wall --machine uml --agent-delay 50"
    assert command(delayed) == expected
    chosen = {**record.run.get("scenario", {}), "name": "walk", "algorithm": "chacha20poly1305"}
    sealed = replace(record, run={**record.run, "scenario": chosen})
    assert command(sealed) == f"{command(record)} --algorithm chacha20poly1305"
    classic = replace(record, run={**record.run, "handover": "classic"})
    assert command(classic) == f"{command(record)} --handover classic"
    variants = replace(record, run={**record.run, "variants": {"inside_auth": "none"}})
    # Said even where it is the usual one: the scenario may say something else.
    assert command(variants) == f"{command(record)} --inside-auth none"


def test_moves_that_a_program_asked_for_are_repeated_from_the_scenario_as_made(
    record: Record,
) -> None:
    conducted = replace(record, run={**record.run, "conducted": True})
    assert command(conducted).startswith("./lab run walk.toml --seed 1 ")


def recorded(scenario: Scenario) -> Record:
    run = {"scenario": scenario.model_dump(mode="json"), "seed": scenario.seed}
    run["signalling_loss_percent"] = scenario.signalling_loss_percent
    return Record(Path(), run, {})


def test_the_number_of_handovers_and_lost_signalling_are_repeated() -> None:
    changed = {"handovers": {"runs": 10}, "signalling_loss_percent": 10.0, "seed": 3}
    record = recorded(load("handover", changed))
    assert command(record) == "./lab run handover --seed 3 --signalling-loss 10 --runs 10"


def test_a_scenario_that_does_not_come_with_the_testbed_is_repeated_from_a_file() -> None:
    assert command(recorded(load("walk"))) == "./lab run walk --seed 1"
    nearer = load("walk", {"links": {"cell": {"delay_ms": 3.0}}})
    assert command(recorded(nearer)) == "./lab run walk.toml --seed 1"
    other = load("walk", {"name": "mine"})
    assert command(recorded(other)) == "./lab run mine.toml --seed 1"


def test_every_scenario_comes_back_from_its_toml_as_it_was() -> None:
    for path in SCENARIOS.glob("*.toml"):
        scenario = load(path.stem)
        run = {"scenario": scenario.model_dump(mode="json")}
        text = scenario_toml(Record(Path(), run, {}))
        assert Scenario.model_validate(tomllib.loads(text)) == scenario


def test_a_run_that_says_nothing_of_itself_has_the_least_of_a_command(tmp_path: Path) -> None:
    unknown = Record(tmp_path, {}, {})
    assert command(unknown) == "./lab run walk"
    assert revision(unknown) == ""
    assert scenario_toml(unknown) == ""
