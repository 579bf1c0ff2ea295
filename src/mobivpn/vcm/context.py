"""The MN context database as values: what the VCM knows of each external mobile node.

The seed: "The MN context comprises the MN internal HoA, the MN external HoA, the internal HoAs of
correspondent nodes of the MN, and details of the managed SAs with identification of the relevant
secrets and algorithms." With public addresses (embodiment 2) it has "the MN HoA, the HoAs of the
correspondent nodes of the MN", and no internal HoA.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from ipaddress import IPv6Address

from mobivpn.ipsec.keying import PairKeys
from mobivpn.ipsec.sa import AssociationPlan


@dataclass(frozen=True, slots=True)
class ManagedPair:
    """One generation of a pair that the VCM made; `keys` is what it told the node of secrets.

    `peer` is the other node's address inside the VPN, as in `MobileNodeContext.address`.
    """

    pair: int
    generation: int
    peer: IPv6Address
    inbound: AssociationPlan
    outbound: AssociationPlan
    keys: PairKeys


@dataclass(frozen=True, slots=True)
class MobileNodeContext:
    """One mobile node while it is outside; `departure` is the gateway's number for its absence.

    `internal_home_address` is None where the addresses are public: there is one home address.
    """

    internal_home_address: IPv6Address | None
    external_home_address: IPv6Address
    departure: int
    correspondents: frozenset[IPv6Address] = frozenset()
    managed_pairs: tuple[ManagedPair, ...] = ()

    @property
    def address(self) -> IPv6Address:
        """Return the node's address inside the VPN, under which gateway and VCM speak of it."""
        return self.internal_home_address or self.external_home_address


@dataclass(frozen=True, slots=True)
class StoreContext:
    """Write a context to the database, in place of an earlier one of the same node."""

    context: MobileNodeContext


@dataclass(frozen=True, slots=True)
class RemoveContext:
    """Remove a node's context, and with it the secrets, from the database."""

    external_home_address: IPv6Address


Effect = StoreContext | RemoveContext


@dataclass(slots=True)
class Contexts:
    """The contexts of all external nodes by their address inside the VPN.

    The node that left first is at the head.
    """

    _by_node: dict[IPv6Address, MobileNodeContext] = field(
        default_factory=dict[IPv6Address, MobileNodeContext]
    )

    def __contains__(self, node: IPv6Address) -> bool:
        return node in self._by_node

    def __getitem__(self, node: IPv6Address) -> MobileNodeContext:
        return self._by_node[node]

    def all(self) -> tuple[MobileNodeContext, ...]:
        """Return all contexts."""
        return tuple(self._by_node.values())

    def in_order_of_leaving(self, nodes: Iterable[IPv6Address]) -> list[IPv6Address]:
        """Return some external nodes, the one that has been outside longest first."""
        return sorted(nodes, key=list(self._by_node).index)

    def store(self, context: MobileNodeContext) -> list[Effect]:
        """Keep a context, in place of an earlier one; effects only if that changes anything."""
        if self._by_node.get(context.address) == context:
            return []
        self._by_node[context.address] = context
        return [StoreContext(context)]

    def remove(self, node: IPv6Address) -> list[Effect]:
        """Forget a node that is not external any more."""
        context = self._by_node.pop(node, None)
        return [] if context is None else [RemoveContext(context.external_home_address)]

    def add_correspondents(self, node: IPv6Address, peers: Iterable[IPv6Address]) -> list[Effect]:
        """Add correspondents to the context of a node, if it has one."""
        context = self._by_node.get(node)
        if context is None:
            return []
        return self.store(replace(context, correspondents=context.correspondents.union(peers)))

    def manage(self, node: IPv6Address, pair: ManagedPair) -> list[Effect]:
        """Add a generation of a pair to the context of its node."""
        context = self._by_node[node]
        return self.store(replace(context, managed_pairs=(*context.managed_pairs, pair)))

    def release(self, node: IPv6Address, pair: int, up_to_generation: int) -> list[Effect]:
        """Drop generations of a pair, and their secrets, from the context of a node."""
        context = self._by_node.get(node)
        if context is None:
            return []
        kept = tuple(
            managed
            for managed in context.managed_pairs
            if managed.pair != pair or managed.generation > up_to_generation
        )
        return self.store(replace(context, managed_pairs=kept))
