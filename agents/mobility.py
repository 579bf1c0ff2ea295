"""Join a core that speaks Mobile IPv6 to the mobility socket."""

import logging
import time
from collections import Counter
from collections.abc import Iterable
from ipaddress import IPv6Address
from typing import Any, Protocol

from agents.driver import Driver
from agents.kernel_reports import hear_of_refused_options
from agents.mobility_socket import MobilitySocket
from mobivpn.host.mobility_input import Tally
from mobivpn.host.node_databases import BY_HOME_AGENT_MARK
from mobivpn.mip6 import codec
from mobivpn.mip6.binding_errors import RefusedOption
from mobivpn.mip6.effects import SendMobility
from mobivpn.mip6.messages import BindingUpdate

log = logging.getLogger(__name__)


class Unsent:
    """What could not be sent, by reason: told once a second at most, since anybody can ask for
    answers that go nowhere."""

    def __init__(self) -> None:
        self._counted = Counter[str]()
        self._tally = Tally(self._counted)

    def count(self, reason: str, now: float) -> None:
        """Count one more (`now` in s), and tell of all that are not told yet, if it is time."""
        self._counted[reason] += 1
        if untold := self._tally.take(now):
            log.info("not sent: %s", "; ".join(f"{n} x {why}" for why, n in untold.items()))


class MobilityCore(Protocol):
    """A core that takes mobility headers."""

    def mobility_received(
        self,
        data: bytes,
        source: IPv6Address,
        destination: IPv6Address,
        care_of_address: IPv6Address | None,
        now: float,
    ) -> Iterable[Any]: ...

    def home_address_refused(self, option: RefusedOption, now: float) -> Iterable[Any]: ...


def speak_mobility(driver: Driver, core: MobilityCore) -> None:
    """Let `core` send and receive mobility headers, and hear of home addresses without binding."""
    mobility, options, unsent = MobilitySocket(), hear_of_refused_options(), Unsent()

    def send(effect: SendMobility) -> None:
        data = codec.encode(effect.message, effect.source, effect.destination)
        mark = BY_HOME_AGENT_MARK if effect.via_home_agent else 0
        # A binding update's care-of address is the sender's: the kernel's home address option.
        to_care_of_address = not isinstance(effect.message, BindingUpdate)
        care_of_address = effect.care_of_address if to_care_of_address else None
        try:
            mobility.send(data, effect.source, effect.destination, mark, care_of_address)
        except OSError as error:
            # As good as lost on the way; sending again is the core's business.
            unsent.count(f"{type(effect.message).__name__} ({error.strerror})", time.monotonic())

    def received(now: float) -> Iterable[Any]:
        return [
            effect
            for datagram in mobility.read()
            for effect in core.mobility_received(
                datagram.data,
                datagram.source,
                datagram.destination,
                datagram.care_of_address,
                now,
            )
        ]

    def refused(now: float) -> Iterable[Any]:
        return [
            effect for option in options.read() for effect in core.home_address_refused(option, now)
        ]

    driver.on_effect(SendMobility, send)
    driver.on_readable(mobility.file, received)
    driver.on_readable(options.file, refused)
