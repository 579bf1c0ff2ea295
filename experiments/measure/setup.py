"""The set-up of the direct session, from the gateway's first chance to the last acknowledgement."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address

from experiments.measure.messages import Message, named
from experiments.measure.observe import INSIDE_LINKS_OF_GATEWAY, Observations
from experiments.network_plan import NetworkPlan

SUCCESS_BELOW = 128
"""Status of a binding acknowledgement that accepts (RFC 6275 section 6.1.8)."""


@dataclass(frozen=True, slots=True)
class DirectSetup:
    """Times in nanoseconds: the pair's first packet at s-sg once sg knows both to be outside, and
    the arrival of the forwarded acknowledgement on the link of the node that gets it last."""

    begin_ns: int
    end_ns: int

    @property
    def duration_ms(self) -> float:
        return (self.end_ns - self.begin_ns) / 1e6


def direct_setup(
    messages: Sequence[Message],
    seen: Observations,
    pair: tuple[str, str],
    plan: NetworkPlan,
    until_ns: int,
) -> DirectSetup | None:
    """Return the first set-up of a direct session of `pair` that ends before `until_ns`."""
    known_ns = both_known_ns(messages, pair, plan)
    if known_ns is None:
        return None
    packets = seen.pair_packets_at_gateway.items()
    begin_ns = min(
        (time for packet, time in packets if packet.pair == pair and time >= known_ns),
        default=None,
    )
    if begin_ns is None:
        return None
    arrivals = []
    for node in pair:
        ready = [
            message.arrived_ns
            for message in named(messages, "PeerReady", destination=node)
            if message.is_about(pair)
            and known_ns <= message.arrived_ns < until_ns
            and node in message.links
        ]
        if not ready:
            return None
        arrivals.append(min(ready))
    return DirectSetup(begin_ns, max(arrivals))


def both_known_ns(
    messages: Sequence[Message], pair: tuple[str, str], plan: NetworkPlan
) -> int | None:
    """Return when sg first knew both of a pair to be outside, as its messages tell.

    With bindings, by the acknowledgement that made both stand; without, by what it told r22.
    """
    known: set[str] = set()
    changes = _bindings(messages) if plan.binds_at_gateway else _notices(messages, plan)
    for message, node, outside in changes:
        if outside:
            known.add(node)
        else:
            known.discard(node)
        if known >= set(pair):
            return message.sent_ns
    return None


def _bindings(messages: Iterable[Message]) -> Iterator[tuple[Message, str, bool]]:
    """Yield what sg acknowledges, of which node, and whether that is bound outside then.

    An acknowledgement that sg sends inwards is of a node that is inside, whether it ends a binding
    or, with public addresses, makes one.
    """
    for message in named(messages, "BindingAcknowledgement", source="sg"):
        accepted = message.details.get("status", 255) < SUCCESS_BELOW
        if accepted and message.destination is not None:
            outwards = not set(INSIDE_LINKS_OF_GATEWAY) & set(message.links)
            bound = outwards and message.details.get("lifetime_s", 0) > 0
            yield message, message.destination, bound


def _notices(messages: Iterable[Message], plan: NetworkPlan) -> Iterator[tuple[Message, str, bool]]:
    """Yield what sg tells r22, of which node, and whether that is absent."""
    for message in messages:
        if message.source == "sg" and message.name in ("NodeAbsent", "NodePresent"):
            address = IPv6Address(message.details["internal_home_address"]).packed
            yield message, plan.host_by_address[address], message.name == "NodeAbsent"
