"""A reliable exchange of requests and answers with one peer, over datagrams that may get lost.

What survives which loss:

- A request lost: sent again, at growing intervals, until it is answered, superseded or cancelled.
  A request that is not persistent is given up after `RESEND.attempts` sendings.
- An answer lost: the request comes again, is not delivered again, and is answered from a cache.
- A request that is answered later (the kernel is busy with it): repetitions are swallowed until
  the answer is there.
- Anything duplicated or overtaken: a request is delivered once; of two requests on one subject,
  one that was overtaken by its successor is acknowledged and not delivered.
- A peer that starts anew: its epoch grows, its numbers count from 1 again; stragglers of its
  former life are dropped, and so are answers to ours.
- What is older than `WINDOW` requests of the same peer is dropped unanswered.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from ipaddress import IPv6Address

from mobivpn.clock import Backoff, Timers
from mobivpn.signalling import codec
from mobivpn.signalling.messages import Acknowledge, Answer, Envelope, Request

RESEND = Backoff(initial_s=0.5, maximum_s=4.0, attempts=6)
"""The first interval is several times the slowest round trip (MN to VCM over cell: 95 ms)."""

RESEND_PERSISTENTLY = Backoff(initial_s=0.5, maximum_s=8.0)

WINDOW = 64
"""How many requests of a peer are remembered with their answers."""


@dataclass(frozen=True, slots=True)
class SendSignal:
    """Send a signalling datagram (202 to 212) to another host's signalling port."""

    destination: IPv6Address
    payload: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Ticket:
    """Which request of which peer an answer belongs to."""

    peer: IPv6Address
    epoch: int
    number: int


@dataclass(frozen=True, slots=True)
class Delivered:
    """A peer's request, once. Unless it is answered at once, `answer(ticket, ...)` is due."""

    ticket: Ticket
    message: Request


@dataclass(frozen=True, slots=True)
class Answered:
    """A peer's answer to our request, once."""

    peer: IPv6Address
    request: Request
    answer: Answer


@dataclass(frozen=True, slots=True)
class GivenUp:
    """A request that the peer has not answered, however often it was sent."""

    peer: IPv6Address
    request: Request


Effect = SendSignal | Delivered | Answered | GivenUp


@dataclass(slots=True)
class _Outstanding:
    request: Request
    payload: bytes = field(repr=False)
    sent: int = 1

    @property
    def backoff(self) -> Backoff:
        return RESEND_PERSISTENTLY if self.request.persistent else RESEND


@dataclass(slots=True)
class Exchange:
    """Both directions with one peer; `epoch` has to be greater than at any earlier start."""

    peer: IPv6Address
    epoch: int
    _number: int = 0
    _outstanding: dict[int, _Outstanding] = field(default_factory=dict[int, _Outstanding])
    _timers: Timers[int] = field(default_factory=Timers[int])
    _peer_epoch: int = -1
    _answers: dict[int, bytes | None] = field(default_factory=dict[int, bytes | None], repr=False)
    _newest_by_subject: dict[Hashable, int] = field(default_factory=dict[Hashable, int])

    @property
    def deadline(self) -> float | None:
        """When the next request has to be sent again (s)."""
        return self._timers.deadline

    def request(self, message: Request, now: float) -> list[Effect]:
        """Send a request; it supersedes an unanswered one on the same subject."""
        if message.subject is not None:
            self.cancel(lambda other: other.subject == message.subject)
        self._number += 1
        payload = codec.encode(Envelope(self.epoch, self._number, message))
        self._outstanding[self._number] = _Outstanding(message, payload)
        self._timers.set(self._number, now + self._outstanding[self._number].backoff.interval_s(1))
        return [SendSignal(self.peer, payload)]

    def cancel(self, match: Callable[[Request], bool]) -> None:
        """Stop sending the requests that match; their answers will be ignored."""
        for number, outstanding in tuple(self._outstanding.items()):
            if match(outstanding.request):
                self._forget(number)

    def answer(self, ticket: Ticket, message: Answer) -> list[Effect]:
        """Answer a delivered request; one of a peer's former life is not answered any more."""
        if ticket.epoch != self._peer_epoch or ticket.number not in self._answers:
            return []
        payload = codec.encode(Envelope(ticket.epoch, ticket.number, message))
        self._answers[ticket.number] = payload
        return [SendSignal(self.peer, payload)]

    def datagram_received(self, payload: bytes) -> list[Effect]:
        """Take a datagram of this peer; raise MalformedError for what is no message."""
        envelope = codec.decode(payload)
        ticket = Ticket(self.peer, envelope.epoch, envelope.number)
        if isinstance(envelope.message, Answer):
            return self._answer_received(ticket, envelope.message)
        return self._request_received(ticket, envelope.message)

    def timer_expired(self, now: float) -> list[Effect]:
        """Send again, or give up, what is due at `now`."""
        effects: list[Effect] = []
        for number in self._timers.pop_due(now):
            outstanding = self._outstanding[number]
            if outstanding.backoff.exhausted(outstanding.sent):
                self._forget(number)
                effects.append(GivenUp(self.peer, outstanding.request))
                continue
            outstanding.sent += 1
            self._timers.set(number, now + outstanding.backoff.interval_s(outstanding.sent))
            effects.append(SendSignal(self.peer, outstanding.payload))
        return effects

    def _answer_received(self, ticket: Ticket, answer: Answer) -> list[Effect]:
        outstanding = self._outstanding.get(ticket.number)
        if ticket.epoch != self.epoch or outstanding is None:
            return []
        self._forget(ticket.number)
        return [Answered(self.peer, outstanding.request, answer)]

    def _request_received(self, ticket: Ticket, request: Request) -> list[Effect]:
        if ticket.epoch > self._peer_epoch:
            self._peer_epoch = ticket.epoch
            self._answers.clear()
            self._newest_by_subject.clear()
        if ticket.epoch < self._peer_epoch or ticket.number <= self._newest - WINDOW:
            return []
        if ticket.number in self._answers:
            payload = self._answers[ticket.number]
            return [] if payload is None else [SendSignal(self.peer, payload)]
        self._remember(ticket.number)
        acknowledgement = self.answer(ticket, Acknowledge()) if request.answered_at_once else []
        if request.subject is not None:
            if self._newest_by_subject.get(request.subject, 0) > ticket.number:
                return acknowledgement
            self._newest_by_subject[request.subject] = ticket.number
        return [*acknowledgement, Delivered(ticket, request)]

    @property
    def _newest(self) -> int:
        return max(self._answers, default=0)

    def _remember(self, number: int) -> None:
        self._answers[number] = None
        oldest = self._newest - WINDOW
        for old in [old for old in self._answers if old <= oldest]:
            del self._answers[old]

    def _forget(self, number: int) -> None:
        del self._outstanding[number]
        self._timers.cancel(number)
