"""Handovers as a user runs them: at the physical limit, and in spite of lost signalling."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments import runner
from experiments.resultset import ResultSet
from experiments.runner import Options

RUNS = 8
COARSE = """
name = "coarse"
summary = "As the experiment handover, with fewer probes: where none is timed"
experiment = "handover"
traffic.probe_interval_ms = 10
[handovers]
"""
ROUND_TRIP_TOLERANCE_MS = 1.0
"""A probe is due every half a millisecond in each direction."""


@pytest.fixture(scope="module")
def handovers(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Path, Any]]:
    """Run the experiment once for each set of options; give its folder and summary."""
    done: dict[tuple[tuple[str, Any], ...], tuple[Path, Any]] = {}
    coarse = tmp_path_factory.mktemp("scenarios") / "coarse.toml"
    coarse.write_text(COARSE)

    def run(scenario: str = "handover", **options: Any):
        key = (("scenario", scenario), *sorted(options.items()))
        if key not in done:
            given = Options(results=tmp_path_factory.mktemp("results"), runs=RUNS, **options)
            folder = runner.run(str(coarse) if scenario == "coarse" else scenario, given)
            done[key] = folder, json.loads((folder / "summary.json").read_text())
        return done[key]

    return run


def failed(summary: dict[str, Any]) -> list[Any]:
    return [check for check in summary["checks"] if not check["passed"]]


@pytest.mark.parametrize("binding_auth", ["rr", "static"])
def test_a_hard_handover_takes_no_longer_than_the_network_and_the_protocol(
    handovers, binding_auth: str
):
    _, summary = handovers(binding_auth=binding_auth)
    assert failed(summary) == []
    assert summary["handovers"]["complete"] == RUNS
    assert summary["handovers"]["gap_over_lower_bound"]["worst"] <= 1.05
    assert "handover gap / lower bound, the worst" in [
        check["name"] for check in summary["checks"] if check["limit"] is not None
    ]


def test_keys_given_beforehand_save_the_time_of_return_routability(handovers):
    tested, given = (
        ResultSet(handovers(binding_auth=binding_auth)[0]).load_table("handovers")
        for binding_auth in ("rr", "static")
    )
    assert [row["authorisation"] for row in given] == ["none"] * RUNS
    for with_test, without in zip(tested, given, strict=True):
        assert [with_test[key] for key in ("node", "from", "to")] == [
            without[key] for key in ("node", "from", "to")
        ]
        begin, end = float(with_test["care_of_test_init_s"]), float(with_test["care_of_test_s"])
        saved_ms = float(with_test["inbound_gap_ms"]) - float(without["inbound_gap_ms"])
        assert saved_ms == pytest.approx(1000 * (end - begin), abs=ROUND_TRIP_TOLERANCE_MS)


def test_soft_handovers_lose_nothing(handovers):
    _, summary = handovers("coarse", handover="soft")
    assert failed(summary) == []
    assert summary["handovers"]["lost"] == 0
    assert summary["handovers"]["gap_ms"]["worst"] == 0


def test_every_handover_ends_direct_although_signalling_gets_lost(handovers):
    _, summary = handovers("coarse", signalling_loss_percent=10.0)
    assert failed(summary) == []
    wrong = next(c for c in summary["checks"] if c["name"] == "bindings wrong at the end")
    assert wrong["value"] == 0
    # Some messages were lost, or this would prove nothing.
    assert summary["handovers"]["gap_over_lower_bound"]["worst"] > 1.5
