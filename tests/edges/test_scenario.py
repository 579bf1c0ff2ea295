"""Scenario files: a mistake is told in one line, with the key and what is allowed."""

from pathlib import Path

import pytest

from experiments.scenario import SCENARIOS, ScenarioError, load

GOOD = """
name = "mine"
summary = "one move"
duration_s = 10
[[move]]
at_s = 1
node = "mn1"
to = "cell"
"""


@pytest.mark.parametrize("path", sorted(SCENARIOS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_scenario_that_comes_along_is_valid(path: Path):
    assert load(path.stem).name == path.stem


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("duration_s = 10", "duration = 10"), "duration: .*allowed here: name, summary"),
        (('node = "mn1"', 'node = "mn4"'), "move 1.node: .*'mn1', 'mn2' or 'mn3'"),
        (('to = "cell"', 'to = "lan"'), "move 1: mn1 is on lan already"),
        (("at_s = 1", "at_s = 11"), "move 1: at_s is not before duration_s"),
        (("at_s = 1", "at_s = -1"), "move 1.at_s: .*greater than 0"),
        (('name = "mine"', 'name = "My Run"'), "name: "),
        (
            ("[[move]]", "[links.celll]\ndelay_ms = 1\n[[move]]"),
            "links.celll: .*wifi1, wifi2, cell",
        ),
        (
            ("[[move]]", '[traffic]\nbetween = ["mn1", "mn1"]\n[[move]]'),
            "traffic: between: name two different nodes",
        ),
        (("summary", 'handover = "lazy"\nsummary'), "handover: .*'hard'.*'classic'"),
        (("duration_s = 10", "duration_s = = 10"), r"line 4"),
    ],
)
def test_a_mistake_names_the_file_the_key_and_what_is_allowed(
    tmp_path: Path, change: tuple[str, str], told: str
):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.replace(*change))
    with pytest.raises(ScenarioError, match=rf"mine\.toml: .*{told}") as error:
        load(str(path))
    assert "\n" not in str(error.value)


def test_a_name_that_nobody_knows_is_answered_with_those_that_are():
    with pytest.raises(ScenarioError, match="walk, walk-tcp"):
        load("wlk")


def test_a_file_that_is_not_there_is_told(tmp_path: Path):
    with pytest.raises(ScenarioError, match=r"none\.toml: No such file"):
        load(str(tmp_path / "none.toml"))


def test_options_override_the_file(tmp_path: Path):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    assert load(str(path), {"seed": 7}).seed == 7
