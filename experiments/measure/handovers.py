"""The handover microscope: when each step of a handover was taken, as packets on links show it."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from experiments.measure.messages import Message
from experiments.measure.moves import Window
from experiments.measure.timeline import END_OF_TIME_NS, Move


@dataclass(frozen=True, slots=True)
class Handover:
    """The steps of one handover; times in nanoseconds, None for a step that was not taken.

    Each is the first of its kind after link up. What the node sends is timed when it leaves, what
    it gets when it arrives on its link; `binding_at_peer_ns` is the arrival of its binding update
    on the peer's link. An answer is the first one behind what it answers.
    """

    router_solicitation_ns: int | None
    router_advertisement_ns: int | None
    care_of_address_ns: int | None
    """The first message from the new care-of address."""
    home_update_ns: int | None
    home_acknowledgement_ns: int | None
    gateway_update_ns: int | None
    gateway_acknowledgement_ns: int | None
    home_test_init_ns: int | None
    home_test_ns: int | None
    care_of_test_init_ns: int | None
    care_of_test_ns: int | None
    peer_update_ns: int | None
    binding_at_peer_ns: int | None
    peer_acknowledgement_ns: int | None
    outbound_sent_ns: int | None
    """When the first probe to arrive on the new path was sent."""
    outbound_arrived_ns: int | None
    inbound_sent_ns: int | None
    inbound_arrived_ns: int | None


@dataclass(frozen=True, slots=True)
class _Exchange:
    """The messages of one node from its link up to its next move."""

    node: str
    messages: Sequence[Message]

    def sent(self, name: str, to: str | None = None) -> int | None:
        """Return when the node first sent a message of a name."""
        return next(
            (
                message.sent_ns
                for message in self.messages
                if (message.name, message.source) == (name, self.node)
                and to in (None, message.destination)
            ),
            None,
        )

    def got(self, name: str, of: str, after_ns: int | None) -> int | None:
        """Return when the first message of a name came to the node behind what it answers."""
        return min(
            (
                message.arrived_ns
                for message in self.messages
                if after_ns is not None
                and (message.name, message.source, message.destination) == (name, of, self.node)
                and self.node in message.links
                and message.arrived_ns >= after_ns
            ),
            default=None,
        )

    def heard(self, name: str) -> int | None:
        """Return when a message of a name was first on the node's link, to whomever it went."""
        return min(
            (
                message.arrived_ns
                for message in self.messages
                if message.name == name and self.node in message.links
            ),
            default=None,
        )

    def reached(self, name: str, peer: str) -> int | None:
        """Return when the first message of a name came to the peer."""
        return min(
            (
                message.arrived_ns
                for message in self.messages
                if (message.name, message.source, message.destination) == (name, self.node, peer)
                and peer in message.links
            ),
            default=None,
        )


def steps_of(windows: Sequence[Window], peer: str, exchange: Sequence[Message]) -> Handover:
    """Return the steps of a handover from what was sent between its link up and the next move."""
    own = _Exchange(windows[0].move.node, exchange)
    home = own.sent("BindingUpdate", "ha")
    gateway = own.sent("BindingUpdate", "sg")
    home_init = own.sent("HomeTestInit", peer)
    care_of_init = own.sent("CareOfTestInit", peer)
    update = own.sent("BindingUpdate", peer)
    outbound = next((window for window in windows if window.outbound), None)
    inbound = next((window for window in windows if not window.outbound), None)
    first = [at for at in (home, gateway, home_init, care_of_init, update) if at is not None]
    return Handover(
        router_solicitation_ns=own.sent("RouterSolicitation"),
        router_advertisement_ns=own.heard("RouterAdvertisement"),
        care_of_address_ns=min(first, default=None),
        home_update_ns=home,
        home_acknowledgement_ns=own.got("BindingAcknowledgement", "ha", home),
        gateway_update_ns=gateway,
        gateway_acknowledgement_ns=own.got("BindingAcknowledgement", "sg", gateway),
        home_test_init_ns=home_init,
        home_test_ns=own.got("HomeTest", peer, home_init),
        care_of_test_init_ns=care_of_init,
        care_of_test_ns=own.got("CareOfTest", peer, care_of_init),
        peer_update_ns=update,
        binding_at_peer_ns=own.reached("BindingUpdate", peer),
        peer_acknowledgement_ns=own.got("BindingAcknowledgement", peer, update),
        outbound_sent_ns=outbound and outbound.first_sent_ns,
        outbound_arrived_ns=outbound and outbound.first_arrival_ns,
        inbound_sent_ns=inbound and inbound.first_sent_ns,
        inbound_arrived_ns=inbound and inbound.first_arrival_ns,
    )


def exchanges(messages: Sequence[Message], moves: Sequence[Move]) -> Iterator[Sequence[Message]]:
    """Yield for each move what was sent between its link up and the node's next move.

    Both are in the order of time.
    """
    sent = [message.sent_ns for message in messages]
    for index, move in enumerate(moves):
        later = (m.begin_ns for m in moves[index + 1 :] if m.node == move.node)
        yield messages[
            bisect_left(sent, move.earliest_new_ns) : bisect_left(sent, next(later, END_OF_TIME_NS))
        ]
