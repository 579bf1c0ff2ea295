"""A whole walk, built packet by packet with numbers made by hand, and what is read from it."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from experiments.analyse import analyse, main
from experiments.errors import ResultError
from experiments.measure.expected import is_triggered
from experiments.measure.walk import measure
from experiments.probe_format import ECHO, PROBE
from experiments.resultset import SUMMARY_KEYS, ResultSet
from experiments.second_opinion import clear_text_by_tshark
from experiments.second_opinion import main as second_opinion
from tests.support.packets import icmpv6, ipv6, udp
from tests.support.synthetic_walk import (
    AGENTS,
    DIRECT,
    EXPECTED_MOVES,
    GATE,
    INSIDE,
    LOST,
    MOVES,
    SyntheticWalk,
)

GAP_FIGURES = ("first_arrival_s", "gap_ms", "lower_bound_ms")


@pytest.fixture
def walk(tmp_path: Path, run_description: dict[str, Any]) -> SyntheticWalk:
    return SyntheticWalk(tmp_path, run=run_description)


def failed(summary: dict[str, Any]) -> list[str]:
    return [check["name"] for check in summary["checks"] if not check["passed"]]


def test_an_ideal_walk_passes(walk: SyntheticWalk) -> None:
    summary = analyse(walk.write())
    assert failed(summary) == []
    assert summary["verdict"] == "passed"
    assert tuple(summary) == SUMMARY_KEYS


def test_probes_are_counted_by_the_phase_or_the_move_that_they_belong_to(
    walk: SyntheticWalk,
) -> None:
    summary = analyse(walk.write())
    lost = sum(move[-1] for move in EXPECTED_MOVES)
    assert summary["probes"] == {
        "sent": 1400,
        "received": 1400 - lost,
        "lost": lost,
        "duplicated": 0,
        # Four times from the home agents' path to the direct one, once from the gateway's home.
        "reordered": 3 + 3 + 3 + 3 + 1,
    }
    assert summary["lost_by_phase"] == {
        "inside": 0,
        "leaving": 5 + 2,
        "via_gateway": 0,
        "switch_to_direct": 0,
        "via_home_agents": 0,
        "direct": 0,
        "handover": 27 + 7,
        "returning": 5 + 4,
    }


def test_moves_have_gaps_and_bounds_of_the_worse_direction(walk: SyntheticWalk) -> None:
    summary = analyse(walk.write())
    found = [tuple(move.values()) for move in summary["moves"]]
    assert found == list(EXPECTED_MOVES)


@pytest.mark.parametrize(("trigger", "right"), [("both", 0), ("session", 0), ("initiation", -3)])
def test_where_traffic_settles_is_judged_by_the_trigger(
    walk: SyntheticWalk, trigger: str, right: int
) -> None:
    """The walk's session exists before the second node leaves."""
    walk.run["variants"] = {"trigger": trigger}
    summary = analyse(walk.write())
    (check,) = [c for c in summary["checks"] if c["name"].startswith("path settled")]
    assert check["value"] - check["limit"] == right


@pytest.mark.parametrize(
    ("began_ns", "triggered"),
    [
        (10, {"session": True, "initiation": False, "both": True}),
        (20, {"session": False, "initiation": True, "both": True}),
        (30, {"session": False, "initiation": True, "both": True}),
    ],
)
def test_a_session_exists_if_it_has_packets_before_both_ends_are_outside(
    began_ns: int, triggered: dict[str, bool]
) -> None:
    for trigger, expected in triggered.items():
        assert is_triggered(trigger, began_ns, both_outside_ns=20) is expected


def test_round_trips_are_medians_by_path(walk: SyntheticWalk) -> None:
    summary = analyse(walk.write())
    assert summary["rtt_ms"] == {
        "inside": 0.8,
        "via_gateway": 130.8,
        "via_home_agents": 150.0,
        "direct": 70.0,
    }
    assert summary["shortest_path_rtt_ms"] == 70.0


def test_setup_is_read_from_the_first_packet_to_the_last_forwarded_acknowledgement(
    walk: SyntheticWalk,
) -> None:
    summary = analyse(walk.write())
    assert summary["direct_setup_ms"] == 112.4
    assert summary["direct_setup_lower_bound_ms"] == 112.4


def test_phases_are_told_from_packets(walk: SyntheticWalk) -> None:
    found = measure(ResultSet(walk.write()))
    begin_ns = 1_767_225_600_000_000_000
    assert [(i.phase.value, max(0, i.begin_ns - begin_ns) / 1e6) for i in found.intervals] == [
        ("inside", 0),
        ("via_gateway", 1000),
        ("via_gateway", 2000),
        ("switch_to_direct", 2020.6),
        ("direct", 2485),
        ("direct", 3000),
        ("direct", 4000),
        ("via_gateway", 5000),
        ("inside", 6000),
    ]


def test_messages_carry_the_seeds_numerals_and_no_secret(walk: SyntheticWalk) -> None:
    folder = walk.write()
    analyse(folder)
    rows = ResultSet(folder).load_table("messages")
    chart = [(r["source"], r["destination"], r["name"], r["numeral"]) for r in rows]
    assert [row for row in chart if row[3] and row[3] != "218"] == [
        ("sg", "vcm", "SessionDetected", "202"),
        ("vcm", "sg", "Acknowledge", "204"),
        ("vcm", "mn1", "SaOffer", "210"),
        ("vcm", "mn2", "SaOffer", "206"),
        ("mn1", "vcm", "SaAccept", "212"),
        ("vcm", "mn2", "PeerReady", "212"),
        ("mn2", "vcm", "SaAccept", "208"),
        ("vcm", "mn1", "PeerReady", "208"),
    ]
    assert ("mn1", "mn2", "HomeTestInit", "218") in chart
    assert ("mn2", "sg", "BindingUpdate", "") in chart
    assert ("mn2", "", "RouterSolicitation", "") in chart
    assert "key" not in (folder / "messages.csv").read_text()


def test_sent_times_are_before_the_first_links_delay(walk: SyntheticWalk) -> None:
    """sg's acknowledgement is seen on sg-ext 15 ms after it left."""
    found = measure(ResultSet(walk.write()))
    (first, _) = [m for m in found.messages if m.name == "BindingAcknowledgement"]
    assert first.arrived_ns - first.sent_ns == 45_000_000


def test_probes_csv_has_a_row_for_each_probe(walk: SyntheticWalk) -> None:
    folder = walk.write()
    analyse(folder)
    rows = ResultSet(folder).load_table("probes")
    assert len(rows) == 1400
    by_number = {(row["sender"], row["sequence"]): row for row in rows}
    hairpin = by_number["mn1", "202"]
    assert hairpin["path"] == hairpin["echo_path"] == "via_gateway"
    assert (hairpin["sender_place"], hairpin["receiver_place"]) == ("wifi1", "cell")
    assert hairpin["rtt_ms"] == "130.800"
    refused = by_number["mn1", "301"]
    assert (refused["refused"], refused["phase"], refused["move"]) == (
        "ENETUNREACH",
        "handover",
        "2",
    )
    assert refused["arrived_s"] == refused["path"] == refused["rtt_ms"] == ""


def test_two_analyses_write_the_same_bytes(walk: SyntheticWalk) -> None:
    folder = walk.write()
    analyse(folder)
    names = ("summary.json", "probes.csv", "moves.csv", "phases.csv", "messages.csv")
    first = {name: (folder / name).read_bytes() for name in names}
    analyse(folder)
    assert {name: (folder / name).read_bytes() for name in names} == first


# What must not pass.


def test_a_probe_lost_by_the_switch_fails_the_run(walk: SyntheticWalk) -> None:
    walk.fate = lambda sender, kind, sequence, path, transit: (
        (LOST, 0, 1) if (sender, kind, sequence) == ("mn1", PROBE, 214) else (path, transit, 1)
    )
    summary = analyse(walk.write())
    assert failed(summary) == ["probes lost by the switch"]
    assert summary["lost_by_phase"]["switch_to_direct"] == 1
    assert summary["verdict"] == "failed"


def test_an_echo_lost_by_the_switch_fails_the_run(walk: SyntheticWalk) -> None:
    walk.fate = lambda sender, kind, sequence, path, transit: (
        (LOST, 0, 1) if (sender, kind, sequence) == ("mn2", ECHO, 214) else (path, transit, 1)
    )
    assert failed(analyse(walk.write())) == ["echoes lost by the switch"]


def test_losses_do_not_fail_a_run_with_lossy_links(walk: SyntheticWalk) -> None:
    walk.run["links"]["cell"]["loss_percent"] = 1
    walk.fate = lambda sender, kind, sequence, path, transit: (
        (LOST, 0, 1) if (kind, sequence) == (PROBE, 214) else (path, transit, 1)
    )
    assert failed(analyse(walk.write())) == []


def test_a_duplicate_fails_the_run(walk: SyntheticWalk) -> None:
    walk.fate = lambda sender, kind, sequence, path, transit: (
        path,
        transit,
        2 if (sender, kind, sequence) == ("mn2", PROBE, 250) else 1,
    )
    summary = analyse(walk.write())
    assert failed(summary) == ["probes duplicated"]
    assert summary["probes"]["duplicated"] == 1


def test_overtaking_on_one_path_fails_the_run(walk: SyntheticWalk) -> None:
    walk.fate = lambda sender, kind, sequence, path, transit: (
        path,
        transit + 30 if (sender, kind, sequence) == ("mn2", PROBE, 280) else transit,
        1,
    )
    folder = walk.write()
    assert failed(analyse(folder)) == ["overtaking that the paths' delays do not explain"]
    # Behind a transfer's bursts a probe waits for longer than paths explain.
    path = folder / "run.json"
    run = json.loads(path.read_text())
    path.write_text(json.dumps({**run, "scenario": {"traffic": {"tcp": True}}}))
    assert failed(analyse(folder)) == []


@pytest.mark.parametrize(("sequence", "is_explained"), [(397, True), (405, False)])
def test_a_probe_that_was_due_before_its_receiver_was_there_was_held_by_a_router(
    walk: SyntheticWalk, sequence: int, is_explained: bool
) -> None:
    """mn2 has its link at 4000 ms; the probe of 3970 is due 13 ms later, that of 4050 is late."""
    walk.fate = lambda sender, kind, number, path, transit: (
        (DIRECT, 100.0, 1)
        if (sender, kind, number) == ("mn1", PROBE, sequence)
        else (path, transit, 1)
    )
    what = "overtaking that the paths' delays do not explain"
    assert (what in failed(analyse(walk.write()))) is not is_explained


def test_a_slow_direct_path_fails_the_run(walk: SyntheticWalk) -> None:
    walk.fate = lambda sender, kind, sequence, path, transit: (
        path,
        transit * 1.03 if path == DIRECT else transit,
        1,
    )
    assert failed(analyse(walk.write())) == ["direct round trip / shortest path"]


def test_a_run_that_never_goes_direct_fails(walk: SyntheticWalk) -> None:
    transits = {(True, True): (GATE, 65.4)}
    walk.fate = lambda sender, kind, sequence, path, transit: (
        (*transits[True, True], 1) if path in (AGENTS, DIRECT) else (path, transit, 1)
    )
    summary = analyse(walk.write())
    assert "path settled before, between and after moves" in failed(summary)
    assert summary["rtt_ms"]["direct"] is None
    assert summary["shortest_path_rtt_ms"] is None


def test_nodes_without_an_algorithm_in_common_belong_on_the_gateway(walk: SyntheticWalk) -> None:
    walk.run["algorithms"] = {"mn1": ["aes256gcm16", "aes128gcm16"], "mn2": ["aes256-sha256"]}
    walk.fate = lambda sender, kind, sequence, path, transit: (
        (GATE, 65.4, 1) if path in (AGENTS, DIRECT) else (path, transit, 1)
    )
    folder = walk.write()
    # The VCM has made offers all the same.
    told = failed(analyse(folder))
    assert "offers without an algorithm in common" in told
    assert "path settled before, between and after moves" not in told
    walk.run["algorithms"]["mn2"].append("aes128gcm16")
    (folder / "run.json").write_text(json.dumps(walk.run))
    told = failed(analyse(folder))
    assert "offers without an algorithm in common" not in told
    assert "path settled before, between and after moves" in told


def test_one_direction_left_on_the_home_agents_path_fails(walk: SyntheticWalk) -> None:
    walk.fate = lambda sender, kind, sequence, path, transit: (
        (AGENTS, 75, 1) if path == DIRECT and sender == "mn1" else (path, transit, 1)
    )
    assert "path settled before, between and after moves" in failed(analyse(walk.write()))


def test_a_move_that_never_arrives_has_no_gap(walk: SyntheticWalk) -> None:
    walk.fate = lambda sender, kind, sequence, path, transit: (
        (LOST, 0, 1) if path == INSIDE and sequence > 500 else (path, transit, 1)
    )
    summary = analyse(walk.write())
    assert summary["moves"][-1]["gap_ms"] is None
    assert "moves with a first arrival in both directions" in failed(summary)


def test_a_missing_move_fails_the_run(walk: SyntheticWalk) -> None:
    made = [{"node": node, "to": target} for node, _, target, _, _ in MOVES]
    walk.run["moves"] = [*made, {"node": "mn2", "to": "cell"}]
    assert failed(analyse(walk.write())) == ["moves with a first arrival in both directions"]


def test_a_node_that_does_not_begin_where_the_scenario_says_fails_the_run(
    walk: SyntheticWalk,
) -> None:
    walk.run["start"] = {"mn1": "lan", "mn2": "wifi2"}
    assert failed(analyse(walk.write())) == [
        "path settled before, between and after moves",
        "moves with a first arrival in both directions",
    ]


def test_clear_text_fails_the_run_and_is_listed(walk: SyntheticWalk) -> None:
    inner = ipv6("fd00:10::d1", "fd00:10::d2", udp(1, 2, b""))
    walk.frame("sg-ext", 2500, inner)
    walk.frame(
        "mn1", 2500, ipv6("2001:db8:5::5", "2001:db8:1::1", icmpv6(1, 0, bytes(4) + inner[1]))
    )
    walk.frame("mn1", 500, inner)
    folder = walk.write()
    summary = analyse(folder)
    assert summary["clear_text_packets_outside"] == 2
    assert failed(summary) == ["clear text packets outside"]
    rows = ResultSet(folder).load_table("clear_text")
    assert [(row["link"], row["what"]) for row in rows] == [("mn1", "udp"), ("sg-ext", "udp")]


def test_a_packet_at_the_moment_of_link_up_counts_as_outside(walk: SyntheticWalk) -> None:
    walk.frame("mn1", 1999, ipv6("fd00:10::d1", "fd00:10::d2", udp(1, 2, b"")))
    walk.frame("mn1", 2000, ipv6("fd00:10::d1", "fd00:10::d2", udp(1, 2, b"")))
    assert analyse(walk.write())["clear_text_packets_outside"] == 1


def test_a_slow_set_up_fails_unless_the_agents_are_slow_on_purpose(
    walk: SyntheticWalk, tmp_path: Path
) -> None:
    for link in ("mn1", "vcm"):
        walk.frames[link].clear()
    original = walk.message
    walk.message = lambda s, d, at, transit, n, body: original(  # type: ignore[method-assign]
        s, d, at + (20 if at == 2111.8 else 0), transit, n, body
    )
    folder = walk.write()
    assert failed(analyse(folder)) == ["direct set-up / lower bound"]
    walk.run["agent_delay_ms"] = 50
    (folder / "run.json").write_text(json.dumps(walk.run))
    assert failed(analyse(folder)) == []


def test_esp_that_no_key_opens_fails_the_run(walk: SyntheticWalk) -> None:
    folder = walk.write()
    lines = (folder / "keys" / "esp_sa").read_text().splitlines(keepends=True)
    (folder / "keys" / "esp_sa").write_text("".join(lines[:-1]))
    assert "ESP packets that no key opens" in failed(analyse(folder))


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_tshark_alone_agrees_on_the_clear_text_of_a_walk(walk: SyntheticWalk) -> None:
    walk.frame("sg-ext", 2500, ipv6("2001:db8:5::5", "2001:db8:1::1", udp(1, 2, b"")))
    folder = walk.write()
    assert clear_text_by_tshark(folder) == {"ha": 0, "mn1": 0, "mn2": 0, "sg-ext": 1}
    assert second_opinion([str(folder)]) == 1
    (folder / "run.json").unlink()
    assert second_opinion([str(folder)]) == 2


# One-way traffic, and other pairs.


def one_way(walk: SyntheticWalk, direction: str) -> SyntheticWalk:
    walk.senders = {"forward": ("mn1",), "backward": ("mn2",)}[direction]
    walk.run["scenario"] = {"traffic": {"direction": direction}}
    return walk


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_one_way_the_delay_replaces_the_round_trip(walk: SyntheticWalk, direction: str) -> None:
    summary = analyse(one_way(walk, direction).write())
    assert failed(summary) == []
    assert summary["probes"]["sent"] == 700
    assert set(summary["rtt_ms"].values()) == {None}
    assert summary["delay_ms"] == {
        "inside": 0.4,
        "via_gateway": 65.4,
        "via_home_agents": 75.0,
        "direct": 35.0,
    }
    told = {check["name"]: check["value"] for check in summary["checks"]}
    assert told["direct one-way delay / shortest path"] == 1.0


def test_one_way_a_move_has_the_gap_of_its_only_direction(walk: SyntheticWalk) -> None:
    folder = one_way(walk, "forward").write()
    summary = analyse(folder)
    rows = ResultSet(folder).load_table("moves")
    for row, move in zip(rows, summary["moves"], strict=True):
        used, unused = ("outbound", "inbound") if row["node"] == "mn1" else ("inbound", "outbound")
        assert {row[f"{unused}_{figure}"] for figure in GAP_FIGURES} == {""}
        assert float(row[f"{used}_gap_ms"]) == move["gap_ms"]
        assert float(row[f"{used}_lower_bound_ms"]) == move["lower_bound_ms"]


def test_one_way_a_sender_that_is_silent_fails_the_run(walk: SyntheticWalk) -> None:
    one_way(walk, "forward").senders = ()
    assert "probes were sent (ends without any)" in failed(analyse(walk.write()))


def test_what_another_pair_does_not_do_fails_the_run_under_its_name(walk: SyntheticWalk) -> None:
    walk.run["other_pairs"] = [["mn1", "mn3"]]
    walk.logs |= {"mn1-mn3": [], "mn3-mn1": []}
    summary = analyse(walk.write())
    assert failed(summary) == [
        "mn1-mn3: probes were sent (ends without any)",
        "mn1-mn3: path settled before, between and after moves",
        "mn1-mn3: moves with a first arrival in both directions",
    ]
    (other,) = summary["other_pairs"]
    assert other["nodes"] == ["mn1", "mn3"]
    assert other["probes"]["sent"] == 0


def test_a_probe_may_wait_behind_those_of_another_pair(
    tmp_path: Path, run_description: dict[str, Any]
) -> None:
    """1.2 ms behind: more than the 1 ms of a pair alone, less than one frame each beside it."""
    walk = SyntheticWalk(tmp_path, 1.0, run=run_description)
    walk.fate = lambda sender, kind, sequence, path, transit: (
        path,
        transit + 1.2 if (sender, kind, sequence) == ("mn2", PROBE, 2800) else transit,
        1,
    )
    what = "overtaking that the paths' delays do not explain"
    assert what in failed(analyse(walk.write()))
    walk.run["other_pairs"] = [["mn1", "mn3"]]
    walk.logs |= {"mn1-mn3": [], "mn3-mn1": []}
    assert what not in failed(analyse(walk.write()))


def test_each_pair_is_a_row_of_how_it_became_direct(walk: SyntheticWalk) -> None:
    walk.run["other_pairs"] = [["mn1", "mn3"]]
    walk.logs |= {"mn1-mn3": [], "mn3-mn1": []}
    folder = walk.write()
    summary = analyse(folder)
    first, other = ResultSet(folder).load_table("pairs")
    assert (first["first"], first["second"]) == ("mn1", "mn2")
    known, begin, end, best = (
        float(first[key])
        for key in ("both_outside_s", "setup_begin_s", "setup_end_s", "best_path_s")
    )
    assert known <= begin < end < best
    assert 1000 * (end - begin) == pytest.approx(summary["direct_setup_ms"], abs=0.01)
    assert float(first["setup_lower_bound_ms"]) == summary["direct_setup_lower_bound_ms"]
    told = summary["probes"]
    assert (int(first["sent"]), int(first["lost"])) == (told["sent"], told["lost"])
    assert first["lost_by_switch"] == "0"
    assert (other["second"], other["setup_end_s"], other["best_path_s"]) == ("mn3", "", "")


def test_offers_of_another_pair_do_not_begin_a_switch(walk: SyntheticWalk) -> None:
    """mn1 and mn2 have talked, by these messages; mn1 and mn3 have not."""
    walk.run["other_pairs"] = [["mn1", "mn3"]]
    walk.logs |= {"mn1-mn3": [], "mn3-mn1": []}
    found = measure(ResultSet(walk.write()))
    (other,) = found.others
    assert found.setup is not None
    assert other.setup is None
    about = {message.name: message.pair for message in found.messages if message.pair}
    assert about == dict.fromkeys(("SaOffer", "SaAccept", "PeerReady"), ("mn1", "mn2"))


# A TCP transfer.


def transfer(
    walk: SyntheticWalk,
    begins_ms: list[float],
    end: str = "",
    path_by_segment: dict[int, str] | None = None,
) -> Path:
    """Write a walk with a transfer from mn1 to mn2; a segment is sent in the middle of each bin."""
    for number in range(7):
        walk.segment(500 + 1000 * number, number, (path_by_segment or {}).get(number))
    folder = walk.write()
    lines = ["time_ns,event,bytes,detail", "1767225600000000000,connected,,"]
    lines += [f"{1_767_225_600_000_000_000 + round(b * 1e6)},bytes,1000," for b in begins_ms]
    (folder / "transfers").mkdir()
    (folder / "transfers" / "mn2.csv").write_text("\n".join(lines) + "\n" + end)
    return folder


def test_a_transfer_that_goes_on_after_every_move_passes(walk: SyntheticWalk) -> None:
    assert failed(analyse(transfer(walk, [500 + 1000 * n for n in range(7)]))) == []


def test_a_transfer_that_is_left_on_another_path_fails(walk: SyntheticWalk) -> None:
    folder = transfer(walk, [500 + 1000 * n for n in range(7)], path_by_segment={3: GATE})
    assert failed(analyse(folder)) == ["transfer on the settled path"]


@pytest.mark.parametrize("missing", range(7))
def test_a_transfer_that_stalls_from_one_move_to_the_next_fails(
    walk: SyntheticWalk, missing: int
) -> None:
    folder = transfer(walk, [500 + 1000 * n for n in range(7) if n != missing])
    assert failed(analyse(folder)) == ["times that the transfer at mn2 stopped"]


def test_a_broken_transfer_fails(walk: SyntheticWalk) -> None:
    broken = "1767225607000000000,broken,,ETIMEDOUT\n"
    folder = transfer(walk, [500 + 1000 * n for n in range(7)], broken)
    assert failed(analyse(folder)) == ["times that the transfer at mn2 stopped"]


# Damaged folders: one line each.


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("run.json", None, r"run\.json: cannot be read \(No such file or directory\)"),
        ("run.json", "{", r"run\.json: damaged \("),
        ("run.json", "[]", r"run\.json: damaged \(not an object\)"),
        ("run.json", '{"schema": 2}', r"run\.json: schema 2, but this program reads schema 1"),
        ("run.json", '{"schema": 1}', r"run\.json: 'experiment' is missing"),
        ("events.jsonl", '{"time": 1}', r"events\.jsonl, line 1: no 'node'"),
        ("events.jsonl", "x", r"events\.jsonl, line 1: not an event"),
        ("probes/mn1.csv", "h\n1,sent\n", r"mn1\.csv, line 2: damaged \(2 fields instead of 8\)"),
        ("probes/mn2.csv", None, r"mn2\.csv: cannot be read"),
        ("captures/ha.pcapng", "\n\r\r\n", r"ha\.pcapng: not a pcapng file"),
        ("keys/esp_sa", "a,b\n", r"esp_sa, line 1: 2 fields instead of 8 or 10"),
    ],
)
def test_a_damaged_folder_is_told_in_one_line(
    walk: SyntheticWalk, name: str, content: str | None, complaint: str, capsys
) -> None:
    folder = walk.write()
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(content)
    assert main([str(folder)]) == 2
    error = capsys.readouterr().err
    assert re.search(complaint, error)
    assert error.count("\n") == 1


def test_a_summary_of_another_schema_is_refused(walk: SyntheticWalk) -> None:
    results = ResultSet(walk.write())
    analyse(results.folder)
    summary = results.load_summary()
    results.summary_path.write_text(json.dumps(summary | {"schema": 99}))
    with pytest.raises(ResultError, match="schema 99"):
        results.load_summary()
    del summary["moves"]
    results.summary_path.write_text(json.dumps(summary))
    with pytest.raises(ResultError, match="'moves' is missing"):
        results.load_summary()
    with pytest.raises(ResultError, match="missing or unknown keys"):
        results.save_summary(summary)


def test_exit_code_tells_the_verdict(walk: SyntheticWalk, capsys) -> None:
    folder = walk.write()
    assert main([str(folder)]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "passed"
    walk.run["moves"] = []
    (folder / "run.json").write_text(json.dumps(walk.run))
    assert main([str(folder)]) == 1
