"""Who has which address and which delay lies where: what an analysis must know of a run.

It is read from the run's own run.json, so that a result folder can be analysed alone, anywhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv6Address, IPv6Network
from itertools import pairwise
from typing import Any, NamedTuple

from experiments.errors import ResultError

LAN, GATEWAY, HOME_AGENT = "lan", "sg", "ha"
"""Link profiles that are not access networks; every other profile is one, by its name."""

INSIDE = LAN
"""The place of a mobile node that is at home, on the company's own LAN."""


@dataclass(frozen=True, slots=True)
class MobileNode:
    """A mobile node's static identifiers."""

    name: str
    internal_home_address: bytes
    external_home_address: bytes


class TunnelEnd(NamedTuple):
    """Where another system's tunnels end: what is UDP of these ports, from or to `address`."""

    address: bytes
    udp_ports: frozenset[int]

    def has(self, source: bytes, destination: bytes, ports: tuple[int, int]) -> bool:
        """Tell whether a datagram between these addresses and ports is a tunnel's."""
        return self.address in (source, destination) and not self.udp_ports.isdisjoint(ports)


@dataclass(frozen=True)
class NetworkPlan:
    """Addresses (16 bytes each) and one-way propagation delays (milliseconds) of a run.

    `delay_ms` is by link profile: lan, sg, ha and the access networks' names. Delays sit so: each
    host's link to the LAN switch and r22's, `lan`; r22 - s-sg, `lan`; s-sg - sg, none; sg - inet,
    `sg`; ha - inet, `ha`; inet - access router, the access network's; a mobile node's own link
    outside, none; the VCM's that of the host that it is on (`vcm_at`). `prefix_by_network` has the
    access networks' prefixes, as far as they are known; `fake_networks` the hardware address of the
    router of each network that imitates the inside. `is_public`: a node has one home address, which
    r22 routes while it is inside (embodiment 2). `vcm_is_direct`: the VCM and a node outside write
    to each other by its home agent. Unless nodes bind at sg (`binds_at_gateway`), all between sg
    and an access network goes by the home agent. `tunnel_end` is there where the VPN is another
    `system`'s: its hub sends what is for another spoke straight back.
    """

    nodes: tuple[MobileNode, ...]
    security_gateway: bytes
    security_gateway_inside: bytes
    internal_router: bytes
    vcm: bytes
    home_agent: bytes
    vpn_prefixes: tuple[IPv6Network, ...]
    access_prefixes: Mapping[str, IPv6Network]
    delay_ms: Mapping[str, float]
    rate_mbit: Mapping[str, float]
    loss_percent: Mapping[str, float]
    prefix_by_network: Mapping[str, IPv6Network]
    signalling_port: int = 5202
    fake_networks: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    vcm_at: str = "vcm"
    is_public: bool = False
    vcm_is_direct: bool = False
    binds_at_gateway: bool = True
    system: str = "mobivpn"
    tunnel_end: TunnelEnd | None = None

    @cached_property
    def external_networks(self) -> frozenset[str]:
        """Names of all networks outside the company that a node can be attached to."""
        return self.access_networks | frozenset(self.fake_networks)

    @cached_property
    def access_networks(self) -> frozenset[str]:
        """Names of the external networks that a node can be attached to."""
        return frozenset(self.delay_ms) - {LAN, GATEWAY, HOME_AGENT}

    @cached_property
    def _access_network_by_prefix(self) -> Mapping[bytes, str]:
        return {
            prefix.network_address.packed[: prefix.prefixlen // 8]: name
            for name, prefix in self.access_prefixes.items()
        }

    def access_network_of(self, address: bytes) -> str | None:
        """Return the access network to which a care-of address belongs."""
        found = self._access_network_by_prefix
        return next((name for prefix, name in found.items() if address.startswith(prefix)), None)

    @cached_property
    def node_by_name(self) -> Mapping[str, MobileNode]:
        return {node.name: node for node in self.nodes}

    @cached_property
    def host_by_address(self) -> Mapping[bytes, str]:
        """The host that has an address, home addresses included."""
        hosts = {
            self.security_gateway: "sg",
            self.security_gateway_inside: "sg",
            self.internal_router: "r22",
            self.vcm: "vcm",
            self.home_agent: "ha",
        }
        for node in self.nodes:
            hosts[node.internal_home_address] = node.name
            hosts[node.external_home_address] = node.name
        return hosts

    @cached_property
    def external_home_addresses(self) -> frozenset[bytes]:
        return frozenset(node.external_home_address for node in self.nodes)

    @cached_property
    def vpn_prefix_bytes(self) -> tuple[bytes, ...]:
        """The VPN's prefixes as the byte strings that a leaked address would contain."""
        return tuple(p.network_address.packed[: p.prefixlen // 8] for p in self.vpn_prefixes)

    @cached_property
    def bare_esp_ends(self) -> frozenset[tuple[bytes, bytes]]:
        """Ends of the ESP that may show an address of the VPN outside: a direct MN-VCM's."""
        homes = self.external_home_addresses if self.vcm_is_direct else frozenset[bytes]()
        return frozenset(ends for home in homes for ends in ((home, self.vcm), (self.vcm, home)))

    @cached_property
    def _way_up(self) -> Mapping[str, tuple[str, float]]:
        """The network is a tree below inet: for each station, what is above it and how far."""
        lan = self.delay_ms[LAN]
        above = {
            "sg": ("inet", self.delay_ms[GATEWAY]),
            "r22": ("sg", lan),
            "s-lan": ("r22", lan),
            "vcm": (self.vcm_at, 0.0) if self.vcm_at in ("sg", "r22") else ("s-lan", lan),
            INSIDE: ("s-lan", lan),
            "ha": ("inet", self.delay_ms[HOME_AGENT]),
        }
        return above | {name: ("inet", self.delay_ms[name]) for name in self.access_networks}

    def propagation_ms(self, *stations: str) -> float:
        """Return the sum of the configured one-way delays along `stations`.

        A station is sg, r22, vcm, ha, lan (a node on the LAN) or an access network's name (a node
        attached there).
        """
        return sum(self._leg_ms(first, second) for first, second in pairwise(stations))

    @property
    def is_ours(self) -> bool:
        """Whether it is the seed's system: what another loses, and when, is only told."""
        return self.system == "mobivpn"

    @property
    def is_open(self) -> bool:
        """Whether nothing is protected: plain Mobile IPv6, in the LAN as in any other network."""
        return self.system == "mip6"

    @property
    def turned_round(self) -> tuple[str, ...]:
        """The stations at which the gateway's packets between two nodes outside turn round."""
        return ("sg",) if self.tunnel_end is not None else ("sg", "r22", "sg")

    def vcm_ms(self, place: str) -> float:
        """Return how long a message takes between the VCM and a node outside, either way."""
        by_home_agent = ("ha",) if self.vcm_is_direct else ()
        return self.propagation_ms("vcm", "sg", *by_home_agent, place)

    def _leg_ms(self, first: str, second: str) -> float:
        if first == second == INSIDE:
            return (4 if self.is_public else 2) * self.delay_ms[LAN]
        outside = {first, second} & self.access_networks
        if "sg" in (first, second) and outside and not self.binds_at_gateway:
            return self._leg_ms(first, "ha") + self._leg_ms("ha", second)
        ups, downs = self._distances_up(first), self._distances_up(second)
        return min(ups[station] + downs[station] for station in ups.keys() & downs.keys())

    def _distances_up(self, station: str) -> dict[str, float]:
        """Return how far it is from `station` to itself and to all that is above it."""
        distances = {station: 0.0}
        while station != "inet":
            if station not in self._way_up:
                raise ResultError(f"run.json: no link profile is called {station!r}")
            above, delay = self._way_up[station]
            distances[above] = distances[station] + delay
            station = above
        return distances


def plan_from_run(run: Mapping[str, Any]) -> NetworkPlan:
    """Read the plan from a run's description (docs/schema.md, run.json)."""
    try:
        addresses = run["addresses"]
        links = run["links"]
        return NetworkPlan(
            nodes=tuple(
                MobileNode(
                    name,
                    IPv6Address(own["internal_home_address"]).packed,
                    IPv6Address(own["external_home_address"]).packed,
                )
                for name, own in sorted(addresses["nodes"].items())
            ),
            security_gateway=IPv6Address(addresses["security_gateway"]).packed,
            security_gateway_inside=IPv6Address(addresses["security_gateway_inside"]).packed,
            internal_router=IPv6Address(addresses["internal_router"]).packed,
            vcm=IPv6Address(addresses["vcm"]).packed,
            home_agent=IPv6Address(addresses["home_agent"]).packed,
            vpn_prefixes=tuple(IPv6Network(prefix) for prefix in addresses["vpn_prefixes"]),
            access_prefixes={
                name: IPv6Network(prefix)
                for name, prefix in addresses.get("access_networks", {}).items()
            },
            delay_ms={name: float(link["delay_ms"]) for name, link in links.items()},
            rate_mbit={name: float(link["rate_mbit"]) for name, link in links.items()},
            loss_percent={name: float(link["loss_percent"]) for name, link in links.items()},
            prefix_by_network={
                name: IPv6Network(prefix)
                for name, prefix in addresses.get("access_networks", {}).items()
            },
            signalling_port=int(addresses.get("signalling_port", 5202)),
            fake_networks={
                name: bytes.fromhex(address.replace(":", ""))
                for name, address in addresses.get("fake_networks", {}).items()
            },
            vcm_at=str(run.get("variants", {}).get("vcm_at", "vcm")),
            is_public=run.get("embodiment") == 2,
            vcm_is_direct=run.get("variants", {}).get("vcm_sa") == "direct",
            binds_at_gateway=run.get("variants", {}).get("sg_binding") != "no",
            system=str(run.get("variants", {}).get("system", "mobivpn")),
            tunnel_end=TunnelEnd(
                IPv6Address(addresses["security_gateway"]).packed,
                frozenset(map(int, run["tunnel_ports"])),
            )
            if "tunnel_ports" in run
            else None,
        )
    except KeyError as error:
        raise ResultError(f"run.json: {error.args[0]!r} is missing") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise ResultError(f"run.json: {error}") from error
