"""The table of a sweep, its plots, and the store that both are made of."""

import json
import math
from pathlib import Path

import pandas as pd
import pytest

from experiments.errors import ResultError
from experiments.scenario import ScenarioError
from experiments.sweep import figures, table
from experiments.sweep.plan import Plot, Sweep
from experiments.sweep.store import Store

SUMMARY = {
    "schema": 1,
    "verdict": "failed",
    "links": {"sg": {"delay_ms": 15}},
    "rtt_ms": {"inside": None, "direct": 70.0},
    "moves": [{"node": "mn1", "gap_ms": 5}, {"node": "mn2", "gap_ms": None}],
    "checks": [{"name": "one", "passed": False}, {"name": "two", "passed": True}],
}
SWEEP = Sweep(
    name="some", summary="Some", scenario="walk", seeds=3, grid={"links.sg.delay_ms": (1.0, 2.0)}
)


def rows() -> pd.DataFrame:
    return pd.DataFrame(
        {"links.sg.delay_ms": at, "auth": auth, "rtt_ms.direct": at * 10 + seed}
        for at in (1.0, 2.0, 50.0)
        for auth in ("rr", "static")
        for seed in (1, 2, 3)
    )


def test_a_row_has_parameters_and_every_number_by_its_name(tmp_path: Path):
    made = table.table_of([({"links.sg.delay_ms": 3.0, "seed": 2}, SUMMARY)])
    assert made.to_dict("records") == [
        {
            "links.sg.delay_ms": 3.0,
            "seed": 2,
            "verdict": "failed",
            "failed_checks": "one",
            "rtt_ms.direct": 70.0,
            "moves.1.gap_ms": 5.0,
        }
    ]
    assert pd.read_parquet(table.write(made, tmp_path)).equals(made)
    with pytest.raises(ResultError, match="cannot be written"):
        table.write(made, tmp_path / "nowhere")


def test_an_interval_is_students():
    mean, half = figures.interval(pd.Series([1.0, 2.0, 3.0]))
    # t with 2 degrees of freedom at 97.5 %: 4.303 (any table of it).
    assert mean == 2.0
    assert half == pytest.approx(4.303 / math.sqrt(3), abs=1e-3)
    assert math.isnan(figures.interval(pd.Series([1.0]))[1])


def test_bars_are_where_runs_are_taken_together_and_the_caption_says_over_what():
    sweep = Sweep(
        name="some",
        summary="Some",
        scenario="walk",
        grid={"links.sg.delay_ms": (1.0, 2.0, 50.0), "auth": ("rr", "static")},
    )
    once = rows().iloc[::3]
    value, over = "rtt_ms.direct", "links.sg.delay_ms"
    pooled = figures.draw(sweep, once, Plot(value=value, over=over))
    assert "over seeds and auth" in pooled.caption
    single = figures.draw(sweep, once, Plot(value=value, over=over, by="auth"))
    assert "One run each: no interval" in single.caption


def test_what_is_no_number_is_not_drawn():
    made = rows().assign(verdict="passed")
    with pytest.raises(ScenarioError, match=r"'verdict' is no number"):
        figures.draw(SWEEP, made, Plot(value="verdict", over="links.sg.delay_ms"))


def test_a_store_that_cannot_be_made_is_one_line():
    with pytest.raises(
        ResultError, match=r"/proc/none: results cannot be written here .*--results"
    ):
        Store(Path("/proc/none")).make()


@pytest.mark.parametrize("by", [None, "auth"])
def test_a_plot_says_what_it_shows_and_is_drawn(tmp_path: Path, by: str | None):
    plot = Plot(value="rtt_ms.direct", over="links.sg.delay_ms", by=by)
    picture = figures.draw(SWEEP, rows(), plot)
    picture.save(tmp_path)
    own = f"rtt_ms_direct-over-links_sg_delay_ms{f'-by-{by}' if by else ''}"
    assert (tmp_path / f"{own}.png").stat().st_size > 1000
    assert "18 runs of walk" in picture.caption
    assert "95% confidence interval" in picture.caption
    assert picture.figure is not None
    (axes,) = picture.figure.axes
    assert len(axes.containers) == (1 if by is None else 2)
    assert axes.get_xscale() == "log"


def test_many_places_are_taken_together():
    many = pd.DataFrame({"links.sg.delay_ms": range(100), "v": range(100)})
    picture = figures.draw(SWEEP, many, Plot(value="v", over="links.sg.delay_ms"))
    assert picture.figure is not None
    (line, *_) = picture.figure.axes[0].containers[0].lines
    assert len(line.get_xdata()) == 6


def test_a_plot_of_nothing_names_what_there_is():
    with pytest.raises(ScenarioError, match=r"nothing is called 'x'.*rtt_ms.direct"):
        figures.draw(SWEEP, rows(), Plot(value="x", over="auth"))
    empty = rows().assign(**{"rtt_ms.direct": float("nan")})
    picture = figures.draw(SWEEP, empty, Plot(value="rtt_ms.direct", over="auth"))
    assert picture.figure is None


def test_a_record_is_kept_whole_or_not_at_all(tmp_path: Path):
    store = Store(tmp_path / "runs")
    assert store.load("a") is None
    store.save("a", {"summary": {"x": 1}})
    assert store.load("a") == {"schema": 1, "summary": {"x": 1}}
    assert [path.name for path in store.folder.iterdir()] == ["a.json"]
    (store.folder / "b.json").write_text('{"schema": 1, "summ')
    with pytest.raises(ResultError, match=r"b\.json: damaged"):
        store.load("b")
    (store.folder / "c.json").write_text(json.dumps({"schema": 0}))
    with pytest.raises(ResultError, match=r"c\.json: not of schema 1"):
        store.load("c")
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultError, match="cannot be written"):
        Store(tmp_path / "file").save("a", {})
