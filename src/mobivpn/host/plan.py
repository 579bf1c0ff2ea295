"""What every role knows of the company network: who is where, under which names and addresses."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network

from mobivpn.errors import CallerError
from mobivpn.variants import GatewayBinding, VcmAssociation, VcmPlace

SIGNALLING_PRIORITY = 7
"""Linux's TC_PRIO_CONTROL: signalling is sent with it, so that a link can tell it from data."""


@dataclass(frozen=True, slots=True)
class NodeIdentity:
    """A mobile node's static identifiers (seed: internal and external HoA).

    Where the VPN's addresses are public, the two are one.
    """

    name: str
    internal_home_address: IPv6Address
    external_home_address: IPv6Address


@dataclass(frozen=True, slots=True)
class Company:
    """The fixed addresses of the seed's figure 1.

    `vpn_prefix` is that of the LAN. `vcm` is an address of the VCM's alone, whichever host has it
    (`vcm_at`). `node_prefix` is there in embodiment 2: the part of the home agent's prefix that has
    the nodes' home addresses, which are then VPN addresses as those on the LAN are; only there the
    MN-VCM association can be direct (`vcm_sa`). `sg_binding`: whether nodes outside tell sg where
    they are.
    """

    vpn_prefix: IPv6Network
    security_gateway: IPv6Address
    security_gateway_inside: IPv6Address
    internal_router: IPv6Address
    vcm: IPv6Address
    home_agent: IPv6Address
    nodes: tuple[NodeIdentity, ...]
    signalling_port: int = 5202
    vcm_at: VcmPlace = VcmPlace.OWN
    vcm_sa: VcmAssociation = VcmAssociation.NESTED
    sg_binding: GatewayBinding = GatewayBinding.YES
    node_prefix: IPv6Network | None = None

    @property
    def is_public(self) -> bool:
        """Whether the VPN's addresses are public ones (seed: embodiment 2)."""
        return self.node_prefix is not None

    @property
    def binds_at_gateway(self) -> bool:
        """Whether sg has bindings of the nodes outside; else their home agent knows the way."""
        return self.sg_binding is GatewayBinding.YES

    @property
    def vcm_is_direct(self) -> bool:
        """Whether MN-VCM goes beside MN-SG: then sg lets its ESP through, as it is."""
        return self.vcm_sa is VcmAssociation.DIRECT

    @property
    def vpn_prefixes(self) -> Mapping[str, IPv6Network]:
        """All addresses of the VPN, by what has them: the LAN, and nodes wherever they are."""
        prefixes = {"vpn": self.vpn_prefix}
        return prefixes if self.node_prefix is None else {**prefixes, "nodes": self.node_prefix}

    def is_inside(self, care_of_address: IPv6Address) -> bool:
        """Tell whether a node with this care-of address is inside (seed: embodiment 2)."""
        return self.is_public and care_of_address in self.vpn_prefix

    @property
    def vcm_in_gateway(self) -> bool:
        """Whether the VCM is a part of sg: there are no associations of its own then."""
        return self.vcm_at is VcmPlace.GATEWAY

    def node(self, name: str) -> NodeIdentity:
        """Return a mobile node by name; raise CallerError for an unknown one."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise CallerError(f"no mobile node is called {name}")

    def node_at(self, address: IPv6Address) -> NodeIdentity | None:
        """Return the mobile node whose internal or external home address this is."""
        for node in self.nodes:
            if address in (node.internal_home_address, node.external_home_address):
                return node
        return None
