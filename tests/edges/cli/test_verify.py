"""What moved against a reference: which value, from what, to what, by how much."""

import json
from pathlib import Path
from typing import Any

import pytest

from experiments import verify
from experiments.errors import ResultError
from experiments.resultset import SCHEMA, SUMMARY_KEYS

SUMMARY: dict[str, Any] = {
    **dict.fromkeys(SUMMARY_KEYS),
    "schema": SCHEMA,
    "probes": {"sent": 100, "reordered": 7},
    "rtt_ms": {"direct": 70.0, "inside": None},
    "moves": [{"node": "mn1", "gap_ms": 5.0}],
    "checks": [{"name": "a check", "value": 1.004}],
    "wall_seconds": 10.0,
}


def told(**changed: Any) -> list[str]:
    return [str(value) for value in verify.moved(SUMMARY, {**SUMMARY, **changed})]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, []),
        ({"wall_seconds": 99.0, "versions": {"python": "4"}}, []),
        ({"rtt_ms": {"direct": 70.09, "inside": None}}, []),
        ({"rtt_ms": {"direct": 69.8, "inside": None}}, ["rtt_ms.direct: 70.0 -> 69.8 (by -0.200)"]),
        ({"rtt_ms": {"direct": 70.0, "inside": 1.0}}, ["rtt_ms.inside: nothing -> 1.0"]),
        ({"rtt_ms": {"direct": 70.0}}, []),
        ({"probes": {"sent": 101, "reordered": 7}}, ["probes.sent: 100 -> 101 (by +1.000)"]),
        ({"probes": {"sent": 100, "reordered": 8}}, []),
        ({"probes": {"sent": 100, "reordered": 9}}, ["probes.reordered: 7 -> 9 (by +2.000)"]),
        ({"moves": []}, ["moves (how many): 1 -> 0 (by -1.000)"]),
        ({"moves": [{"node": "mn2", "gap_ms": 5.0}]}, ["moves.1.node: mn1 -> mn2"]),
        (
            {"checks": [{"name": "a check", "value": 1.05}]},
            ["checks.a check.value: 1.004 -> 1.05 (by +0.046)"],
        ),
        ({"verdict": "failed"}, ["verdict: nothing -> failed"]),
    ],
)
def test_what_moved_is_named(changed: dict[str, Any], expected: list[str]):
    assert told(**changed) == expected


def test_a_reference_that_is_not_there_or_damaged_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(verify, "REFERENCE", tmp_path)
    with pytest.raises(ResultError, match="'walk'; there are: none"):
        verify.reference_of("walk")
    (tmp_path / "walk.json").write_text("{")
    with pytest.raises(ResultError, match=r"walk\.json: damaged"):
        verify.reference_of("walk")
    (tmp_path / "walk.json").write_text(json.dumps({"schema": 0}))
    with pytest.raises(ResultError, match="schema 0"):
        verify.reference_of("walk")
    (tmp_path / "walk.json").write_text(json.dumps(SUMMARY))
    assert verify.reference_of("walk") == SUMMARY
    assert verify.names() == ["walk"]


def test_the_references_of_this_checkout_can_be_read():
    assert "walk" in verify.names()
    for name in verify.names():
        assert verify.reference_of(name)["verdict"] == "passed"
