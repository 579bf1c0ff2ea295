"""The study of costs: what is read of a run, what is derived, what fails, what is drawn."""

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from experiments.report.drawing import style
from experiments.study.crypto_cost import (
    ALGORITHMS,
    COLUMNS,
    ENOUGH,
    FULL,
    OPEN,
    PASS_ON,
    PLAIN,
    SEAL,
    SMALL,
    STUDY,
    WORK_OF_PATH,
    derive,
    judge,
    pictures,
    values_of,
)
from tests.support.sample_results import write_sample


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a walk whose algorithms and sizes are said."""
    return write_sample(tmp_path_factory.mktemp("results") / "walk")


def derived(folder: Path, best_path: str) -> list[dict[str, Any]]:
    path = folder / "run.json"
    run = json.loads(path.read_text())
    run["variants"] = {"best_path": best_path}
    run["scenario"] |= {"algorithm": "aes128-sha256", "given_algorithm": "aes256gcm16"}
    run["scenario"]["traffic"]["payload_bytes"] = [SMALL, FULL]
    path.write_text(json.dumps(run))
    rows: list[dict[str, Any]] = derive(folder)["rows"]
    assert all(list(row) == list(COLUMNS) for row in rows)
    return rows


def test_a_packet_costs_a_router_what_lies_between_its_two_captures_there(folder: Path):
    rows = derived(folder, "via_gateway")
    assert {(r["path"], r["algorithm"]) for r in rows} == {("via_gateway", "aes256gcm16")}
    of_sg = {(r["work"], r["cost_us"]) for r in rows if r["host"] == "sg"}
    # In the synthetic walk, sg opens in no time, and what it seals is on its link after 15 ms.
    assert of_sg == {(OPEN, 0.0), (SEAL, 15_000.0)}
    assert {r["payload_bytes"] for r in rows} == {SMALL, FULL}


def test_a_direct_packet_costs_the_nodes_alone(folder: Path):
    rows = derived(folder, "direct")
    assert {(r["path"], r["algorithm"]) for r in rows} == {("direct", "aes128-sha256")}
    assert {(r["host"], r["work"], r["cost_us"]) for r in rows} == {
        ("mn1", SEAL, 0.0),
        ("mn2", SEAL, 0.0),
    }
    assert sum(r["count"] for r in rows) > ENOUGH


PASSING_US = {OPEN: 15.0, SEAL: 25.0, PASS_ON: 5.0}


def all_rows(**of_sg: Any) -> list[dict[str, Any]]:
    """Return rows of every point: a full packet costs 10 us more, and sealing 20 us plain."""
    rows = []
    for path, works in WORK_OF_PATH.items():
        plain = [PLAIN] if path == "direct" else []
        for algorithm, (host, work), size in product(
            [*plain, *ALGORITHMS], works, (SMALL, FULL)
        ):  # fmt: skip
            cost = 20.0 if algorithm == PLAIN else PASSING_US[work] + 10 * (size == FULL)
            point = (path, algorithm, host, work, size)
            for more_us in (0.0, 0.1, 90.0):
                row = dict(zip(COLUMNS, (*point, cost + more_us, ENOUGH, "a CPU"), strict=True))
                rows.append({**row, **(of_sg if host == "sg" else {})})
    return rows


def test_a_cost_is_the_first_quartile_and_two_sizes_tell_packets_from_bytes():
    values = values_of(all_rows())
    (sealing,) = [v for v in values if (v["algorithm"], v["work"], v["host"])
                  == (ALGORITHMS[0], SEAL, "sg")]  # fmt: skip
    assert (sealing["small_us"], sealing["full_us"]) == (25.0, 35.0)
    assert (sealing["full_p75_us"], sealing["full_samples"]) == (125.0, 3 * ENOUGH)
    assert sealing["gigabyte_s"] == pytest.approx(10e-6 * 1e9 / (FULL - SMALL))
    assert sealing["packet_us"] == pytest.approx(25 - 10 * SMALL / (FULL - SMALL))
    (plain, _) = [v for v in values if v["algorithm"] == PLAIN]
    assert (plain["small_us"], plain["gigabyte_s"]) == (20.0, 0.0)


def test_costs_as_they_are_pass():
    assert all(check["passed"] for check in judge(values_of(all_rows())))


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([], "points with fewer than"),
        (all_rows(count=1), "points with fewer than"),
        (all_rows(path="direct"), "should pass them by"),
        ([r | {"cost_us": 99.0 - r["payload_bytes"] / FULL} for r in all_rows()],
         "what a gigabyte costs sg"),
        (all_rows(payload_bytes=FULL), "points with fewer than"),
    ],
)  # fmt: skip
def test_what_cannot_be_fails(rows: list[dict[str, Any]], told: str):
    failed = [check["name"] for check in judge(values_of(rows)) if not check["passed"]]
    assert any(told in name for name in failed)


def test_figures_are_drawn_and_say_why_where_there_is_nothing():
    with style():
        for rows in ([], all_rows(payload_bytes=FULL)):
            pictures(values_of(rows), rows)
        assert {picture.figure for picture in pictures([], [])} == {None}
        rows = all_rows()
        drawn = pictures(values_of(rows), rows)
    for picture in drawn:
        assert picture.figure is not None
        assert "a CPU" in picture.caption
        assert "no AES instructions" in picture.caption


def test_runs_are_every_path_with_every_algorithm_and_plain_mobile_ipv6():
    runs = [dict(run) for run in STUDY.runs]
    assert {"system": "mip6"} in runs
    assert {"best_path": "via_gateway", "given_algorithm": "chacha20poly1305"} in runs
    assert {"best_path": "direct", "algorithm": "aes256-sha256"} in runs
    assert len(runs) == 1 + 3 * len(ALGORITHMS)
