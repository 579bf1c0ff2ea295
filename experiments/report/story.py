"""What happened in a run, in words, told from what was measured."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from experiments.clear_text import FAKE_LINK
from experiments.report.drawing import PATH_NAMES, milliseconds
from experiments.report.record import NO_VERDICT, Message, Move, Phase, Record


@dataclass(frozen=True, slots=True)
class Sentence:
    """Something that happened, and when (seconds from the first probe; None: all along)."""

    at_s: float | None
    text: str


def headline(record: Record) -> str:
    """Return the verdict in one line."""
    checks = record.value("checks") or []
    failed = sum(not check["passed"] for check in checks)
    if record.verdict == NO_VERDICT:
        return "No verdict: this run was not measured"
    if record.verdict == "passed":
        return f"Passed: all {len(checks)} checks"
    return f"Failed: {failed} of {len(checks)} checks"


def failures(record: Record) -> list[str]:
    """Return one line for each check that failed."""
    return [
        f"{check['name']}: {told(check['value'])}, where {told(check['limit'])} is wanted"
        for check in record.value("checks") or []
        if not check["passed"]
    ]


def attacks(record: Record) -> list[str]:
    """Return one line for each attacker's network that a node was in: what was read there."""
    found = []
    for network in record.fake_networks:
        nodes = sorted({move.node for move in record.moves if move.target == network})
        count = (record.value("clear_text_packets_by_link") or {}).get(FAKE_LINK.format(network), 0)
        proof = (
            "asks for an advertisement of the inside's router that AH has verified"
            if (record.run.get("variants") or {}).get("inside_auth") == "ah"
            else "believes whoever advertises the company's prefix"
        )
        found.append(
            f"{network}'s network looks like the inside. In it, {count} packets of "
            f"{' and '.join(nodes)} could be read: a node here {proof}."
        )
    return found


def told(value: object) -> str:
    """Return a number as a reader wants it, or that there is none."""
    if value is None:
        return "no value"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def sentences(record: Record) -> list[Sentence]:
    """Return what happened, in order of time."""
    found = [
        *_beginning(record),
        *(Sentence(move.begin_s, _move(record, move)) for move in record.detailed_moves),
        *_switches(record),
        *_optimised(record),
        *_unmatched(record),
        *_ending(record),
    ]
    return sorted(found, key=lambda sentence: (sentence.at_s is not None, sentence.at_s or 0))


def _beginning(record: Record) -> Iterator[Sentence]:
    if not record.summary:
        yield Sentence(None, "This run was not measured: little can be told of it.")
        return
    probes = record.value("probes")
    if not probes or not probes["sent"]:
        yield Sentence(None, "No probe was sent.")
        return
    first, second = record.pair
    sending = f"{first} and {second} send each other numbered probes"
    if record.one_way:
        sending = "{} sends {} numbered probes, and gets nothing back".format(*record.one_way)
    yield Sentence(
        None,
        f"{sending}: {probes['sent']} sent, "
        f"{probes['received']} received, {probes['lost']} lost, {probes['duplicated']} duplicated, "
        f"{probes['reordered']} overtaken by a later one.",
    )
    for other in record.value("other_pairs") or []:
        first, second = other["nodes"]
        yield Sentence(
            None,
            f"{first} and {second} talk as well: {other['probes']['sent']} probes sent, "
            f"{other['probes']['lost']} lost.",
        )
    if record.phases and record.phases[0].name == "inside":
        took = _took(record, "inside")
        way = ", by way of r22" if record.run.get("embodiment") == 2 else ""
        yield Sentence(0.0, f"Both are inside, and talk over the LAN in clear{way}{took}.")
    elif record.phases:
        where = ", ".join(f"{node} in {place}" for node, place in record.start.items())
        yield Sentence(0.0, f"At the beginning the nodes are not both inside: {where}.")


def _took(record: Record, path: str) -> str:
    trip = record.trip_ms(path)
    way = "one way" if record.one_way else "there and back"
    return f": {milliseconds(trip)} {way}" if trip is not None else ""


def _move(record: Record, move: Move) -> str:
    verb = {
        "leaving": f"leaves the company for {move.target}",
        "handover": f"changes from {move.origin} to {move.target}",
        "returning": f"leaves {move.origin} and comes home",
    }.get(move.kind, f"moves from {move.origin} to {move.target}")
    if move.target in record.fake_networks:
        return (
            f"{move.node} is lured from {move.origin} into {move.target}'s network. Nothing gets "
            f"through there. Lost: {move.lost}."
        )
    parts = [f"{move.node} {verb}{' while the path is direct' if move.direct_before else ''}."]
    all_ways = "" if record.one_way else " in both directions"
    if move.gap_ms is None:
        parts.append(f"Probes did not get through{all_ways} on the new path.")
    else:
        bound = (
            f" (propagation alone takes {milliseconds(move.lower_bound_ms)})"
            if move.lower_bound_ms is not None
            else ""
        )
        away_s = move.link_up_s - move.link_down_s
        links = "It has both links for" if away_s < 0 else "Its link is away for"
        parts.append(
            f"{links} {milliseconds(1000 * abs(away_s))}; "
            f"probes get through{all_ways} after {milliseconds(move.gap_ms)}{bound}."
            if move.gap_ms or away_s >= 0
            else f"{links} {milliseconds(-1000 * away_s)}; probes come by the new one before the "
            "old one goes."
        )
    parts.append(f"Lost: {move.lost}.")
    if move.kind == "handover" and move.direct_before and record.messages:
        parts.append(_who_took_part(record, move))
    return " ".join(parts)


def _who_took_part(record: Record, move: Move) -> str:
    end = move.settled_s if move.settled_s is not None else record.end_s
    count = sum(
        message.protocol == "signalling" and move.begin_s <= message.sent_s <= end
        for message in record.messages
    )
    told_count = f"{count} signalling messages were under way meanwhile."
    part = "The VCM had no part in it: no signalling was sent." if not count else told_count
    if move.authorisation in ("", "none"):
        return part
    return f"{part} The peer believed the new address by a {move.authorisation}."


def _unmatched(record: Record) -> Iterator[Sentence]:
    for event in record.events:
        if event.event == "vcm_no_algorithm_in_common":
            yield Sentence(
                event.at_s,
                "The VCM makes no pair: the two nodes have no algorithm in common (one offers "
                f"{', '.join(event.details['first_proposes'])}, the other "
                f"{', '.join(event.details['second_proposes'])}). Traffic stays on the gateway.",
            )


def _switches(record: Record) -> Iterator[Sentence]:
    """Tell the set-up and the first direct packet of every switch to the direct path."""
    following: Sequence[Phase | None] = [*record.phases[1:], None]
    for phase, after in zip(record.phases, following, strict=False):
        if phase.name == "switch_to_direct":
            yield from _switch(record, phase)
            if after is not None and after.name == record.best_path:
                yield Sentence(after.begin_s, _best(record, after))
    for name, text in (
        ("SessionDetected", "sg sees both ends of the session outside, and tells the VCM (202)."),
        ("Withdraw", "The VCM orders {destination} back to the gateway."),
    ):
        yield from (
            Sentence(message.sent_s, text.format(destination=message.destination or "a node"))
            for message in _firsts(record.messages, name)
        )


def _optimised(record: Record) -> Iterator[Sentence]:
    """Tell from when on packets through the gateway are optimised."""
    for phase in record.phases:
        sent = [
            probe.sent_s
            for probe in record.probes
            if probe.optimised
            and probe.path == "via_gateway"
            and phase.begin_s <= probe.sent_s < phase.end_s
        ]
        if sent and phase.name == "via_gateway":
            yield Sentence(
                min(sent),
                "The route stays optimised: the node inside has told its peer its address on the "
                "LAN, and what goes through the gateway bears it.",
            )


def _firsts(messages: Sequence[Message], name: str) -> Iterator[Message]:
    """Yield the messages of a name, without those that were sent again."""
    seen = set()
    for message in messages:
        identity = (message.source, message.destination, str(message.details))
        if message.name == name and identity not in seen:
            seen.add(identity)
            yield message


def _switch(record: Record, phase: Phase) -> Iterator[Sentence]:
    first = phase == record.first("switch_to_direct")
    setup, bound = record.value("direct_setup_ms"), record.value("direct_setup_lower_bound_ms")
    during = [m for m in record.messages if phase.begin_s <= m.sent_s <= phase.end_s]
    text = "The VCM offers a fresh pair of security associations"
    algorithms = sorted({m.details["algorithm"] for m in during if "algorithm" in m.details})
    text += f" with {', '.join(algorithms)}" if algorithms else ""
    offers = _numerals(during, "SaOffer")
    text += f" to both nodes ({offers})." if "," in offers else f" ({offers})."
    if accepts := _numerals(during, "SaAccept"):
        text += f" A node that has installed its inbound one acknowledges ({accepts})."
    if forwarded := _numerals(during, "PeerReady"):
        text += f" The VCM forwards that to the other, which then switches outbound ({forwarded})."
    if first and setup is not None:
        text += f" Set-up takes {milliseconds(setup)}; its bound is {milliseconds(bound)}."
    yield Sentence(phase.begin_s, text)
    by_agents = [
        probe.sent_s
        for probe in record.probes
        if probe.path == "via_home_agents" and phase.begin_s <= probe.sent_s <= phase.end_s
    ]
    if by_agents and record.best_path == "direct":
        slow = _took(record, "via_home_agents")
        yield Sentence(
            min(by_agents),
            f"The first packets go through the home agent (214, 216){slow}. Meanwhile the nodes "
            "test each other's addresses and register them (218).",
        )


def _numerals(messages: Sequence[Message], name: str) -> str:
    return ", ".join(sorted({m.numeral for m in messages if m.name == name and m.numeral}))


def _best(record: Record, phase: Phase) -> str:
    taken = "Both directions take" if record.one_way is None else "All packets take"
    best = record.best_path
    path = {"via_home_agents": "the path by the home agent (214, 216)"}.get(
        best, "the direct path (220)"
    )
    if phase != record.first(best) or record.trip_ms(best) is None:
        return f"{taken} {path}."
    shortest, gateway = record.shortest_ms, record.trip_ms("via_gateway")
    least = f"; the shortest path has {milliseconds(shortest)}" if shortest is not None else ""
    before = f" Through the gateway it was {milliseconds(gateway)}." if gateway is not None else ""
    return f"{taken} {path}{_took(record, best)}{least}.{before}"


def _ending(record: Record) -> Iterator[Sentence]:
    if record.phases:
        name = record.phases[-1].name
        path = PATH_NAMES.get(name, "on the way to the direct path")
        where = "inside, over the LAN" if name == "inside" else path
        yield Sentence(record.end_s, f"The run ends with the pair's traffic {where}.")
