"""The walk as a user runs it: figure 2 between real kernels, and the figures that it must reach."""

import json
import re
from collections.abc import Sequence
from typing import Any

import pytest
from scapy.layers.inet6 import IPv6
from scapy.packet import Raw

from experiments.clear_text import is_external
from experiments.dissect import Dissector, Esp, Udp
from experiments.esp_keys import read_esp_sa
from experiments.mobility_messages import messages_in
from experiments.network_plan import plan_from_run
from experiments.pcapng import read_frames
from experiments.resultset import ResultSet
from experiments.second_opinion import clear_text_by_tshark, mobility_opinions
from experiments.verify import compare, moved
from mobivpn.mip6 import codec
from mobivpn.mip6.constants import LIFETIME_UNIT_S
from mobivpn.mip6.messages import MessageType
from tests.support.runs import Run, asked, coarse

ETHERNET_FRAME = 1514

WALK = asked("walk")
SOFT = coarse("walk", "--handover", "soft")
CLASSIC = asked("walk", "--handover", "classic", "--no-page")
AGAIN = asked("walk", "--no-page")
TCP = coarse("walk-tcp")
UNBOUND = coarse("walk", "--embodiment", "2", "--sg-binding", "no")
BEGUN_OUTSIDE = asked("initiation", "--vcm-at", "sg", "--no-page")
SLOW = [coarse("walk", "--agent-delay", delay_ms) for delay_ms in ("1", "50")]
HUB = coarse("walk", "--best-path", "via_gateway")
BY_HOME_AGENTS = coarse("walk", "--best-path", "via_home_agents", "--embodiment", "2")
BLIND = coarse("walk", "--keys", "blind", "--algorithm", "aes256-sha256")


@pytest.mark.runs(WALK)
def test_the_walk_reaches_its_figures(runs: Sequence[Run]):
    (run,) = runs
    summary = run.summary
    assert run.failed == []
    assert summary["verdict"] == "passed"
    assert summary["clear_text_packets_outside"] == 0
    assert summary["lost_by_phase"]["switch_to_direct"] == 0
    assert summary["probes"]["duplicated"] == 0
    assert summary["rtt_ms"]["direct"] / summary["shortest_path_rtt_ms"] <= 1.02
    assert summary["direct_setup_ms"] <= 1.10 * summary["direct_setup_lower_bound_ms"]
    assert len(summary["moves"]) == 6
    assert all(value is not None for value in summary["rtt_ms"].values())


@pytest.mark.runs(WALK)
def test_a_handover_takes_little_more_than_its_lower_bound(runs: Sequence[Run]):
    (run,) = runs
    summary = run.summary
    for move in summary["moves"]:
        # The bound knows propagation only; probes come every 5 ms.
        assert move["gap_ms"] <= move["lower_bound_ms"] + 5.5


@pytest.mark.runs(HUB, BY_HOME_AGENTS)
def test_packets_stay_on_the_best_path(runs: Sequence[Run]):
    hub, by_home_agents = (run.summary for run in runs)
    assert [run.failed for run in runs] == [[], []]
    assert {path for path, ms in hub["rtt_ms"].items() if ms is not None} == {
        "inside",
        "via_gateway",
    }
    assert hub["direct_setup_ms"] is None
    assert by_home_agents["rtt_ms"]["direct"] is None
    for summary, path in ((hub, "via_gateway"), (by_home_agents, "via_home_agents")):
        assert summary["rtt_ms"][path] <= 1.02 * summary["shortest_path_rtt_ms"]


@pytest.mark.runs(CLASSIC)
def test_a_classic_handover_waits_for_a_router_and_for_its_address(runs: Sequence[Run]):
    (run,) = runs
    summary = run.summary
    assert run.failed == []
    for move in summary["moves"]:
        detection_ms = 0 if move["to"] == "lan" else 1000
        waited_ms = move["gap_ms"] - move["lower_bound_ms"]
        assert detection_ms < waited_ms <= detection_ms + 2000 + 5.5


@pytest.mark.runs(WALK)
def test_tshark_alone_finds_no_clear_text_either(runs: Sequence[Run]):
    folder = runs[0].folder
    assert set(clear_text_by_tshark(folder).values()) == {0}


@pytest.mark.runs(WALK)
def test_every_mobility_message_is_faultless_to_tshark_and_by_its_checksum(runs: Sequence[Run]):
    folder = runs[0].folder
    opinions = mobility_opinions(folder)
    assert all(opinion.faultless for opinion in opinions.values()), opinions
    assert opinions["mn1"].messages > 0


@pytest.mark.runs(WALK)
def test_scapy_reads_every_mobility_message_as_we_do_and_makes_the_same_of_it(runs: Sequence[Run]):
    folder = runs[0].folder
    results = ResultSet(folder)
    kinds = set()
    for link in results.links():
        for found in messages_in(results.capture_path(link), results.keys_path):
            ends = IPv6(src=str(found.source), dst=str(found.destination), nh=135)
            read = IPv6(bytes(ends / Raw(found.data))).payload
            ours = codec.decode(found.data)
            assert scapy_fields(read) == {
                name: value
                for name, value in our_fields(ours).items()
                if name in scapy_fields(read)
            }
            del read.cksum
            assert bytes(IPv6(bytes(ends / read)).payload) == found.data
            kinds.add(type(ours).__name__)
    assert {"BindingUpdate", "BindingAcknowledgement", "HomeTest", "CareOfTestInit"} <= kinds


def scapy_fields(message: Any) -> dict[str, Any]:
    """Return the fields of a mobility message under the names that our values have."""
    names = {
        "mhtype": "type",
        "seq": "sequence",
        "mhtime": "units",
        "status": "status",
        "cookie": "cookie",
        "token": "token",
        "index": "nonce_index",
    }
    return {ours: message.getfieldval(s) for s, ours in names.items() if s in message.fields}


def our_fields(message: Any) -> dict[str, Any]:
    """Return the same fields of one of our values."""
    lifetime_s = getattr(message, "lifetime_s", 0)
    return {
        "type": MessageType[re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(message).__name__).upper()],
        "sequence": getattr(message, "sequence", None),
        "units": lifetime_s // LIFETIME_UNIT_S,
        "status": getattr(message, "status", None),
        "cookie": getattr(message, "cookie", None),
        "token": getattr(message, "keygen_token", None),
        "nonce_index": getattr(message, "nonce_index", None),
    }


@pytest.mark.runs(*SLOW)
def test_slow_agents_change_no_verdict(runs: Sequence[Run]):
    for run in runs:
        assert run.failed == []
        assert run.summary["clear_text_packets_outside"] == 0
        assert run.summary["lost_by_phase"]["switch_to_direct"] == 0


@pytest.mark.runs(SOFT)
def test_a_soft_handover_loses_nothing_and_nobody_waits(runs: Sequence[Run]):
    (run,) = runs
    summary = run.summary
    assert run.failed == []
    assert summary["clear_text_packets_outside"] == 0
    assert summary["lost_by_phase"]["handover"] == 0
    handovers = [move for move in summary["moves"] if "lan" not in (move["from"], move["to"])]
    assert [(move["lost"], move["gap_ms"], move["lower_bound_ms"]) for move in handovers] == [
        (0, 0.0, 0.0),
        (0, 0.0, 0.0),
    ]


@pytest.mark.runs(WALK, AGAIN)
def test_everybody_gets_the_same_figures(runs: Sequence[Run]):
    one, other = runs
    assert [str(value) for value in moved(one.summary, other.summary)] == []


@pytest.mark.runs(WALK)
def test_the_walk_is_what_its_reference_says(runs: Sequence[Run]):
    (run,) = runs
    assert [str(value) for value in compare("walk", run.folder)] == []


@pytest.mark.runs(BLIND)
def test_keys_of_the_nodes_own_are_told_to_nobody_and_open_every_packet(runs: Sequence[Run]):
    (run,) = runs
    assert run.failed == []
    offers = [
        json.loads(row["details"])
        for row in ResultSet(run.folder).load_table("messages")
        if row["name"] == "SaOffer"
    ]
    assert {(offer["algorithm"], offer["secrets"]) for offer in offers} == {
        ("aes256-sha256", "agreed on")
    }
    assert set(clear_text_by_tshark(run.folder).values()) == {0}


@pytest.mark.runs(UNBOUND)
def test_without_bindings_nobody_outside_tells_the_gateway_where_it_is(runs: Sequence[Run]):
    (run,) = runs
    assert run.failed == []
    messages = ResultSet(run.folder).load_table("messages")
    to_sg = [m for m in messages if (m["name"], m["destination"]) == ("BindingUpdate", "sg")]
    assert to_sg
    assert not any(is_external(link) for m in to_sg for link in m["links"].split())


@pytest.mark.runs(UNBOUND)
def test_with_public_addresses_the_route_stays_optimised_until_both_are_inside(runs: Sequence[Run]):
    for run in runs:
        checks = {check["name"]: check for check in run.summary["checks"]}
        check = checks["route optimised between inside and outside"]
        assert (check["value"], check["limit"]) == (1, 1)
        *_, returned = ResultSet(run.folder).load_table("moves")
        at_home_s = float(returned["link_up_s"]) + 0.05
        probes = ResultSet(run.folder).load_table("probes")
        paths = {(p["path"], p["optimised"]) for p in probes}
        assert ("via_gateway", "yes") in paths
        after = {(p["path"], p["optimised"]) for p in probes if float(p["sent_s"]) > at_home_s}
        assert after == {("inside", "no")}


@pytest.mark.runs(TCP)
def test_a_tcp_transfer_goes_on_across_every_switch(runs: Sequence[Run]):
    (run,) = runs
    ends = {f"times that the transfer at {node} stopped" for node in ("mn1", "mn2")}
    looked_at = {check["name"] for check in run.summary["checks"]}
    assert looked_at >= {*ends, "transfer on the settled path"}
    assert run.failed == []


@pytest.mark.runs(TCP)
def test_no_frame_on_a_wire_is_longer_than_the_wire_allows(runs: Sequence[Run]):
    results = ResultSet(runs[0].folder)
    for link in results.links():
        longest = max((len(f.data) for f in read_frames(results.capture_path(link))), default=0)
        assert longest <= ETHERNET_FRAME, link


@pytest.mark.runs(BEGUN_OUTSIDE)
def test_a_session_begun_outside_goes_direct_by_a_vcm_that_is_on_no_inside_link(
    runs: Sequence[Run],
):
    (run,) = runs
    summary = run.summary
    assert run.failed == []
    assert summary["clear_text_packets_outside"] == 0
    assert summary["lost_by_phase"]["switch_to_direct"] == 0
    assert summary["rtt_ms"]["direct"] is not None
    results = ResultSet(run.folder)
    told = [row for row in results.load_table("messages") if "vcm" in row["source"]]
    told += [row for row in results.load_table("messages") if "vcm" in row["destination"]]
    assert {row["numeral"] for row in told} >= {"206", "208", "210", "212"}
    assert {row["numeral"] for row in told}.isdisjoint({"202", "204"})
    links = {link for row in told for link in row["links"].split()}
    assert links == {"sg-ext", "mn1", "mn2", "uplink-wifi1", "uplink-wifi2", "uplink-cell"}
    # MN-SG, and nothing inside of it.
    assert esp_headers_around_signalling(results, "sg-ext") == {1}


def esp_headers_around_signalling(results: ResultSet, link: str) -> set[int]:
    """Return how many times the messages that crossed a link were encrypted there."""
    dissector = Dissector(read_esp_sa(results.keys_path))
    port = plan_from_run(results.load_run()).signalling_port
    return {
        sum(isinstance(layer, Esp) for layer in layers)
        for frame in read_frames(results.capture_path(link))
        if (layers := dissector.layers(frame.data))
        and isinstance(layers[-1], Udp)
        and layers[-1].destination_port == port
    }
