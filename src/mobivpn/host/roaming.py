"""What every mobile node's core does with its links, whatever system carries its traffic."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from ipaddress import IPv6Address, IPv6Network
from typing import Generic, TypeVar

from mobivpn.host.effects import AnnounceAddress
from mobivpn.host.movement import Movement, Outside, Place, SolicitRouters

E = TypeVar("E")


class Roaming(ABC, Generic[E]):
    """Inputs of a node's links, with effects of its own (`E`).

    `_moved` says what follows when its place may have changed. A new care-of address is announced
    to its router after that: one that has looked for the node in vain looks again after a second
    only, and holds packets till then (RFC 9131).
    """

    _movement: Movement

    def link_found(
        self, device: str, hardware_address: bytes, now: float
    ) -> list[E | SolicitRouters]:
        """A link can carry packets."""
        return [*self._movement.link_found(device, hardware_address, now)]

    def link_lost(self, device: str, now: float) -> list[E]:
        """A link is gone."""
        self._movement.link_lost(device)
        return self._moved(now)

    def router_heard(
        self,
        device: str,
        router: IPv6Address,
        prefixes: Iterable[IPv6Network],
        lifetime_s: float,
        now: float,
        *,
        verified: bool = False,
    ) -> list[E | AnnounceAddress]:
        """A router has told which link this is; `verified`: AH says that it is of the inside."""
        before = self._movement.place
        self._movement.router_advertised(device, router, prefixes, lifetime_s, verified=verified)
        return self._addressed(before, now)

    def address_usable(
        self, device: str, address: IPv6Address, now: float
    ) -> list[E | AnnounceAddress]:
        """The kernel lets an address be used; an optimistic one was in use already."""
        before = self._movement.place
        self._movement.address_usable(device, address)
        return self._addressed(before, now)

    def address_duplicate(
        self, device: str, address: IPv6Address, now: float
    ) -> list[E | AnnounceAddress]:
        """The kernel has found an address on another host of the link (RFC 4862 5.4.5)."""
        before = self._movement.place
        self._movement.address_duplicate(device, address)
        return self._addressed(before, now)

    def _addressed(self, before: Place, now: float) -> list[E | AnnounceAddress]:
        effects: list[E | AnnounceAddress] = [*self._moved(now)]
        here = self._movement.place
        if isinstance(here, Outside) and here != before:
            effects.append(AnnounceAddress(here.care_of_address, here.device, here.router))
        return effects

    @abstractmethod
    def _moved(self, now: float) -> list[E]: ...
