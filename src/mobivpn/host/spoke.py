"""A mobile node whose VPN is another system's: where its addresses are, and what uses the tunnel.

It finds its place as every mobile node here does, so that what differs between two systems is
theirs. The tunnel (`vpn0`) is the other system's, stands all the time and finds its way by itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv6Network

from mobivpn.host.effects import AnnounceAddress, Apply, Record
from mobivpn.host.held import Held
from mobivpn.host.movement import Detached, Inside, Movement, Outside, Place, SolicitRouters
from mobivpn.host.mtu import inner_mtu
from mobivpn.host.network import Address, DuplicateDetection, NextHop, Route, Rule
from mobivpn.host.node_databases import BY_ROUTER, ON_LINK, VPN_DEVICE
from mobivpn.host.plan import Company, NodeIdentity
from mobivpn.host.roaming import Roaming
from mobivpn.ipsec.databases import Databases, Entry, databases
from mobivpn.ipsec.policy import PolicyAction, Precedence, SecurityPolicy
from mobivpn.ipsec.selector import EVERYWHERE, Direction, TrafficSelector, host

VPN_TABLE = 110
"""Routes, outside, of packets from an address of the VPN's: into the tunnel, or nowhere."""

Effect = Apply | AnnounceAddress | Record | SolicitRouters


@dataclass(frozen=True, slots=True)
class SpokeDatabases:
    """What the node's kernel holds, as a function of its place.

    Inside, the internal address is on the link, and the tunnel comes from an address that the link
    has of its own, as of any link. Where the tunnel is policies of the other system
    (`has_policies`), inside they have to be passed by.
    """

    me: NodeIdentity
    company: Company
    link_mtu: int = 1500
    has_policies: bool = False

    def at(self, place: Place) -> Databases:
        """Return the databases for one place."""
        return databases(self._entries(place))

    def _entries(self, place: Place) -> Iterator[Entry]:
        own, vpn = self.me.internal_home_address, self.company.vpn_prefix
        mtu = inner_mtu(self.link_mtu)
        yield Address(own, VPN_DEVICE)
        # Whatever link there is or is not: what goes to the VPN never leaves in clear.
        yield Route(vpn, metric=4096, device=VPN_DEVICE, mtu=mtu)
        if not isinstance(place, Inside):
            # Nor does a tunnel's packet that still comes from an address of the LAN.
            yield Rule(VPN_TABLE, preference=VPN_TABLE, source=vpn)
            yield Route(vpn, device=VPN_DEVICE, table=VPN_TABLE, mtu=mtu)
            yield Route(EVERYWHERE, table=VPN_TABLE)
        if isinstance(place, Inside | Outside) and place.care_of_address is not None:
            detection = (
                DuplicateDetection.NONE
                if isinstance(place, Inside)
                else DuplicateDetection.OPTIMISTIC
            )
            yield Address(place.care_of_address, place.device, detection=detection)
            yield NextHop(BY_ROUTER, place.device, place.router)
            yield Route(EVERYWHERE, next_hop=BY_ROUTER)
        if isinstance(place, Inside):
            if self.has_policies:
                for direction in (Direction.OUTBOUND, Direction.INBOUND):
                    for half in halves(vpn):
                        yield bypass(direction, host(own), half)
            yield Address(own, place.device, deprecated=True)
            yield NextHop(ON_LINK, place.device)
            yield Route(vpn, metric=256, next_hop=ON_LINK, mtu=mtu)


def halves(prefix: IPv6Network) -> Iterator[IPv6Network]:
    """Yield the two halves of a prefix: the kernel has one policy for a selector and direction.

    The other system has those of the whole prefix.
    """
    yield from prefix.subnets()


def bypass(direction: Direction, local: IPv6Network, remote: IPv6Network) -> SecurityPolicy:
    """Return what lets packets pass as they are, whatever the other system's policies say."""
    return SecurityPolicy(
        name=f"bypass/{local}/{remote}/{direction.value}",
        direction=direction,
        selector=TrafficSelector(local, remote),
        action=PolicyAction.BYPASS,
        precedence=Precedence.VPN,
    )


class SpokeHost(Roaming[Effect]):
    """One such node behind the inputs of a mobile node's links."""

    def __init__(self, kernel: SpokeDatabases) -> None:
        self._databases = kernel
        self._movement = Movement(kernel.company.vpn_prefix, moves_inside=True)
        self._place: Place = Detached()
        self._held = Held()

    @property
    def deadline(self) -> float | None:
        """When the next router solicitation is due (s)."""
        return self._movement.deadline

    def started(self) -> list[Effect]:
        """The host is up: from now on nothing for the VPN leaves it but by the tunnel."""
        return self._settle()

    def timer_expired(self, now: float) -> list[Effect]:
        """A router solicitation is due."""
        return [*self._movement.timer_expired(now)]

    def _moved(self, now: float) -> list[Effect]:
        if self._movement.place == self._place:
            return []
        self._place = place = self._movement.place
        carried: list[Effect] = [*self._settle()]
        if isinstance(place, Inside):
            # As Linux does for an address that it is given (ndisc_notify).
            own = self._databases.me.internal_home_address
            carried.append(AnnounceAddress(own, place.device))
            carried.append(Record("mn_inside", details={"device": place.device}))
        elif isinstance(place, Outside):
            details = {"care_of_address": str(place.care_of_address)}
            carried.append(Record("care_of_address", details=details))
        return carried

    def _settle(self) -> list[Effect]:
        return [*self._held.become(self._databases.at(self._place))]
