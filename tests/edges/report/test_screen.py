"""The end of a run fits one screen, whatever the run was."""

import json
from io import StringIO
from pathlib import Path

from rich.console import Console

from experiments import screen

LINES, COLUMNS = 25, 80


def shown(folder: Path) -> list[str]:
    output = StringIO()
    screen.show(folder, Console(file=output, width=COLUMNS))
    return output.getvalue().splitlines()


def test_a_run_fits_one_screen(folder: Path) -> None:
    (folder / "report.html").touch()
    lines = shown(folder)
    assert len(lines) <= LINES
    assert max(len(line) for line in lines if not line.startswith("report")) <= COLUMNS
    assert lines[1] == "Passed: all 13 checks"
    assert lines[-1] == f"report      {folder / 'report.html'}"


def test_it_says_where_the_time_went_and_what_was_lost(folder: Path) -> None:
    text = "\n".join(shown(folder))
    assert "lab 48.2 s   analysis 9.4 s   report 4.1 s   in all 61.7 s" in text
    assert "handover 34" in text
    assert "mn2 to cell 91.2 (least 91.2)" in text


def test_many_handovers_are_told_by_their_spread(folder: Path) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    summary["moves"] *= 10
    (folder / "summary.json").write_text(json.dumps(summary))
    text = "\n".join(shown(folder))
    assert "median 154.5   95 % up to 256.0   worst 256.0" in text
    assert "mn2 to cell" not in text


def test_of_many_checks_as_many_are_shown_as_fit(folder: Path) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    summary["checks"] *= 4
    summary["checks"].append({"name": "last", "value": 1, "limit": 0, "passed": False})
    (folder / "summary.json").write_text(json.dumps(summary))
    lines = shown(folder)
    assert len(lines) <= LINES
    checks = [line for line in lines if line.startswith(("✓", "✗"))]
    assert [line[0] for line in checks] == ["✗", *"✓" * 10]
    assert any("more: see the report" in line for line in lines)


def test_failed_checks_come_first(folder: Path) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    summary["verdict"] = "failed"
    setup = next(c for c in summary["checks"] if c["name"] == "direct set-up / lower bound")
    setup |= {"passed": False, "value": None}
    summary["moves"][0]["gap_ms"] = None
    (folder / "summary.json").write_text(json.dumps(summary))
    lines = shown(folder)
    assert lines[1] == "Failed: 1 of 13 checks"
    assert any("never got through" in line for line in lines)
    checks = [line for line in lines if line.startswith(("✓", "✗"))]
    assert " ".join(checks[0].split()) == "✗ direct set-up / lower bound no value 1.100"


def test_without_parts_the_whole_time_is_told(folder: Path) -> None:
    run = json.loads((folder / "run.json").read_text())
    run |= {"wall_by_part": None, "wall_seconds": 12.0, "agent_delay_ms": 50.0}
    run["handover"] = "classic"
    (folder / "run.json").write_text(json.dumps(run))
    text = "\n".join(shown(folder))
    assert "in all 12.0 s" in text
    assert "classic handovers, agents delayed by 50 ms" in text


def test_a_folder_with_nothing_in_it_is_told_as_such(tmp_path: Path) -> None:
    lines = shown(tmp_path)
    assert lines[1] == "No verdict: this run was not measured"
    assert any("summary.json: cannot be read" in line for line in lines)
    assert lines[-1] == "report      not drawn"
