"""Handovers as a user runs them: at the physical limit, and in spite of lost signalling."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from experiments.resultset import ResultSet
from experiments.second_opinion import clear_text_by_tshark, mobility_opinions
from tests.support.runs import Run, asked

RUNS = 6
COARSE = Path(__file__).with_name("coarse.toml")
"""Probes are fewer, where none is timed."""
RETURN_ROUTABILITY = asked("handover", "--runs", str(RUNS))
STATIC = asked("handover", "--runs", str(RUNS), "--binding-auth", "static", "--no-page")
SOFT = asked(str(COARSE), "--runs", str(RUNS), "--handover", "soft", "--no-page")
LOSSY = asked(str(COARSE), "--runs", str(RUNS), "--signalling-loss", "10", "--no-page")
ROUND_TRIP_TOLERANCE_MS = 1.0
"""A probe is due every half a millisecond in each direction."""


@pytest.mark.runs(RETURN_ROUTABILITY, STATIC)
def test_a_hard_handover_takes_no_longer_than_the_network_and_the_protocol(runs: Sequence[Run]):
    for run in runs:
        assert run.failed == []
        assert run.summary["handovers"]["complete"] == RUNS
        assert run.summary["handovers"]["gap_over_lower_bound"]["worst"] <= 1.05
        assert "handover gap / lower bound, the worst" in [
            check["name"] for check in run.summary["checks"] if check["limit"] is not None
        ]


@pytest.mark.runs(RETURN_ROUTABILITY, STATIC)
def test_keys_given_beforehand_save_the_time_of_return_routability(runs: Sequence[Run]):
    tested, given = (ResultSet(run.folder).load_table("handovers") for run in runs)
    assert [row["authorisation"] for row in given] == ["none"] * RUNS
    for with_test, without in zip(tested, given, strict=True):
        assert [with_test[key] for key in ("node", "from", "to")] == [
            without[key] for key in ("node", "from", "to")
        ]
        begin, end = float(with_test["care_of_test_init_s"]), float(with_test["care_of_test_s"])
        saved_ms = float(with_test["inbound_gap_ms"]) - float(without["inbound_gap_ms"])
        assert saved_ms == pytest.approx(1000 * (end - begin), abs=ROUND_TRIP_TOLERANCE_MS)


@pytest.mark.runs(SOFT)
def test_soft_handovers_lose_nothing(runs: Sequence[Run]):
    (run,) = runs
    summary = run.summary
    assert run.failed == []
    assert summary["handovers"]["lost"] == 0
    assert summary["handovers"]["gap_ms"]["worst"] == 0


@pytest.mark.runs(SOFT, LOSSY)
def test_every_mobility_message_is_faultless_and_no_home_test_is_to_be_read(runs: Sequence[Run]):
    for run in runs:
        opinions = mobility_opinions(run.folder)
        assert all(opinion.faultless for opinion in opinions.values()), opinions
        assert opinions["mn1"].messages > 0
        assert set(clear_text_by_tshark(run.folder).values()) == {0}


@pytest.mark.runs(LOSSY)
def test_every_handover_ends_direct_although_signalling_gets_lost(runs: Sequence[Run]):
    (run,) = runs
    summary = run.summary
    assert run.failed == []
    wrong = next(c for c in summary["checks"] if c["name"] == "bindings wrong at the end")
    assert wrong["value"] == 0
    # Some messages were lost, or this would prove nothing.
    assert summary["handovers"]["gap_over_lower_bound"]["worst"] > 1.5
