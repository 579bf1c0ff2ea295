"""./lab report: one folder is drawn where it is, several in a new one; its path is said last."""

import json
from pathlib import Path
from typing import Any

import pytest

from experiments import cli
from experiments.report import overlay, page
from tests.support.sample_results import write_sample
from vm import lease


@pytest.fixture(autouse=True)
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Stand for reading and drawing: return the folders that were to be drawn into."""
    written: list[Path] = []
    monkeypatch.setattr(lease, "sweep", list)
    monkeypatch.setattr(overlay, "load", list)
    monkeypatch.setattr(page, "draw", written.append)
    monkeypatch.setattr(overlay, "write", lambda folder, records: written.append(folder))
    return written


def test_one_folder_is_drawn_where_it_is(tmp_path: Path, drawn: list[Path], capsys: Any) -> None:
    assert cli.main(["report", str(tmp_path)]) == 0
    assert drawn == [tmp_path]
    assert capsys.readouterr().out == f"{tmp_path}\n"


def test_several_are_drawn_in_a_new_folder(tmp_path: Path, drawn: list[Path], capsys: Any) -> None:
    results = tmp_path / "results"
    assert cli.main(["report", "one", "two", "--results", str(results)]) == 0
    (new,) = results.iterdir()
    assert drawn == [new]
    assert new.name.endswith("-report")
    assert capsys.readouterr().out == f"{new}\n"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [([], "Missing argument 'DIR...'"), (["one", "--results", "x"], "--results: one run is drawn")],
)
def test_bad_input_draws_nothing(
    arguments: list[str], complaint: str, drawn: list[Path], capsys: Any
) -> None:
    assert cli.main(["report", *arguments]) == 2
    err = capsys.readouterr().err
    assert complaint in err
    assert err.count("\n") == 1
    assert drawn == []


def test_no_result_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(lease, "sweep", list)
    results = tmp_path / "results"
    assert cli.main(["report", str(tmp_path), "/none", "--results", str(results)]) == 2
    assert "no result of a run" in capsys.readouterr().err
    assert not results.exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"checks": "x"},
        {"checks": [{}]},
        {"rtt_ms": {"direct": "fast"}},
        {"links": {"sg": 3}},
    ],
)
def test_a_summary_with_values_of_the_wrong_kind_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, wrong: dict[str, Any]
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(lease, "sweep", list)
    folder = write_sample(tmp_path / "walk")
    path = folder / ("run.json" if "links" in wrong else "summary.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | wrong))
    assert cli.main(["report", str(folder)]) == 2
    err = capsys.readouterr().err
    assert "damaged" in err
    assert str(folder) in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("table", "cut", "told"),
    [
        ("probes", lambda text: "", "probes.csv: damaged (empty)"),
        ("probes", lambda text: text.splitlines(keepends=True)[0], "probes.csv: 0 probes, where"),
        ("probes", lambda text: text[:5003], "instead of"),
        ("moves", lambda text: text.splitlines(keepends=True)[0], "moves.csv: 0 moves, where"),
    ],
)
def test_a_table_that_was_cut_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, table: str, cut: Any, told: str
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(lease, "sweep", list)
    folder = write_sample(tmp_path / "walk")
    path = folder / f"{table}.csv"
    path.write_text(cut(path.read_text()))
    assert cli.main(["report", str(folder)]) == 2
    err = capsys.readouterr().err
    assert told in err
    assert err.count("\n") == 1
