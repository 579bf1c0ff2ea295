"""Figures are functions of the result set: the same data, the same bytes; no data, no figure."""

import time
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from experiments.report import figures
from experiments.report.drawing import INK, PATH_COLOURS, PATHS, Picture, milliseconds
from experiments.report.record import Bytes, Move, Phase, Record

HANDOVERS = ("handover-stages", "handover-exchanges")
NAMES = ["round-trip-time", "switch-to-direct", "moves", "gaps", *HANDOVERS]
SVG_LIMIT = 2_000_000


def luminance(colour: str) -> float:
    """Return the relative luminance of #rrggbb (WCAG 2)."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_every_figure_is_drawn_with_words_for_those_who_do_not_see_it(record: Record) -> None:
    drawn = figures.pictures(record)
    assert [picture.name for picture in drawn] == NAMES
    for picture in drawn:
        assert picture.figure is not None
        assert picture.caption
        assert picture.alternative


def test_a_run_without_data_has_reasons_in_place_of_figures(tmp_path: Path) -> None:
    for picture in figures.pictures(Record(tmp_path, {}, {})):
        assert picture.figure is None
        assert picture.caption.startswith("Not drawn: ")
        picture.save(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_same_data_give_the_same_bytes(record: Record, tmp_path: Path) -> None:
    saved = []
    for attempt in ("one", "other"):
        (tmp_path / attempt).mkdir()
        figures.gaps(record).save(tmp_path / attempt)
        saved.append([path.read_bytes() for path in sorted((tmp_path / attempt).iterdir())])
    assert len(saved[0]) == 3
    assert saved[0] == saved[1]


def test_a_pdf_has_its_fonts_in_it_as_type_42(record: Record, tmp_path: Path) -> None:
    figures.gaps(record).save(tmp_path)
    pdf = (tmp_path / "gaps.pdf").read_bytes()
    assert b"/FontFile2" in pdf
    assert b"/CIDFontType2" in pdf
    assert b"/Type3" not in pdf


def test_paths_can_be_told_apart_from_paper() -> None:
    for colour in (*PATH_COLOURS.values(), INK):
        assert 1.05 / (luminance(colour) + 0.05) >= 3


def test_thinning_keeps_one_point_of_each_kind_in_a_cell() -> None:
    points = [(0.5, 10.0, "direct"), (0.5001, 10.0, "direct"), (0.5001, 10.0, "inside")]
    kept = figures.thinned([*points, (0.9, 10.0, "direct")], width=1.0, height=100.0)
    assert kept == [points[0], points[2], (0.9, 10.0, "direct")]


def test_many_noisy_probes_stay_a_small_file_and_the_caption_says_how(
    record: Record, tmp_path: Path
) -> None:
    noise = Random(1)
    probes = [
        replace(
            record.probes[0],
            sequence=number,
            sent_s=number * 0.003,
            path=path,
            echo_path=path,
            rtt_ms=noise.uniform(1, 200),
        )
        for number, path in enumerate(noise.choices(PATHS, k=10_000))
    ]
    began = time.monotonic()
    picture = figures.round_trip_time(replace(record, probes=probes))
    picture.save(tmp_path)
    assert (tmp_path / "round-trip-time.svg").stat().st_size < SVG_LIMIT
    assert "are shown" in picture.caption
    assert time.monotonic() - began < 10


def test_neighbouring_intervals_of_one_phase_are_one_block() -> None:
    cut = [Phase("inside", 0, 1), Phase("direct", 1, 2), Phase("direct", 2, 3)]
    assert figures.merged(cut) == [Phase("inside", 0, 1), Phase("direct", 1, 3)]


def test_places_follow_the_moves(record: Record) -> None:
    found = figures.places(record, "mn1")
    assert [place for place, _, _ in found] == ["lan", "wifi1", "wifi2", "lan"]
    assert figures.places(record, "mn3") == []


def test_a_node_that_never_moves_is_where_it_began(record: Record) -> None:
    still = replace(record, moves=[], run={**record.run, "start": {"mn1": "cell", "mn2": "lan"}})
    assert figures.places(still, "mn1") == [("cell", 0.0, still.end_s)]


def test_one_way_the_delay_is_drawn_in_place_of_the_round_trip(record: Record) -> None:
    run = {**record.run, "scenario": {"traffic": {"direction": "forward"}}}
    picture = figures.round_trip_time(replace(record, run=run))
    assert picture.title == "One-way delay, by the path that the packets took"
    assert "mn1 to mn2, from program to program" in picture.caption
    assert picture.alternative.startswith("One-way delays over time. inside 0.4 to 0.4 ms")


def test_a_move_that_never_arrived_is_drawn_all_the_same(record: Record, tmp_path: Path) -> None:
    def never(move: Move) -> Move:
        silent = replace(move.outbound, first_arrival_s=None, gap_ms=None, lower_bound_ms=None)
        return replace(move, outbound=silent, inbound=silent)

    broken = replace(record, moves=[never(move) for move in record.moves[:3]])
    figures.moves(broken).save(tmp_path)
    assert (tmp_path / "moves.svg").exists()
    assert figures.gaps(broken).figure is None


def test_a_switch_without_a_message_or_a_setup_is_drawn(record: Record, tmp_path: Path) -> None:
    silent = replace(record, messages=[], summary={})
    figures.switch_to_direct(silent).save(tmp_path)
    assert (tmp_path / "switch-to-direct.svg").exists()


def test_a_transfer_is_a_panel_for_each_end(record: Record, tmp_path: Path) -> None:
    passed = {"mn1": [Bytes(0.1, 25_000), Bytes(0.2, 25_000)], "mn2": [Bytes(0.1, 50_000)]}
    picture = figures.pictures(replace(record, transfers=passed))[-1]
    picture.save(tmp_path)
    assert "mn1: 50000 bytes" in picture.alternative
    none = figures.transfer(replace(record, transfers={"mn1": []}))
    assert none.figure is None


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0, "0.0 ms"), (0.8, "0.80 ms"), (70.04, "70.0 ms")],  # noqa: RUF001
)
def test_durations_have_two_digits_at_least(value: float | None, text: str) -> None:
    assert milliseconds(value) == text


def test_text_in_a_figure_stays_text(record: Record, tmp_path: Path) -> None:
    picture: Picture = figures.gaps(record)
    picture.save(tmp_path)
    assert "measured gap" in (tmp_path / "gaps.svg").read_text()
