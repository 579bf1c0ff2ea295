"""A table of a run as a data frame."""

from pathlib import Path

import pytest

from experiments.errors import ResultError
from experiments.resultset import ResultSet
from tests.support.sample_results import write_sample


def test_a_frame_has_its_times_in_seconds_after_time_zero(tmp_path: Path) -> None:
    results = ResultSet(write_sample(tmp_path / "walk", interval_ms=100))
    moves, rows = results.load_frame("moves"), results.load_table("moves")
    zero_s = results.load_run()["time_zero"]
    assert list(moves.columns) == list(rows[0])
    assert list(moves["node"]) == [row["node"] for row in rows]
    down_s = [float(row["link_down_s"]) - zero_s for row in rows]
    assert list(moves["link_down_s"]) == pytest.approx(down_s, abs=1e-6)
    assert 0 < moves["link_down_s"].max() < 60
    assert moves["outbound_gap_ms"].dtype == float


def test_a_table_that_is_not_there_is_told(tmp_path: Path) -> None:
    results = ResultSet(write_sample(tmp_path / "walk", interval_ms=100))
    with pytest.raises(ResultError, match=r"nosuch\.csv: cannot be read"):
        results.load_frame("nosuch")
