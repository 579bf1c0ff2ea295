"""Scenario files: a mistake is told in one line, with the key and what is allowed."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from experiments.scenario import SCENARIOS, ScenarioError, load
from mobivpn.ipsec.sa import EspAlgorithm
from mobivpn.variants import USUAL, BestPath, GatewayBinding, Variants, VcmAssociation
from vm import places

GOOD = """
name = "mine"
summary = "one move"
duration_s = 10
[[move]]
at_s = 1
node = "mn1"
to = "cell"
"""
TWO_MOVES = """
[[move]]
at_s = 5
node = "mn1"
to = "wifi1"
[[move]]
at_s = 5.2
node = "mn1"
to = "wifi2"
"""


@pytest.mark.parametrize("path", sorted(SCENARIOS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_scenario_that_comes_along_is_valid(path: Path):
    assert load(path.stem).name == path.stem


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("duration_s = 10", "duration = 10"), "duration: .*allowed here: name, summary"),
        (
            ('node = "mn1"', 'node = "mn4"'),
            "move 1: there is no mn4: mobile_nodes is 3, mn1 to mn3",
        ),
        (('node = "mn1"', 'node = "pda"'), "move 1.node: 'pda' is no mobile node; .*mn1, mn2"),
        (("summary", "mobile_nodes = 0\nsummary"), "mobile_nodes: .*greater than or equal to 2"),
        (("summary", "mobile_nodes = 5000\nsummary"), "mobile_nodes: .*less than or equal to 999"),
        (("summary", "mobile_nodes = 2.5\nsummary"), "mobile_nodes: .*integer"),
        (("[[move]]", '[start]\nmn4 = "cell"\n[[move]]'), "start: there is no mn4: .*mn1 to mn3"),
        (("[[move]]", '[start]\nmn01 = "cell"\n[[move]]'), "start.mn01: 'mn01' is no mobile node"),
        (
            ("[[move]]", '[traffic]\nalso_between = [["mn3", "mn4"]]\n[[move]]'),
            "traffic.also_between: there is no mn4",
        ),
        (('to = "cell"', 'to = "lan"'), "move 1: mn1 is on lan already"),
        (("at_s = 1", "at_s = 11"), "move 1: at_s is not before duration_s"),
        (("at_s = 1", "at_s = -1"), "move 1.at_s: .*greater than 0"),
        (('name = "mine"', 'name = "My Run"'), "name: "),
        (
            ("[[move]]", "[links.celll]\ndelay_ms = 1\n[[move]]"),
            "links.celll: .*wifi1, wifi2, cell",
        ),
        (
            ("[[move]]", '[traffic]\nbetween = ["mn1", "mn1"]\n[[move]]'),
            "traffic: between: name two different nodes",
        ),
        (("summary", 'algorithm = "des"\nsummary'), "algorithm: .*'aes256gcm16'"),
        (
            ("[[move]]", '[offers]\nmn4 = ["aes256gcm16"]\n[[move]]'),
            "offers: there is no mn4: mobile_nodes is 3, mn1 to mn3",
        ),
        (("[[move]]", "[offers]\nmn1 = []\n[[move]]"), "offers.mn1: .*at least 1"),
        (
            ("[[move]]", '[offers]\nmn1 = ["aes256gcm16", "aes256gcm16"]\n[[move]]'),
            "offers.mn1: name each algorithm once",
        ),
        (("[[move]]", '[offers]\nmn1 = ["des"]\n[[move]]'), "offers.mn1 1: .*'aes256gcm16'"),
        (("summary", 'handover = "lazy"\nsummary'), "handover: .*'hard'.*'classic'"),
        (("duration_s = 10", "duration_s = = 10"), r"line 4"),
        (("duration_s = 10\n", ""), "duration_s: needed in an experiment 'walk'"),
        (("duration_s = 10", 'experiment = "handover"'), "handovers: needed in an experiment"),
        (
            ("duration_s = 10", 'experiment = "handover"\n[handovers]'),
            "move: not allowed in an experiment 'handover'",
        ),
        (("[[move]]", '[start]\nmn1 = "moon"\n[[move]]'), "start.mn1: .*'lan', 'wifi1'"),
        (("[[move]]", '[start]\nmn1 = "cell"\n[[move]]'), "move 1: mn1 is on cell already"),
        (
            ("[[move]]", '[traffic]\nalso_between = [["mn2", "mn1"]]\n[[move]]'),
            "traffic: also_between: mn2 and mn1 talk already",
        ),
        (
            ("[[move]]", "[traffic]\nstart_s = 2\nstop_s = 1\n[[move]]"),
            "traffic: stop_s: not after start_s 2",
        ),
        (
            ("[[move]]", "[traffic]\nstart_s = 12\n[[move]]"),
            "traffic.start_s: 12 is not before duration_s 10",
        ),
        (
            ("[[move]]", '[traffic]\ndirection = "up"\n[[move]]'),
            "traffic.direction: .*'both', 'forward' or 'backward'",
        ),
        (
            ("[[move]]", "[handovers]\n[[move]]"),
            "handovers: not allowed in an experiment 'walk'",
        ),
    ],
)
def test_a_mistake_names_the_file_the_key_and_what_is_allowed(
    tmp_path: Path, change: tuple[str, str], told: str
):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.replace(*change))
    with pytest.raises(ScenarioError, match=rf"mine\.toml: .*{told}") as error:
        load(str(path))
    assert "\n" not in str(error.value)


def test_what_nodes_offer_is_said_for_all_or_for_single_ones(tmp_path: Path):
    path = tmp_path / "mine.toml"
    path.write_text(f'{GOOD}\n[offers]\nmn2 = ["aes256-sha256", "aes128gcm16"]\n')
    scenario = load(str(path))
    assert scenario.algorithms_of("mn1") == tuple(EspAlgorithm)
    assert scenario.algorithms_of("mn2") == (EspAlgorithm.AES256_SHA256, EspAlgorithm.AES128GCM16)
    told = (
        r"algorithm: chacha20poly1305 for all nodes contradicts the table \[offers\], which "
        "speaks for mn2; leave one of them out"
    )
    with pytest.raises(ScenarioError, match=told):
        load(str(path), {"algorithm": "chacha20poly1305"})
    path.write_text(GOOD)
    one = load(str(path), {"algorithm": "chacha20poly1305"})
    assert one.algorithms_of("mn3") == (EspAlgorithm.CHACHA20POLY1305,)


def test_a_node_does_not_move_again_within_its_own_overlap(tmp_path: Path):
    path = tmp_path / "mine.toml"
    path.write_text(f"{GOOD}\n{TWO_MOVES}")
    told = "move 3: at_s 5.2 is not after the end of mn1's last move"
    with pytest.raises(ScenarioError, match=told):
        load(str(path), {"handover": "soft"})


@pytest.mark.parametrize("gap_ms", [1, 300])
def test_a_node_does_not_move_again_while_it_has_no_link(tmp_path: Path, gap_ms: int):
    at_s = 5 + gap_ms / 1000
    move = f'[[move]]\nat_s = {{}}\nnode = "mn1"\nto = "{{}}"\ngap_ms = {gap_ms}\n'
    path = tmp_path / "mine.toml"
    path.write_text(
        f"{GOOD.partition('[[move]]')[0]}{move.format(5.0, 'wifi1')}{move.format(at_s, 'cell')}"
    )
    told = f"move 2: at_s {at_s} is not after the end of mn1's last move"
    with pytest.raises(ScenarioError, match=told):
        load(str(path))


def test_both_nodes_may_move_in_the_same_instant():
    moves = load("both-move").move
    pairs = {move.at_s: [m.node for m in moves if m.at_s == move.at_s] for move in moves}
    assert all(nodes == ["mn1", "mn2"] for nodes in pairs.values())


def test_a_name_that_nobody_knows_is_answered_with_those_that_are():
    with pytest.raises(ScenarioError, match=r"there are: .*bounce, .*handover, .*walk, walk-tcp"):
        load("wlk")


def test_a_file_that_is_not_there_is_told(tmp_path: Path):
    with pytest.raises(ScenarioError, match=r"none\.toml: No such file"):
        load(str(tmp_path / "none.toml"))


def test_pauses_begin_with_the_shortest(tmp_path: Path):
    path = tmp_path / "mine.toml"
    head = 'name = "mine"\nsummary = "x"\nexperiment = "handover"\n'
    path.write_text(head + "[handovers]\npause_s = [2.0, 1.0]\n")
    with pytest.raises(ScenarioError, match="pause_s: name the shortest first"):
        load(str(path))


def test_an_override_of_a_table_keeps_its_other_keys():
    scenario = load("handover", {"handovers": {"runs": 3}, "traffic": {"probe_interval_ms": 2}})
    assert scenario.handovers is not None
    assert scenario.handovers.runs == 3
    assert scenario.traffic.between == ("mn1", "mn2")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("start", {"mn1": "cell"}),
        ("traffic.also_between", [["mn1", "mn3"]]),
        ("traffic.stop_s", 5),
    ],
)
def test_what_only_a_walk_has_is_refused_elsewhere(key: str, value: object):
    table, _, name = key.rpartition(".")
    with pytest.raises(ScenarioError, match=rf"{key}: not allowed in an experiment 'handover'"):
        load("handover", {table: {name: value}} if table else {key: value})


def test_runs_are_refused_where_nothing_is_drawn():
    with pytest.raises(ScenarioError, match="handovers: not allowed in an experiment 'walk'"):
        load("walk", {"handovers": {"runs": 3}})


def test_options_override_the_file(tmp_path: Path):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    assert load(str(path), {"seed": 7}).seed == 7


def test_only_a_change_of_the_access_network_is_soft(tmp_path: Path):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    for handover, expected in (("soft", True), ("hard", False)):
        scenario = load(str(path), {"handover": handover})
        assert scenario.is_soft("wifi1", "cell") is expected
        assert not scenario.is_soft("lan", "cell")
        assert not scenario.is_soft("cell", "lan")
        assert not scenario.is_soft("cell", "eve")
        assert not scenario.is_soft("eve", "cell")


def test_eves_network_is_there_only_for_who_goes_there():
    assert load("fake_network").visits_eve
    assert not load("walk").visits_eve


@pytest.mark.parametrize("variant", [field.name for field in fields(Variants)])
def test_every_variant_can_be_asked_for_and_is_explained(variant: str) -> None:
    kind = type(getattr(USUAL, variant))
    reference = (places.CHECKOUT / "docs/reference/scenario.md").read_text(encoding="utf-8")
    row = next(line for line in reference.splitlines() if line.startswith(f"| `{variant}` |"))
    for choice in kind:
        needed = {"embodiment": "2"} if choice is VcmAssociation.DIRECT else {}
        given = load("walk", {variant: choice.value, **needed}).variants
        assert getattr(given, variant) is choice
        assert f"`{choice.value}`" in row
    with pytest.raises(ScenarioError, match=variant):
        load("walk", {variant: "moon"})


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"trigger": "session"}, r"trigger: 'session' contradicts the table \[bulk\]"),
        (
            {"move": [{"at_s": 1, "node": "mn1", "to": "eve"}]},
            "bulk: not allowed where a node goes to eve",
        ),
        ({"links": {"sg": {"rate_mbit": 0}}}, "bulk: not allowed where a link has no rate"),
        ({"bulk": {"tcp_s": 0, "udp_s": 1}}, "bulk.tcp_s: .*greater than or equal to 1"),
    ],
)
def test_a_transfer_needs_a_path_and_a_time(given: dict[str, Any], told: str):
    with pytest.raises(ScenarioError, match=told):
        load("walk", {"bulk": {"tcp_s": 1, "udp_s": 1}, **given})


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {"best_path": "via_gateway", "binding_auth": "static"},
            "binding_auth: 'static' contradicts best_path 'via_gateway'",
        ),
        (
            {"best_path": "via_home_agents", "binding_auth": "static"},
            "binding_auth: 'static' contradicts best_path 'via_home_agents'",
        ),
        (
            {"best_path": "via_gateway", "keys": "blind"},
            "keys: 'blind' contradicts best_path 'via_gateway'",
        ),
    ],
)
def test_what_the_best_path_leaves_unused_contradicts_it(given: dict[str, str], told: str):
    with pytest.raises(ScenarioError, match=told):
        load("walk", given)
    assert load("walk", {"best_path": given["best_path"]}).best_path.value == given["best_path"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"embodiment": "2"}, "embodiment: '2' contradicts system 'wireguard'"),
        ({"keys": "blind"}, "keys: 'blind' contradicts system 'wireguard'"),
        ({"trigger": "session"}, "trigger: 'session' contradicts system 'wireguard'"),
        ({"best_path": "via_home_agents"}, "best_path: 'via_home_agents' contradicts system"),
        ({"algorithm": "aes128gcm16"}, "algorithm: 'aes128gcm16' contradicts system"),
        ({"offers": {"mn1": ["aes128gcm16"]}}, "offers: contradicts system 'wireguard'"),
        ({"handover": "soft"}, "handover: 'soft' contradicts system 'wireguard'"),
        ({"binding_auth": "static"}, "binding_auth: 'static' contradicts system 'wireguard'"),
        ({"agent_delay_ms": 1}, "agent_delay_ms: '1.0' contradicts system 'wireguard'"),
        ({"bulk": {"tcp_s": 1, "udp_s": 1}}, "bulk: contradicts system 'wireguard'"),
        ({"traffic": {"tcp": True}}, "traffic.tcp: contradicts system 'wireguard'"),
        ({"move": [{"at_s": 1, "node": "mn1", "to": "eve"}]}, "move: a node goes to eve, and"),
    ],
)
def test_what_another_system_has_not_contradicts_it(given: dict[str, Any], told: str):
    with pytest.raises(ScenarioError, match=told):
        load("walk", {"system": "wireguard", **given})
    with pytest.raises(ScenarioError, match="experiment: 'handover' contradicts system"):
        load("handover", {"system": "wireguard"})


def test_plain_mobile_ipv6_has_no_gateway():
    assert load("walk", {"system": "mip6"}).variants.best_path is BestPath.DIRECT
    with pytest.raises(ScenarioError, match="best_path: 'via_gateway' contradicts system 'mip6'"):
        load("walk", {"system": "mip6", "best_path": "via_gateway"})


def test_another_system_is_a_hub_with_spokes():
    assert load("walk", {"system": "wireguard"}).variants.best_path is BestPath.VIA_GATEWAY
    named = load("walk", {"system": "wireguard", "best_path": "via_gateway"})
    assert named.variants == load("walk", {"system": "wireguard"}).variants


def test_a_vcm_in_sg_has_no_association_that_could_be_direct():
    with pytest.raises(ScenarioError, match="vcm_sa: 'direct' contradicts vcm_at 'sg'"):
        load("walk", {"vcm_at": "sg", "vcm_sa": "direct", "embodiment": "2"})


def test_a_direct_vcm_association_needs_public_addresses():
    with pytest.raises(ScenarioError, match="vcm_sa: 'direct' contradicts embodiment '1'"):
        load("walk", {"vcm_sa": "direct"})


def test_what_a_node_outside_says_must_pass_the_gateway_if_that_is_how_it_is_noticed():
    assert load("walk", {"sg_binding": "no"}).variants.sg_binding is GatewayBinding.NO
    with pytest.raises(ScenarioError, match="sg_binding: 'no' contradicts vcm_sa 'direct'"):
        load("walk", {"sg_binding": "no", "vcm_sa": "direct", "embodiment": "2"})


def test_traffic_begins_before_the_end():
    assert load("initiation").traffic.start_s == 1
    with pytest.raises(ScenarioError, match="start_s: 30 is not before duration_s 30"):
        load("walk", {"traffic": {"start_s": 30}})
