"""What the agents of all roles have in common: files, kernel, signalling socket, driver."""

import argparse
import time
from collections.abc import Callable, Hashable, Iterable
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any, Protocol

from agents.configuration import Configuration, read
from agents.driver import Core, Driver
from agents.event_log import EventLog
from agents.kernel import Kernel
from agents.key_log import KeyLog
from agents.signalling_socket import LocalSocket, SignallingSocket
from mobivpn.errors import CallerError, KernelRefusal
from mobivpn.host.effects import Apply, Record
from mobivpn.signalling.exchange import SendSignal


class SignallingCore(Core, Protocol):
    """A core that takes part in the signalling."""

    def datagram_received(self, source: Any, payload: bytes, now: float) -> Iterable[Any]: ...


def configuration_of(arguments: list[str]) -> Configuration:
    """Read the one file that an agent is started with; exit with code 2 without it."""
    parser = argparse.ArgumentParser(prog="python -m agents.ROLE")
    parser.add_argument("configuration", type=Path, metavar="CONFIGURATION.json")
    return read(parser.parse_args(arguments).configuration)


def epoch() -> int:
    """Return a number that is greater at every start: a peer tells two lives of a host apart.

    Microseconds: what JSON carries exactly ends at 2^53 (RFC 7493 section 2.2).
    """
    return time.time_ns() // 1000


def vcm_link(configuration: Configuration) -> LocalSocket | None:
    """Return the way between sg's agent and the VCM's if they share a host, else None."""
    company = configuration.company
    if not company.vcm_in_gateway:
        return None
    if configuration.gateway_socket is None:
        raise CallerError("configuration: a VCM in sg needs gateway_socket")
    ends = company.security_gateway_inside, company.vcm
    return LocalSocket(
        Path(configuration.gateway_socket), ends if configuration.role != "vcm" else ends[::-1]
    )


class Edge:
    """The parts of one running agent."""

    def __init__(self, configuration: Configuration, core: Core) -> None:
        self.configuration = configuration
        self.log = EventLog(Path(configuration.event_log), configuration.name)
        self.driver = Driver(core, configuration.agent_delay_ms / 1000)
        self._kernel = Kernel(
            KeyLog(Path(configuration.key_log) if configuration.key_log else None)
        )
        self.driver.on_effect(Record, self.log.write)
        self.driver.on_effect(Apply, self._apply)
        self._applied: Callable[[str, str | None, float], Iterable[Any]] | None = None

    def on_applied(self, cause: Callable[[str, str | None, float], Iterable[Any]]) -> None:
        """Tell `cause(token, why it was refused or None, now)` how changes with a token went."""
        self._applied = cause

    def speak(
        self, core: SignallingCore, address: IPv6Address, local: LocalSocket | None = None
    ) -> None:
        """Take part in the signalling from an internal address, with a `local` peer apart."""
        network = SignallingSocket(address, self.configuration.company.signalling_port)
        peer = None if local is None else local.peer

        def send(effect: SendSignal) -> None:
            (network if local is None or effect.destination != peer else local).send(effect)

        def listen(signalling: SignallingSocket | LocalSocket) -> None:
            def received(now: float) -> Iterable[Any]:
                return [
                    effect
                    for source, payload in signalling.read()
                    # What comes by the network in the local peer's name is not its.
                    if signalling is local or source != peer
                    for effect in core.datagram_received(source, payload, now)
                ]

            self.driver.on_readable(signalling.file, received)

        self.driver.on_effect(SendSignal, send)
        listen(network)
        if local is not None:
            listen(local)

    def packets_by_carrier(self) -> dict[Hashable, int]:
        """Return how many packets each SA, by SPI, and each binding of this host has carried."""
        return self._kernel.packets_by_carrier()

    def run(self, first: Iterable[Any]) -> None:
        """Carry out the first effects, say that the agent is ready, and run."""
        self.driver.begin(first)
        self.driver.begin([Record("agent_ready")])
        self.driver.run()

    def _apply(self, effect: Apply) -> Iterable[Any] | None:
        refused: str | None = None
        try:
            self._kernel.apply(effect.changes)
        except KernelRefusal as error:
            refused = str(error)
            self.log.write(Record("kernel_refused", details={"reason": refused}))
        if effect.token is None or self._applied is None:
            return None
        return self._applied(effect.token, refused, time.monotonic())
