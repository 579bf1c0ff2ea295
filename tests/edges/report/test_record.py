"""A result folder is read whole; what is missing or damaged is told, never raised."""

import json
from pathlib import Path

import pytest

from experiments.report.record import NO_VERDICT, Record, load

TABLES = ("probes", "phases", "moves", "messages", "clear_text")


def test_a_finished_run_has_no_gaps(record: Record) -> None:
    assert record.gaps == []
    assert record.verdict == "passed"
    assert (len(record.probes), len(record.moves)) == (1400, 6)


def test_times_count_from_time_zero(record: Record) -> None:
    assert [move.link_down_s for move in record.moves] == pytest.approx([1, 2, 3, 4, 5, 6])
    assert record.probes[0].sent_s == pytest.approx(0)
    assert record.events[0].at_s == pytest.approx(0)
    assert record.phases[0].begin_s == 0


def test_without_time_zero_the_first_probe_is_it(folder: Path) -> None:
    run = json.loads((folder / "run.json").read_text())
    del run["time_zero"]
    (folder / "run.json").write_text(json.dumps(run))
    assert load(folder).moves[0].link_down_s == pytest.approx(1)


def test_each_phase_ends_where_the_next_begins(record: Record) -> None:
    ends = [phase.end_s for phase in record.phases]
    assert ends[:-1] == [phase.begin_s for phase in record.phases[1:]]
    assert ends[-1] == pytest.approx(6.99)


def test_a_probe_has_a_round_trip_path_only_if_its_echo_took_the_same(record: Record) -> None:
    for probe in record.probes:
        assert probe.round_trip_path in ("", probe.path)
        assert not probe.round_trip_path or probe.echo_path == probe.path


def test_a_move_that_never_arrived_has_no_gap(folder: Path) -> None:
    lines = (folder / "moves.csv").read_text().splitlines()
    columns = lines[0].split(",")
    fields = lines[1].split(",")
    for name in ("inbound_first_arrival_s", "inbound_gap_ms"):
        fields[columns.index(name)] = ""
    (folder / "moves.csv").write_text("\n".join([lines[0], ",".join(fields)]) + "\n")
    move = load(folder).moves[0]
    assert (move.gap_ms, move.settled_s) == (None, None)
    assert move.lower_bound_ms == pytest.approx(91.2)


def test_an_empty_folder_is_all_gaps(tmp_path: Path) -> None:
    record = load(tmp_path)
    assert record.verdict == NO_VERDICT
    assert record.end_s == 0
    for name in ("run.json", "summary.json", "events.jsonl", *(f"{t}.csv" for t in TABLES)):
        assert any(gap.startswith(name) for gap in record.gaps)


@pytest.mark.parametrize("table", TABLES)
def test_a_damaged_table_is_a_gap_and_the_rest_is_read(folder: Path, table: str) -> None:
    (folder / f"{table}.csv").write_text("something,else\n1,2\n")
    record = load(folder)
    if table != "clear_text":  # It is shown as it is.
        assert any(gap.startswith(table) for gap in record.gaps)
    assert record.verdict == "passed"


def test_of_a_run_that_failed_early_what_is_there_is_kept(folder: Path) -> None:
    (folder / "run.json").write_text('{"schema": 1, "experiment": "walk", "clock": "wall"}')
    record = load(folder)
    assert record.run["clock"] == "wall"
    assert any("run.json" in gap for gap in record.gaps)


def test_gaps_do_not_name_the_folder_of_the_machine(tmp_path: Path) -> None:
    assert not any(str(tmp_path) in gap for gap in load(tmp_path).gaps)


def test_a_transfer_is_bytes_over_time(folder: Path) -> None:
    (folder / "transfers").mkdir(exist_ok=True)
    (folder / "transfers" / "mn1.csv").write_text(
        "time_ns,event,bytes,detail\n"
        "1767225600000000000,connected,,\n1767225600100000000,bytes,25000,\n"
    )
    (passed,) = load(folder).transfers["mn1"]
    assert (passed.at_s, passed.count) == (pytest.approx(0.1), 25000)
