"""The microscope's figures say what handovers.csv says, and nothing where it says nothing."""

import itertools
import json
from dataclasses import replace
from pathlib import Path

from experiments.report import handovers
from experiments.report.handovers import stages_of
from experiments.report.record import MOST_DETAILED_MOVES, Handover, load

STEPS = {
    "link_down": 10.0,
    "link_up": 10.02,
    "router_solicitation": 10.021,
    "router_advertisement": 10.022,
    "care_of_address": 10.023,
    "peer_update": 10.1,
    "binding_at_peer": 10.15,
    "inbound_arrived": 10.2,
}


def test_stages_fill_the_time_from_link_down_to_the_first_packet_in():
    stages = stages_of(Handover(0, STEPS))
    assert stages[0][1] == 0
    assert all(one[2] == other[1] for one, other in itertools.pairwise(stages))
    assert round(stages[-1][2], 6) == 200


def test_a_step_that_was_not_taken_leaves_its_stage_out():
    without = {step: at for step, at in STEPS.items() if step != "router_solicitation"}
    names = [stage.name for stage, _, _ in stages_of(Handover(0, without))]
    assert "router solicitation" not in names
    assert "router advertisement" in names


def test_a_walk_has_its_handovers_drawn(folder: Path):
    pictures = handovers.pictures(load(folder))
    assert [picture.name for picture in pictures] == ["handover-stages", "handover-exchanges"]
    assert all(picture.figure is not None for picture in pictures)
    assert "mn1: wifi1 to wifi2: no link 20.0 ms" in pictures[0].alternative


def test_of_many_moves_the_slowest_are_shown_one_by_one(folder: Path):
    record = load(folder)
    moves = [replace(move, index=i) for i, move in enumerate([*record.moves] * 4)]
    steps = record.handovers[0].at_s
    many = replace(record, moves=moves, handovers=[Handover(i, steps) for i in range(len(moves))])
    assert len(many.detailed_moves) == MOST_DETAILED_MOVES
    stages, _, spread = handovers.pictures(many)
    assert f"Shown are the {MOST_DETAILED_MOVES} of {len(moves)} moves" in stages.caption
    assert f"{len(moves)} handovers: median" in spread.caption


def test_a_run_without_handovers_has_no_such_figure(folder: Path):
    assert handovers.pictures(replace(load(folder), handovers=[])) == []


def test_the_summary_counts_what_the_table_lists(folder: Path):
    counted = json.loads((folder / "summary.json").read_text())["handovers"]
    assert counted["count"] == len(load(folder).handovers) == 2
    assert counted["gap_ms"]["worst"] == 256.0
