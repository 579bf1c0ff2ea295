"""A router that learns where each mobile node is from the side by which its packets come.

Where another system's tunnels are compared with the seed's, nobody tells sg and r22 who is outside:
they learn it as a bridge learns its ports (IEEE 802.1Q), and stand in inwards for who is away.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv6Address

from mobivpn.host.effects import AnnounceAddress, Apply, Record
from mobivpn.host.held import Held
from mobivpn.host.mtu import inner_mtu
from mobivpn.host.network import NeighbourProxy, Route
from mobivpn.host.plan import Company, NodeIdentity
from mobivpn.host.spoke import bypass, halves
from mobivpn.ipsec.databases import Databases, Entry, databases
from mobivpn.ipsec.policy import ANY, EspTemplate, PolicyAction, Precedence, SecurityPolicy
from mobivpn.ipsec.sa import Mode
from mobivpn.ipsec.selector import Direction, TrafficSelector, host

Effect = Apply | AnnounceAddress | Record

LATE_S = 0.25
"""For so long after a node has come home, what it has sent from outside may still arrive."""


class Side(Enum):
    """Of the router."""

    INSIDE = "inside"
    OUTSIDE = "outside"


@dataclass(frozen=True, slots=True)
class RouterSides:
    """How the router reaches nodes that are outside, and on which link it stands in for them.

    Routers hear each other's announcements as well: that a node is away is told inwards; that it is
    home, r22 tells the hub (`tells_outwards`). Where the tunnels are policies of the other system
    (`has_policies`), nodes that are inside have to be passed by.
    """

    company: Company
    outside_device: str
    inside_device: str
    outside_router: IPv6Address | None = None
    tells_outwards: bool = False
    link_mtu: int = 1500
    has_policies: bool = False

    def at(self, absent: Sequence[NodeIdentity]) -> Databases:
        """Return what the kernel holds while nodes are away."""
        entries = [entry for node in absent for entry in self._of(node)]
        if self.has_policies:
            entries += [policy for node in self.company.nodes for policy in self._policies(node)]
            entries += [
                bypass(Direction.OUTBOUND, half, host(node.internal_home_address))
                for node in self.company.nodes
                for half in halves(self.company.vpn_prefix)
                if node not in absent
            ]
        return databases(entries)

    def _policies(self, node: NodeIdentity) -> Iterator[SecurityPolicy]:
        """Yield what lets a node's packets be forwarded, whether they have come under ESP or not.

        The first packet from outside tells that the node is there: it is not to be lost.
        """
        for half in halves(self.company.vpn_prefix):
            yield SecurityPolicy(
                name=f"either/{node.name}/{half}",
                direction=Direction.FORWARD,
                selector=TrafficSelector(half, host(node.internal_home_address)),
                action=PolicyAction.PROTECT,
                precedence=Precedence.VPN,
                templates=(
                    EspTemplate(ANY, self.company.security_gateway, Mode.TUNNEL, optional=True),
                ),
            )

    def _of(self, node: NodeIdentity) -> Iterator[Entry]:
        own = node.internal_home_address
        yield NeighbourProxy(own, self.inside_device)
        yield Route(
            host(own),
            gateway=self.outside_router,
            device=self.outside_device,
            mtu=inner_mtu(self.link_mtu),
        )


class LearningRouter:
    """Every node is inside until its packets come from outside."""

    def __init__(self, sides: RouterSides) -> None:
        self._sides = sides
        self._absent: dict[IPv6Address, NodeIdentity] = {}
        self._home_since: dict[IPv6Address, float] = {}
        self._held = Held()

    @property
    def deadline(self) -> float | None:
        """None: nothing here ever falls due."""
        return None

    def timer_expired(self, now: float) -> list[Effect]:
        """Nothing does."""
        return []

    def started(self) -> list[Effect]:
        """The host is up."""
        return self._settle()

    def heard(self, address: IPv6Address, side: Side, now: float) -> list[Effect]:
        """A packet of a node has come from one side."""
        node = self._sides.company.node_at(address)
        if node is None or (side is Side.OUTSIDE) == (address in self._absent):
            return []
        if side is Side.INSIDE:
            del self._absent[address]
            self._home_since[address] = now
            effects: list[Effect] = self._settle()
            if self._sides.tells_outwards:
                effects.append(AnnounceAddress(address, self._sides.outside_device))
            return [*effects, Record("node_present", details={"node": node.name})]
        if now < self._home_since.get(address, -LATE_S) + LATE_S:
            return []
        self._absent[address] = node
        return [
            *self._settle(),
            AnnounceAddress(address, self._sides.inside_device),
            Record("node_absent", details={"node": node.name}),
        ]

    def _settle(self) -> list[Effect]:
        return [*self._held.become(self._sides.at(tuple(self._absent.values())))]
