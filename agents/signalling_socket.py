"""Signalling datagrams (202 to 212): over UDP, where IPsec under it says who is speaking, or from
agent to agent of one host, where nothing of it is ever on a link."""

import logging
import socket
from collections.abc import Iterator
from ipaddress import IPv6Address
from pathlib import Path

from mobivpn.host.plan import SIGNALLING_PRIORITY
from mobivpn.signalling.exchange import SendSignal

IPV6_FREEBIND = 78
MOST_BYTES = 65536

log = logging.getLogger(__name__)


class SignallingSocket:
    """Bound to one internal address, even before an interface has it."""

    def __init__(self, address: IPv6Address, port: int) -> None:
        self._port = port
        self.file = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self.file.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
        self.file.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, SIGNALLING_PRIORITY)
        self.file.bind((str(address), port))
        self.file.setblocking(False)

    def read(self) -> Iterator[tuple[IPv6Address, bytes]]:
        """Yield (source, payload) of the datagram that is waiting."""
        try:
            payload, source = self.file.recvfrom(MOST_BYTES)
        except OSError as error:
            # An ICMP error about an earlier datagram; resending is the exchange's business.
            log.info("signalling: %s", error.strerror)
            return
        yield IPv6Address(source[0].partition("%")[0]), payload

    def send(self, effect: SendSignal) -> None:
        """Send a datagram; one that cannot leave now is lost, as it might be on the way."""
        try:
            self.file.sendto(effect.payload, (str(effect.destination), self._port))
        except OSError as error:
            log.info("signalling to %s: %s", effect.destination, error.strerror)


class LocalSocket:
    """The way to an agent of the same host: Unix datagrams, in files that only its owner reaches.

    `ends` are (own address, the peer's): each has a file beside `path`.
    """

    def __init__(self, path: Path, ends: tuple[IPv6Address, IPv6Address]) -> None:
        self.peer = ends[1]
        here, there = (path.with_name(f"{path.name}.{address}") for address in ends)
        self._other = str(there)
        self.file = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        here.unlink(missing_ok=True)
        self.file.bind(str(here))
        self.file.setblocking(False)

    def read(self) -> Iterator[tuple[IPv6Address, bytes]]:
        """Yield (source, payload) of the datagram that is waiting."""
        yield self.peer, self.file.recv(MOST_BYTES)

    def send(self, effect: SendSignal) -> None:
        """Send a datagram; one to an agent that is not there (yet) is lost."""
        try:
            self.file.sendto(effect.payload, self._other)
        except OSError as error:
            log.info("signalling to %s: %s", effect.destination, error.strerror)
