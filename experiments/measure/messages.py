"""The real messages of a run, each from its sender's link to its receiver's: the sequence chart."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from ipaddress import IPv6Address
from typing import Any

from experiments.measure.observe import MessageSighting, Observations
from experiments.measure.timeline import Timeline
from experiments.network_plan import NetworkPlan
from mobivpn.errors import MalformedError
from mobivpn.ipsec.keying import GivenKeys, KeyAgreement
from mobivpn.ipsec.sa import AssociationPlan
from mobivpn.signalling.codec import decode

UNDER_WAY_AT_MOST_NS = 2_000_000_000
"""The same bytes on another link so much later are another message with equal content."""

MOBILITY_NAMES = {
    0: "BindingRefreshRequest",
    1: "HomeTestInit",
    2: "CareOfTestInit",
    3: "HomeTest",
    4: "CareOfTest",
    5: "BindingUpdate",
    6: "BindingAcknowledgement",
    7: "BindingError",
}
NEIGHBOUR_DISCOVERY_NAMES = {
    133: "RouterSolicitation",
    134: "RouterAdvertisement",
    136: "NeighbourAdvertisement",
}
ROUTE_OPTIMISATION_NUMERAL = "218"
NUMERAL_BY_NAME = {"NodeExternal": "202", "MoreCorrespondents": "202", "SessionDetected": "202"}
ACKNOWLEDGE_NUMERAL = "204"
"""Of the VCM's answer to sg only; other requests are acknowledged by the same kind of message."""
UNKNOWN = "?"
NUMERALS_BY_ROLE = {
    "SaOffer": ("210", "206"),
    "SaAccept": ("212", "208"),
    "PeerReady": ("208", "212"),
}
"""Figure 2's numerals for the pair's first and second node (seed: MN1, MN2): offers and the
acknowledgements forwarded by whom they go to, acceptances by whom they come from."""

LINK_LOCAL_PREFIX = bytes.fromhex("fe80000000000000")

BINDING_UPDATE, BINDING_ACKNOWLEDGEMENT = 5, 6
LIFETIME_UNIT_S = 4
ALTERNATE_CARE_OF_ADDRESS = 3


@dataclass(slots=True)
class Message:
    """One message on its way; times in nanoseconds, `None` names a host that is not known."""

    protocol: str
    name: str
    numeral: str | None
    source: str | None
    destination: str | None
    sent_ns: int
    arrived_ns: int
    links: list[str]
    details: dict[str, Any] = field(default_factory=dict)
    pair: tuple[str, str] | None = None
    """Of a message of the VCM's protocol: the nodes whose pair of associations it is about."""

    def is_about(self, pair: tuple[str, str]) -> bool:
        """Tell whether it is about a pair of nodes."""
        return self.pair == pair


def read_messages(
    seen: Observations,
    plan: NetworkPlan,
    timeline: Timeline,
    pairs: Sequence[tuple[str, str]],
) -> list[Message]:
    """Return all messages in the order of sending; `pairs` are the nodes that talk.

    A capture time is an arrival at the receiving end of a link; so a message was sent one
    propagation delay of its first link before it was first seen, and arrived when last seen.
    """
    under_way: dict[tuple[bytes, bytes, bytes], _Transmission] = {}
    done: list[_Transmission] = []
    for sighting in seen.messages:
        key = (sighting.source, sighting.destination, sighting.content)
        transmission = under_way.get(key)
        if transmission is None or not transmission.takes(sighting):
            transmission = under_way[key] = _Transmission([])
            done.append(transmission)
        transmission.sightings.append(sighting)
    names = _HostNames(seen, plan)
    messages = [_message(transmission.sightings, names, plan, timeline) for transmission in done]
    messages.sort(key=lambda message: message.sent_ns)
    _tell_pairs(messages, names, pairs)
    for message in messages:
        message.numeral = _numeral(message)
    return messages


def _tell_pairs(
    messages: Iterable[Message], names: "_HostNames", pairs: Iterable[tuple[str, str]]
) -> None:
    """Tell each message of the VCM's protocol what nodes' pair it is about.

    Only offers name the peer; all others have the number that the pair had there.
    """
    pair_by_ends = {frozenset(pair): pair for pair in pairs}
    pair_by_number: dict[Any, tuple[str, str] | None] = {}
    for message in named(messages, "SaOffer"):
        peer = names.name_of(IPv6Address(message.details["peer_internal_home_address"]).packed)
        pair = pair_by_ends.get(frozenset({message.destination, peer} - {None}))
        pair_by_number[message.details["pair"]] = pair
    for message in messages:
        message.pair = pair_by_number.get(message.details.get("pair"))


@dataclass(slots=True)
class _Transmission:
    """Sightings of the same bytes between the same ends, on one way through the network."""

    sightings: list[MessageSighting]

    def takes(self, sighting: MessageSighting) -> bool:
        """Whether `sighting` belongs to it: soon, and not where it was before in the same skin."""
        if sighting.time_ns - self.sightings[0].time_ns > UNDER_WAY_AT_MOST_NS:
            return False
        here = sighting.link, sighting.outer, sighting.hop_limit
        return all((s.link, s.outer, s.hop_limit) != here for s in self.sightings)


class _HostNames:
    """Names of hosts by any of their addresses, care-of and link-local ones included.

    A node's link-local address has the interface identifier of its care-of addresses.
    """

    def __init__(self, seen: Observations, plan: NetworkPlan) -> None:
        self._known = dict(plan.host_by_address)
        for care_of_address, home_address in seen.home_address_by_care_of_address.items():
            name = plan.host_by_address.get(home_address)
            if name is not None:
                self._known.setdefault(care_of_address, name)
                self._known.setdefault(LINK_LOCAL_PREFIX + care_of_address[8:], name)

    def name_of(self, address: bytes) -> str | None:
        return self._known.get(address)


def _message(
    sightings: list[MessageSighting],
    names: _HostNames,
    plan: NetworkPlan,
    timeline: Timeline,
) -> Message:
    first, last = sightings[0], sightings[-1]
    source, destination = names.name_of(first.source), names.name_of(first.destination)
    if first.protocol == "signalling":
        name, details = _signalling(first.content)
    elif first.protocol == "mobility":
        name, details = _mobility(first.content)
    else:
        name = NEIGHBOUR_DISCOVERY_NAMES.get(first.content[0], UNKNOWN)
        details = {}
        if name == "RouterSolicitation":
            source = source or first.link
        else:
            destination = destination or first.link
            source = source or timeline.place_at(first.link, first.time_ns)
    return Message(
        protocol=first.protocol,
        name=name,
        numeral=None,
        source=source,
        destination=destination,
        sent_ns=first.time_ns - round(link_delay_ms(first, plan, timeline) * 1e6),
        arrived_ns=last.time_ns,
        links=[sighting.link for sighting in sightings],
        details=details,
    )


def link_delay_ms(sighting: MessageSighting, plan: NetworkPlan, timeline: Timeline) -> float:
    """Return the one-way propagation delay of the link on which something was seen."""
    link, delay = sighting.link, plan.delay_ms
    if link == "sg-ext":
        return delay["sg"]
    if link in ("ha", "eve"):
        return delay["ha"] if link == "ha" else 0.0
    if link.startswith("uplink-"):
        return delay.get(link.removeprefix("uplink-"), 0.0)
    if link in plan.node_by_name:
        place = timeline.place_at(link, sighting.time_ns)
        return 0.0 if place in plan.external_networks else delay["lan"]
    return 0.0 if link in ("sg-lan", "monitor") else delay["lan"]


def _signalling(content: bytes) -> tuple[str, dict[str, Any]]:
    """Return a signalling message's name and what of it may be shown: no key is ever copied."""
    try:
        envelope = decode(content)
    except MalformedError as error:
        return UNKNOWN, {"malformed": error.reason}
    message = envelope.message
    details: dict[str, Any] = {"number": envelope.number}
    for part in fields(message):
        value = getattr(message, part.name)
        if isinstance(value, AssociationPlan):
            details[f"{part.name}_spi"] = f"{int(value.spi):#010x}"
            details["algorithm"] = value.algorithm.value
        elif isinstance(value, GivenKeys):
            details["secrets"] = "given"
        elif isinstance(value, KeyAgreement):
            # A private key that has been under way is one that the VCM has, too.
            known = value.own_private_key is not None
            details["secrets"] = "private key given" if known else "agreed on"
        elif isinstance(value, bytes):
            details[part.name] = value.hex()
        elif isinstance(value, tuple):
            details[part.name] = [str(getattr(item, "value", item)) for item in value]
        elif value is not None:
            details[part.name] = value if isinstance(value, int) else str(value)
    return type(message).__name__, details


def _mobility(message: bytes) -> tuple[str, dict[str, Any]]:
    """Return a mobility message's name and its main fields (RFC 6275 section 6.1)."""
    kind, data = message[2], message[6:]
    name = MOBILITY_NAMES.get(kind, f"type {kind}")
    details: dict[str, Any] = {}
    if kind == BINDING_UPDATE and len(data) >= 6:
        details["sequence"] = int.from_bytes(data[:2], "big")
        details["lifetime_s"] = LIFETIME_UNIT_S * int.from_bytes(data[4:6], "big")
        care_of_address = _option(data[6:], ALTERNATE_CARE_OF_ADDRESS)
        if care_of_address is not None and len(care_of_address) == 16:
            details["care_of_address"] = str(IPv6Address(care_of_address))
    elif kind == BINDING_ACKNOWLEDGEMENT and len(data) >= 6:
        details["status"] = data[0]
        details["sequence"] = int.from_bytes(data[2:4], "big")
        details["lifetime_s"] = LIFETIME_UNIT_S * int.from_bytes(data[4:6], "big")
    return name, details


def _option(options: bytes, wanted: int) -> bytes | None:
    position = 0
    while position + 1 < len(options):
        if options[position] == 0:
            position += 1
            continue
        length = options[position + 1]
        if options[position] == wanted:
            return options[position + 2 : position + 2 + length]
        position += 2 + length
    return None


def _numeral(message: Message) -> str | None:
    name, source, destination = message.name, message.source, message.destination
    if name in NUMERALS_BY_ROLE:
        node, pair = source if name == "SaAccept" else destination, message.pair
        return NUMERALS_BY_ROLE[name][pair.index(node)] if pair and node in pair else None
    if name in MOBILITY_NAMES.values() and not {source, destination} & {"sg", "ha"}:
        return ROUTE_OPTIMISATION_NUMERAL
    if name == "Acknowledge" and (source, destination) == ("vcm", "sg"):
        return ACKNOWLEDGE_NUMERAL
    return NUMERAL_BY_NAME.get(name)


def named(messages: Iterable[Message], name: str, **ends: str) -> list[Message]:
    """Return the messages of a name, and of a `source` or `destination` if given."""
    wanted: Mapping[str, str] = ends
    return [
        message
        for message in messages
        if message.name == name
        and all(getattr(message, end) == host for end, host in wanted.items())
    ]
