"""The set-up of the direct session, from the gateway's first chance to the last acknowledgement."""

from collections.abc import Sequence
from dataclasses import dataclass

from experiments.measure.messages import Message, named
from experiments.measure.observe import INSIDE_LINKS_OF_GATEWAY, Observations

SUCCESS_BELOW = 128
"""Status of a binding acknowledgement that accepts (RFC 6275 section 6.1.8)."""


@dataclass(frozen=True, slots=True)
class DirectSetup:
    """Times in nanoseconds: the pair's first packet at s-sg once both bindings stand at sg, and the
    arrival of the forwarded acknowledgement on the link of the node that gets it last."""

    begin_ns: int
    end_ns: int

    @property
    def duration_ms(self) -> float:
        return (self.end_ns - self.begin_ns) / 1e6


def direct_setup(
    messages: Sequence[Message], seen: Observations, pair: tuple[str, str], until_ns: int
) -> DirectSetup | None:
    """Return the first set-up of a direct session of `pair` that ends before `until_ns`."""
    bound_ns = both_bound_ns(messages, pair)
    if bound_ns is None:
        return None
    packets = seen.pair_packets_at_gateway.items()
    begin_ns = min(
        (time for packet, time in packets if packet.pair == pair and time >= bound_ns),
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
            and bound_ns <= message.arrived_ns < until_ns
            and node in message.links
        ]
        if not ready:
            return None
        arrivals.append(min(ready))
    return DirectSetup(begin_ns, max(arrivals))


def both_bound_ns(messages: Sequence[Message], pair: tuple[str, str]) -> int | None:
    """Return when sg first sent the acknowledgement that made both bindings stand at once.

    One that sg sends inwards is of a node that is inside, whether it ends a binding or, with public
    addresses, makes one.
    """
    standing: set[str] = set()
    for message in messages:
        if message.name != "BindingAcknowledgement" or message.source != "sg":
            continue
        if message.destination not in pair or message.details.get("status", 255) >= SUCCESS_BELOW:
            continue
        outside = not set(INSIDE_LINKS_OF_GATEWAY) & set(message.links)
        if outside and message.details.get("lifetime_s", 0) > 0:
            standing.add(message.destination)
        else:
            standing.discard(message.destination)
        if standing == set(pair):
            return message.sent_ns
    return None
