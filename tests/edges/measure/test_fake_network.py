"""What an attacker's network was given, counted from its own link; what attackers say is not."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from experiments.analyse import analyse
from experiments.measure.walk import measure
from experiments.resultset import ResultSet
from experiments.second_opinion import clear_text_by_tshark
from tests.support.packets import ethernet, icmpv6, ipv6, packed, udp
from tests.support.synthetic_walk import BEGIN_NS, INNER, LOST, SyntheticWalk

EVE = bytes.fromhex("02e0e0e0e0e0")
LURED_MS = 6500.0
CHECK = "clear text packets in eve's network"
CLAIM = ipv6("fe80::1", "ff02::1", icmpv6(134, 0, bytes(12) + b"\x03\x04" + packed("fd00:10::")))
GIVEN_AWAY = ipv6(INNER["mn1"], INNER["mn2"], udp(7007, 7007, bytes(40)))


def lured(folder: Path, run: dict[str, Any], inside_auth: str, *, silent: bool) -> SyntheticWalk:
    """Return the ideal walk, at whose end mn1 is plugged into eve's network."""
    run["addresses"]["fake_networks"] = {"eve": EVE.hex(":")}
    run["variants"] = {"inside_auth": inside_auth}
    walk = SyntheticWalk(folder, run=run)

    def fate(_sender: str, _kind: int, sequence: int, path: str, transit: float):
        nothing = ("", 0.0, 1) if silent else (LOST, 0.0, 1)
        return nothing if sequence * walk.interval_ms >= LURED_MS else (path, transit, 1)

    walk.fate = fate
    walk.event(LURED_MS, "mn1", "link_down", network="lan")
    walk.event(LURED_MS, "mn1", "link_up", network="eve")
    walk.frames["eve-lan"] = []
    for link in ("mn1", "eve-lan"):
        told_ns = BEGIN_NS + round((LURED_MS + 1) * 1e6)
        frame = ethernet(CLAIM)
        walk.frames[link].append((told_ns, frame[:6] + EVE + frame[12:]))
    if not silent:
        for number in range(3):
            walk.frame("eve-lan", LURED_MS + 2 + number, GIVEN_AWAY)
    return walk


def check_of(summary: dict[str, Any], name: str) -> dict[str, Any]:
    return next(check for check in summary["checks"] if check["name"] == name)


def failed(summary: dict[str, Any]) -> list[str]:
    return [check["name"] for check in summary["checks"] if not check["passed"]]


def test_a_node_that_authenticates_gives_nothing_away(tmp_path: Path, run_description):
    summary = analyse(lured(tmp_path, run_description, "ah", silent=True).write())
    assert failed(summary) == []
    assert check_of(summary, CHECK) == {"name": CHECK, "value": 0, "limit": 0, "passed": True}
    assert summary["clear_text_packets_outside"] == 0
    assert summary["clear_text_packets_by_link"] == {}


def test_that_a_node_without_authentication_gives_itself_away_has_to_be_seen(
    tmp_path: Path, run_description
):
    summary = analyse(lured(tmp_path, run_description, "none", silent=False).write())
    assert failed(summary) == []
    assert check_of(summary, CHECK) == {"name": CHECK, "value": 3, "limit": 1, "passed": True}
    # On the node's own link they are the probes that it sends in clear as long as it is there.
    assert summary["clear_text_packets_by_link"] == {"eve-lan": 3, "mn1": 50}
    assert check_of(summary, "clear text packets outside")["value"] == 0


@pytest.mark.parametrize(("inside_auth", "silent"), [("ah", False), ("none", True)])
def test_the_other_way_round_a_run_fails(
    tmp_path: Path, run_description, inside_auth: str, silent: bool
):
    summary = analyse(lured(tmp_path, run_description, inside_auth, silent=silent).write())
    assert failed(summary) == [CHECK]


def test_clear_text_on_other_links_is_never_forgiven(tmp_path: Path, run_description):
    walk = lured(tmp_path, run_description, "none", silent=False)
    walk.frame("sg-ext", LURED_MS + 5, GIVEN_AWAY)
    walk.frame("mn1", 3500, GIVEN_AWAY)
    assert failed(analyse(walk.write())) == ["clear text packets outside"]


def test_a_move_to_where_nothing_gets_through_has_no_bound_and_no_arrival(
    tmp_path: Path, run_description
):
    summary = analyse(lured(tmp_path, run_description, "ah", silent=True).write())
    move = summary["moves"][-1]
    assert (move["to"], move["gap_ms"], move["lower_bound_ms"]) == ("eve", None, None)
    assert check_of(summary, "moves with a first arrival in both directions")["limit"] == 6


def test_no_stage_in_an_attackers_network_settles(tmp_path: Path, run_description):
    walk = measure(ResultSet(lured(tmp_path, run_description, "ah", silent=True).write()))
    lured_stages = [stage for stage in walk.stages if "eve" in stage.places]
    assert [(stage.settles, stage.move_ms) for stage in lured_stages] == [(False, 0.0)]
    assert any(stage.settles for stage in walk.stages)


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_tshark_alone_counts_the_same(tmp_path: Path, run_description):
    folder = lured(tmp_path, run_description, "none", silent=False).write()
    counts = {link: count for link, count in clear_text_by_tshark(folder).items() if count}
    assert counts == {"eve-lan": 3, "mn1": 50}
