"""One host's signalling: an exchange with each of its peers behind one set of inputs."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address

from mobivpn.clock import earliest
from mobivpn.errors import CallerError, MalformedError
from mobivpn.signalling import exchange
from mobivpn.signalling.exchange import Exchange, Ticket
from mobivpn.signalling.messages import Answer, Request


@dataclass(frozen=True, slots=True)
class Ignored:
    """A datagram that is not of a peer, or not a message."""

    source: IPv6Address
    reason: str


Effect = exchange.Effect | Ignored


class SignallingEndpoint:
    """Exchanges by peer; `epoch` has to be greater than at any earlier start of this program."""

    def __init__(self, epoch: int, peers: Iterable[IPv6Address]) -> None:
        self._exchanges = {peer: Exchange(peer, epoch) for peer in peers}

    @property
    def deadline(self) -> float | None:
        """When the next request has to be sent again (s)."""
        return earliest(peer.deadline for peer in self._exchanges.values())

    def request(self, peer: IPv6Address, message: Request, now: float) -> list[exchange.Effect]:
        """Send a request to a peer; raise CallerError for a stranger."""
        return self._exchange(peer).request(message, now)

    def answer(self, ticket: Ticket, message: Answer) -> list[exchange.Effect]:
        """Answer a request that was delivered, and is not answered at once."""
        return self._exchange(ticket.peer).answer(ticket, message)

    def cancel(self, peer: IPv6Address, match: Callable[[Request], bool]) -> None:
        """Stop sending a peer the requests that match."""
        self._exchange(peer).cancel(match)

    def datagram_received(self, source: IPv6Address, payload: bytes) -> list[Effect]:
        """Take a datagram; IPsec has made sure that its source is who it says."""
        peer = self._exchanges.get(source)
        if peer is None:
            return [Ignored(source, "not-a-peer")]
        try:
            return [*peer.datagram_received(payload)]
        except MalformedError as error:
            return [Ignored(source, error.reason)]

    def timer_expired(self, now: float) -> list[exchange.Effect]:
        """Send again, or give up, what is due at `now`."""
        return [e for peer in self._exchanges.values() for e in peer.timer_expired(now)]

    def _exchange(self, peer: IPv6Address) -> Exchange:
        try:
            return self._exchanges[peer]
        except KeyError:
            raise CallerError(f"{peer} is not a peer of this host") from None
