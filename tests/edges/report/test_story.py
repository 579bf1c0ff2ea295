"""What is told is what was measured; without a measurement nothing is claimed."""

from dataclasses import replace
from pathlib import Path

from experiments.report.page import tiles
from experiments.report.record import Occurrence, Record
from experiments.report.story import attacks, failures, headline, sentences, told


def text_of(record: Record) -> str:
    return "\n".join(sentence.text for sentence in sentences(record))


def test_a_path_that_is_the_best_a_run_has_is_told_by_its_name(record: Record) -> None:
    path = "via_home_agents"
    phases = [replace(p, name=path) if p.name == "direct" else p for p in record.phases]
    run = {**record.run, "variants": {"best_path": path}}
    changed = replace(record, run=run, phases=phases)
    text = text_of(changed)
    assert "Both directions take the path by the home agent (214, 216)" in text
    assert "direct path (220)" not in text
    assert "Via home agents round trip" in [tile.label for tile in tiles(changed)]
    assert "Direct round trip" in [tile.label for tile in tiles(record)]


def test_a_walk_is_told_in_order_of_time(record: Record) -> None:
    times = [sentence.at_s for sentence in sentences(record)]
    assert times[0] is None
    assert times[1:] == sorted(at for at in times if at is not None)


def test_a_walk_is_told_with_its_figures(record: Record) -> None:
    text = text_of(record)
    assert "1400 sent" in text
    assert "mn2 leaves the company for cell." in text
    assert "after 91.2 ms (propagation alone takes 91.2 ms). Lost: 5." in text
    assert "Set-up takes 112.4 ms; its bound is 112.4 ms." in text
    assert "take the direct path (220): 70.0 ms there and back" in text
    assert "The VCM had no part in it" in text
    assert "The run ends with the pair's traffic inside, over the LAN." in text


def one_way(record: Record, direction: str) -> Record:
    return replace(record, run={**record.run, "scenario": {"traffic": {"direction": direction}}})


def test_one_way_traffic_is_told_as_such(record: Record) -> None:
    text = text_of(one_way(record, "backward"))
    assert "mn2 sends mn1 numbered probes, and gets nothing back: 1400 sent" in text
    direct = (
        "All packets take the direct path (220): 35.0 ms one way; the shortest path has 35.0 ms"
    )
    assert direct in text
    assert "both directions" not in text


def test_nodes_that_begin_outside_and_other_pairs_are_told(record: Record) -> None:
    outside = replace(
        record,
        run={**record.run, "start": {"mn1": "wifi1"}},
        phases=[replace(record.phases[0], name="via_gateway")],
        summary={
            **record.summary,
            "other_pairs": [{"nodes": ["mn1", "mn3"], "probes": {"sent": 9, "lost": 2}}],
        },
    )
    text = text_of(outside)
    assert "At the beginning the nodes are not both inside: mn1 in wifi1, mn2 in lan." in text
    assert "mn1 and mn3 talk as well: 9 probes sent, 2 lost." in text


def test_acknowledgements_that_were_not_seen_are_not_told(record: Record) -> None:
    offers = [message for message in record.messages if message.name == "SaOffer"]
    text = text_of(replace(record, messages=offers))
    pair = "a fresh pair of security associations with aes128gcm16"
    assert f"offers {pair} to both nodes (206, 210)." in text
    assert "acknowledges" not in text


def test_nodes_without_an_algorithm_in_common_are_told_of(record: Record) -> None:
    details = {
        "first_proposes": ["aes256gcm16", "aes128gcm16"],
        "second_proposes": ["aes256-sha256"],
    }
    event = Occurrence(2.5, "vcm", "vcm_no_algorithm_in_common", "", details)
    assert (
        "no algorithm in common (one offers aes256gcm16, aes128gcm16, the other aes256-sha256). "
        "Traffic stays on the gateway."
    ) in text_of(replace(record, events=[event]))


def test_signalling_during_a_handover_is_not_denied(record: Record) -> None:
    (first, *_) = [message for message in record.messages if message.protocol == "signalling"]
    meanwhile = replace(first, sent_s=3.05, arrived_s=3.06)
    assert "1 signalling messages were under way" in text_of(
        replace(record, messages=[*record.messages, meanwhile])
    )


def test_a_move_that_never_arrived_is_told_as_such(record: Record) -> None:
    move = record.moves[0]
    silent = replace(move, inbound=replace(move.inbound, gap_ms=None))
    text = text_of(replace(record, moves=[silent]))
    assert "Probes did not get through in both directions" in text


def test_a_run_that_was_not_measured_is_told_as_such(tmp_path: Path) -> None:
    record = Record(tmp_path, {}, {})
    assert headline(record) == "No verdict: this run was not measured"
    assert text_of(record) == "This run was not measured: little can be told of it."


def test_a_run_without_a_probe_is_told_as_such(record: Record) -> None:
    summary = {**record.summary, "probes": {**record.summary["probes"], "sent": 0}}
    silent = replace(record, summary=summary, probes=(), moves=(), phases=(), messages=())
    assert text_of(silent) == "No probe was sent."


def test_a_failed_check_is_in_the_headline_with_its_limit(record: Record) -> None:
    checks = [
        {"name": "clear text packets outside", "value": 3, "limit": 0, "passed": False},
        {"name": "direct set-up / lower bound", "value": None, "limit": 1.1, "passed": False},
        {"name": "probes duplicated", "value": 0, "limit": 0, "passed": True},
    ]
    failed = replace(record, summary={**record.summary, "verdict": "failed", "checks": checks})
    assert headline(failed) == "Failed: 2 of 3 checks"
    assert failures(failed) == [
        "clear text packets outside: 3, where 0 is wanted",
        "direct set-up / lower bound: no value, where 1.100 is wanted",
    ]


def test_numbers_are_told_as_they_are() -> None:
    assert [told(value) for value in (None, 3, 1.5, "uml")] == ["no value", "3", "1.500", "uml"]


def test_with_public_addresses_it_is_told_that_the_route_stays_optimised(record: Record) -> None:
    public = replace(record, run={**record.run, "embodiment": 2})
    told_so = "The route stays optimised: the node inside has told its peer its address"
    assert "talk over the LAN in clear, by way of r22" in text_of(public)
    assert told_so not in text_of(public)
    last = [phase for phase in record.phases if phase.name == "via_gateway"][-1]
    probes = [
        replace(probe, optimised=probe.path == "direct" or probe.sent_s > last.begin_s + 0.3)
        for probe in record.probes
    ]
    (sentence,) = [s for s in sentences(replace(public, probes=probes)) if told_so in s.text]
    assert sentence.at_s is not None
    assert last.begin_s + 0.3 < sentence.at_s < last.end_s


def test_a_soft_handover_is_told_by_its_overlap(record: Record) -> None:
    move = record.moves[2]
    assert move.kind == "handover"
    soft = replace(move, link_up_s=move.link_down_s - 0.5)
    assert "It has both links for 500.0 ms; probes get through in both directions after" in text_of(
        replace(record, moves=[soft])
    )
    ways = [replace(way, gap_ms=0.0) for way in (soft.outbound, soft.inbound)]
    unnoticed = replace(soft, outbound=ways[0], inbound=ways[1])
    assert "probes come by the new one before the old one goes. Lost:" in text_of(
        replace(record, moves=[unnoticed])
    )


def lured(record: Record, inside_auth: str, count: int) -> Record:
    first, *others = record.moves
    addresses = {**record.run["addresses"], "fake_networks": {"eve": "02:00:00:00:00:01"}}
    silent = replace(first.inbound, gap_ms=None)
    return replace(
        record,
        run={**record.run, "addresses": addresses, "variants": {"inside_auth": inside_auth}},
        summary={**record.summary, "clear_text_packets_by_link": {"eve-lan": count}},
        moves=[replace(first, target="eve", inbound=silent), *others],
    )


def test_what_an_attacker_could_read_is_told(record: Record) -> None:
    (line,) = attacks(lured(record, "none", 812))
    assert "812 packets of mn2 could be read" in line
    assert "believes whoever advertises" in line
    assert "that AH has verified" in attacks(lured(record, "ah", 0))[0]
    text = text_of(lured(record, "ah", 0))
    assert "mn2 is lured from lan into eve's network. Nothing gets through there." in text


def test_where_no_node_was_lured_no_attack_is_told(record: Record) -> None:
    assert attacks(record) == []
