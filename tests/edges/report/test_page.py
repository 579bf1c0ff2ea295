"""The page is one file that anyone can read, of any run, also of one that failed."""

import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from experiments.errors import ResultError
from experiments.report import page
from experiments.report.drawing import THEMED
from experiments.report.record import Record

VOID = {"meta", "br", "hr", "img", "link", "input", "col"}


class Outline(HTMLParser):
    """Headings, identifiers and references of a page; fails on tags that do not close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.headings: list[int] = []
        self.identifiers: list[str] = []
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append((tag, given))
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if given.get("id"):
            self.identifiers.append(str(given["id"]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory, measured: Path) -> str:
    """Return the page of the walk that passed."""
    return page.write(measured).read_text(encoding="utf-8")


def change(folder: Path, name: str, **values: Any) -> None:
    path = folder / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_plots_are_drawn_as_png_svg_and_pdf(text: str, measured: Path) -> None:
    names = {path.name for path in (measured / "plots").iterdir()}
    for stem in ("round-trip-time", "switch-to-direct", "moves", "gaps", "sequence-2"):
        assert {f"{stem}.png", f"{stem}.svg", f"{stem}.pdf"} <= names


def test_the_page_needs_nothing_but_itself(text: str) -> None:
    assert not re.search(r'\b(src|href)="(?!#)', text)
    assert not re.search(r"@import|url\((?!#)", text)


def test_the_page_is_well_formed_and_has_one_of_each_identifier(text: str) -> None:
    outline = Outline(text)
    assert outline.open == []
    assert len(outline.identifiers) == len(set(outline.identifiers))


def test_every_reference_has_its_target(text: str) -> None:
    identifiers = set(Outline(text).identifiers)
    for target in re.findall(r'(?:url\(#|href="#)([^)"]+)', text):
        assert target in identifiers


def test_headings_begin_with_the_verdict_and_skip_no_level(text: str) -> None:
    headings = Outline(text).headings
    assert headings[0] == 1
    assert headings.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(headings))
    assert text.index("Passed: all 13 checks") < text.index("What happened")


def test_every_picture_has_words(text: str) -> None:
    pictures = [given for tag, given in Outline(text).tags if tag == "svg"]
    assert len(pictures) == 4 + 2 + 6
    for given in pictures:
        assert given["role"] == "img"
        assert given["aria-labelledby"]


def test_every_table_and_picture_scrolls_in_its_own_box(text: str) -> None:
    outline = Outline(text)
    boxes = [given for _, given in outline.tags if "scroll" in str(given.get("class")).split()]
    tables = sum(tag == "table" for tag, _ in outline.tags)
    pictures = sum(tag == "svg" for tag, _ in outline.tags)
    assert len(boxes) >= tables + pictures
    assert all(given.get("tabindex") == "0" for given in boxes)


def test_no_colour_of_a_figure_stays_where_dark_pages_cannot_change_it(text: str) -> None:
    body = text[text.index("<body>") :].lower()
    assert not [colour for colour in THEMED if colour in body]
    assert not re.findall(r"(?:fill|stroke)[:=]\s*\"?#[0-9a-f]{6}", body)


def test_every_variable_of_the_figures_is_set_for_light_and_dark(text: str) -> None:
    light, dark = text.split("@media (prefers-color-scheme: dark)", 1)
    for name in set(THEMED.values()):
        assert f"--{name}:" in light
        assert f"--{name}:" in dark.split("}", 1)[0]


def test_the_databases_are_compared_across_the_switch(record: Record) -> None:
    switch = page.switch_of(record)
    assert switch is not None
    assert switch.before == "before move 2 (mn1: lan to wifi1), via gateway"
    assert switch.after == "before move 3 (mn1: wifi1 to wifi2), direct"
    assert [node.node for node in switch.nodes] == ["mn1", "mn2", "sg"]
    assert switch.count > 0


def test_the_page_has_the_command_and_the_environment(text: str) -> None:
    assert "./lab run walk --seed 1 --clock virtual --machine uml" in text
    assert "git checkout 0123abc" in text
    assert "6.12.48" in text


def test_a_page_says_how_to_repeat_what_a_program_asked_for(plain: Path) -> None:
    run = plain / "run.json"
    run.write_text(json.dumps({**json.loads(run.read_text()), "conducted": True}))
    text = page.write(plain).read_text(encoding="utf-8")
    assert "A program asked for the moves. The scenario below has them as they were made" in text


def test_an_empty_folder_gives_a_page_that_says_so(tmp_path: Path) -> None:
    text = page.write(tmp_path).read_text(encoding="utf-8")
    assert "No verdict: this run was not measured" in text
    assert "summary.json: cannot be read" in text
    assert text.count("Not drawn: ") == 4


@pytest.mark.parametrize(
    "missing",
    [
        ("probes.csv",),
        ("moves.csv", "run.json"),
        ("phases.csv", "messages.csv", "events.jsonl"),
        ("summary.json", "probes.csv", "clear_text.csv"),
    ],
)
def test_a_page_names_every_file_that_is_missing(folder: Path, missing: tuple[str, ...]) -> None:
    for name in missing:
        (folder / name).unlink()
    text = page.write(folder).read_text(encoding="utf-8")
    for name in missing:
        assert f"{name}: cannot be read" in text


def test_values_without_a_sample_are_dashes(folder: Path) -> None:
    change(
        folder,
        "summary.json",
        verdict="failed",
        rtt_ms=dict.fromkeys(("inside", "via_gateway", "via_home_agents", "direct")),
        shortest_path_rtt_ms=None,
        direct_setup_ms=None,
        direct_setup_lower_bound_ms=None,
        wall_seconds=None,
        checks=[{"name": "direct set-up / lower bound", "value": None, "limit": 1.1,
                 "passed": False}],
    )  # fmt: skip
    text = page.write(folder).read_text(encoding="utf-8")
    assert "Failed: 1 of 1 checks" in text
    assert "direct set-up / lower bound: no value, where 1.100 is wanted" in text


def test_packets_in_clear_are_listed(plain: Path) -> None:
    (plain / "clear_text.csv").write_text(
        "time_s,link,what\n" + "1767225601.000000,ha,vpn address\n" * 60
    )
    text = page.write(plain).read_text(encoding="utf-8")
    assert "The first 50 of 60" in text


def test_what_a_run_says_is_never_markup(plain: Path) -> None:
    run = json.loads((plain / "run.json").read_text())
    run["scenario"]["summary"] = "<script>alert(1)</script>"
    (plain / "run.json").write_text(json.dumps(run))
    assert "<script>" not in page.write(plain).read_text(encoding="utf-8")


def test_a_folder_that_cannot_be_written_is_one_line(plain: Path) -> None:
    (plain / "plots").write_text("in the way")
    with pytest.raises(ResultError, match="plots: cannot be written"):
        page.write(plain)


def test_drawn_again_from_the_command_line(plain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert page.main([str(plain)]) == 0
    assert capsys.readouterr().out == f"{plain / 'report.html'}\n"
    assert page.main([str(plain / "nothing")]) == 2
    assert "no such folder" in capsys.readouterr().err
