"""Several runs on one page: what they share, where they differ, and what cannot be compared."""

import csv
import json
import math
import shutil
from pathlib import Path

import pytest

from experiments.errors import ResultError
from experiments.report import overlay


@pytest.fixture
def other(folder: Path) -> Path:
    """Return a run with another seed, of which the direct path took 1 ms longer."""
    copy = folder.parent / "2026-01-02-000000-walk"
    shutil.copytree(folder, copy)
    run = json.loads((copy / "run.json").read_text())
    run["seed"] = run["scenario"]["seed"] = 2
    run["scenario"]["move"][0]["to"] = "wifi2"
    (copy / "run.json").write_text(json.dumps(run))
    summary = json.loads((copy / "summary.json").read_text())
    summary["rtt_ms"]["direct"] += 1
    (copy / "summary.json").write_text(json.dumps(summary))
    return copy


def test_an_overlay_has_both_figures_the_values_and_the_page(
    folder: Path, other: Path, tmp_path: Path
) -> None:
    new = tmp_path / "report"
    new.mkdir()
    text = overlay.write(new, overlay.load([folder, other])).read_text(encoding="utf-8")
    assert {path.name for path in (new / "plots").iterdir()} == {
        f"{name}.{kind}" for name in ("round-trip-time", "gaps") for kind in ("png", "svg", "pdf")
    }
    assert text.count("<svg") == 2
    assert "2 runs compared: 2 passed, 0 failed" in text
    with (new / "values.csv").open(encoding="utf-8") as file:
        rows = {row[0]: row[1:] for row in csv.reader(file)}
    one, two = rows["round trip direct (ms)"]
    assert float(two) == pytest.approx(float(one) + 1)


def test_only_what_differs_is_marked(folder: Path, other: Path) -> None:
    records = overlay.load([folder, other])
    assert [row.name for row in overlay.values(records) if row.differs] == [
        "round trip direct (ms)"
    ]
    differing = {row.name: row.texts for row in overlay.parameters(records) if row.differs}
    assert list(differing) == ["seed", "move.1"]
    assert differing["seed"] == ["1", "2"]
    assert "to wifi2" in differing["move.1"][1]


def test_a_line_is_broken_where_nothing_arrived() -> None:
    line = overlay.binned([(0.1, 5.0), (0.2, 7.0), (2.5, 9.0)], 1.0)
    assert line[:2] == [(0.0, 6.0), (1.0, 6.0)]
    assert line[2][0] == 1.0
    assert math.isnan(line[2][1])
    assert line[3:] == [(2.0, 9.0), (3.0, 9.0)]


def test_runs_without_handovers_have_a_reason_in_place_of_the_figure(
    folder: Path, other: Path
) -> None:
    for path in (folder, other):
        moves = (path / "moves.csv").read_text().splitlines()
        kept = [line for line in moves if ",handover," not in line]
        (path / "moves.csv").write_text("\n".join(kept) + "\n")
        summary = json.loads((path / "summary.json").read_text())
        summary["moves"] = summary["moves"][: len(kept) - 1]
        (path / "summary.json").write_text(json.dumps(summary))
    picture = overlay.gaps(overlay.load([folder, other]))
    assert picture.figure is None
    assert picture.caption.startswith("Not drawn: ")


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("run.json", None, "no result of a run, there is no run.json"),
        ("run.json", "{", r"run\.json: damaged"),
        ("run.json", '{"schema": 0}', "schema 0, but this program reads schema 1; read it with"),
        (
            "summary.json",
            '{"schema": 2, "versions": {"revision": "0a1b2c3"}}',
            r"schema 2, .* the one that wrote it \(0a1b2c3\)",
        ),
        ("summary.json", None, r"not measured, .*: python -m experiments\.analyse /"),
        ("moves.csv", "move\n1\n", r"moves: damaged .*: python -m experiments\.analyse /"),
        ("probes.csv", None, r"probes\.csv: cannot be read"),
    ],
)
def test_what_is_no_whole_result_is_refused_in_one_line(
    folder: Path, name: str, content: str | None, complaint: str
) -> None:
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(content)
    with pytest.raises(ResultError, match=complaint) as refused:
        overlay.load([folder])
    assert str(folder) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_result_named_twice_and_too_many_are_refused(folder: Path) -> None:
    with pytest.raises(ResultError, match="named twice"):
        overlay.load([folder, folder / "." / "plots" / ".."])
    with pytest.raises(ResultError, match="9 results are too many"):
        overlay.load([folder / str(number) for number in range(9)])
