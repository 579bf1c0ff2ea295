"""What a sweep asks for: its points, what is wrong with it in one line, and what names a run."""

from pathlib import Path

import pytest

from experiments.scenario import ScenarioError
from experiments.sweep.plan import load

HEAD = 'name = "some"\nsummary = "Some"\nscenario = "walk"\n'
GRID = '[grid]\n"links.sg.delay_ms" = [1.0, 2.0]\nbinding_auth = ["rr", "static"]\n'
INPUTS = {"clock": "virtual", "kernel": "k", "program": "p"}


def written(folder: Path, text: str) -> str:
    path = folder / "some.toml"
    path.write_text(text)
    return str(path)


def test_a_grid_is_every_combination_for_every_seed(tmp_path: Path):
    sweep, wanted = load(written(tmp_path, HEAD + "seeds = 3\n" + GRID))
    assert sweep.parameters == ("links.sg.delay_ms", "binding_auth")
    assert len(wanted) == 2 * 2 * 3
    said = {
        (one.scenario.links.sg.delay_ms, one.scenario.binding_auth, one.scenario.seed)
        for one in wanted
    }
    assert said == {(d, a, s) for d in (1.0, 2.0) for a in ("rr", "static") for s in (1, 2, 3)}


def test_of_a_table_only_the_swept_key_changes(tmp_path: Path):
    (tmp_path / "base.toml").write_text(
        'name = "base"\nsummary = "Base"\nduration_s = 5\n[links.sg]\nrate_mbit = 7\n'
    )
    text = HEAD.replace('"walk"', '"base.toml"') + GRID
    _, wanted = load(written(tmp_path, text))
    assert {one.scenario.links.sg.rate_mbit for one in wanted} == {7}


def test_a_sample_is_the_same_for_everybody(tmp_path: Path):
    sample = (
        "[sample]\npoints = 20\n[sample.parameters]\n"
        'binding_auth = ["rr", "static"]\n'
        '"links.sg.delay_ms" = {least = 1, most = 100, scale = "log"}\n'
        '"links.ha.delay_ms" = {least = 1, most = 100}\n'
    )
    path = written(tmp_path, HEAD + sample)
    _, wanted = load(path)
    assert [one.parameters for one in wanted] == [one.parameters for one in load(path)[1]]
    logarithmic = sorted(float(one.parameters["links.sg.delay_ms"]) for one in wanted)
    assert len(set(logarithmic)) == 20
    assert 1 <= logarithmic[0] < logarithmic[-1] <= 100
    # Half of a logarithmic sample lies below the geometric mean, 10; of a linear one, a tenth.
    assert sum(value < 10 for value in logarithmic) > 5


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (HEAD + '[grid]\n"links.sg.dely_ms" = [1.0]\n', "links.sg.dely_ms"),
        (HEAD + '[grid]\nno_such = ["a"]\n', "no_such"),
        (HEAD + "[grid]\nbinding_auth = []\n", "grid.binding_auth"),
        (HEAD, r"\[grid\] or a table \[sample\]"),
        (HEAD + "seeds = [1, 1]\n" + GRID, "seeds"),
        (HEAD + "[grid]\nseed = [1]\n", "seed: is set by seeds"),
        (HEAD.replace("some", "runs") + GRID, "'runs' is a folder beside the sweeps"),
        (HEAD + "[grid]\nlimit_s = [10, 20]\n", "limit_s: changes no result"),
        (HEAD + '[grid]\n"links.sg" = [2]\n"links.sg.delay_ms" = [1.0]\n', "is a part of links.sg"),
        (HEAD + GRID + '[[plot]]\nvalue = "x"\nover = "y"\n', "no parameter 'y'"),
        (HEAD + "[sample]\npoints = 1\n[sample.parameters]\n"
         '"links.sg.delay_ms" = {least = 2, most = 1}\n', "least: not below most"),
        (HEAD + "[sample]\npoints = 1\n[sample.parameters]\n"
         '"links.sg.delay_ms" = {least = 0, most = 1, scale = "log"}\n', "above 0"),
        (HEAD.replace("walk", "nowhere") + GRID, "no experiment is called 'nowhere'"),
        ("name = ", "Invalid value"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line_with_the_file(tmp_path: Path, text: str, complaint: str):
    with pytest.raises(ScenarioError, match=complaint) as caught:
        load(written(tmp_path, text))
    assert str(caught.value).startswith(str(tmp_path / "some.toml"))
    assert "\n" not in str(caught.value)


def test_a_sweep_that_is_not_there_is_told_which_are():
    with pytest.raises(ScenarioError, match="gateway_distance"):
        load("no-such-sweep")


def test_a_run_is_named_by_what_its_result_depends_on(tmp_path: Path):
    wanted = load(written(tmp_path, HEAD + "seeds = 2\n" + GRID))[1]
    keys = {one.key(INPUTS) for one in wanted}
    assert len(keys) == len(wanted)
    renamed = wanted[0].scenario.model_copy(update={"name": "other", "limit_s": 1.0})
    assert type(wanted[0])({}, renamed).key(INPUTS) == wanted[0].key(INPUTS)
    for name in INPUTS:
        assert wanted[0].key({**INPUTS, name: "another"}) not in keys
