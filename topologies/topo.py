"""Figure 1 of the seed as a Mininet `Topo`, and the network built from it."""

import subprocess
from collections.abc import Iterator, Mapping
from ipaddress import IPv6Network
from pathlib import Path

from mininet.net import Mininet
from mininet.node import Node
from mininet.topo import Topo

from mobivpn.host.plan import Company
from mobivpn.variants import VcmPlace
from topologies.addresses import EVE, PLAN, Plan, fixed_mac
from topologies.links import (
    GATEWAY,
    HOME_AGENT,
    IDEAL,
    LAN,
    LinkProfile,
    profiles,
    shaping_script,
)
from topologies.nodes import LabController, LabHost, LabNetwork, LabSwitch

# Set in each host before it has any interface: nothing random, nothing before the agents say so.
HOST_SYSCTLS = {
    "conf/all/accept_dad": 0,
    "conf/default/accept_dad": 0,
    "conf/default/dad_transmits": 0,
    "conf/all/accept_ra": 0,
    "conf/default/accept_ra": 0,
    "conf/all/accept_redirects": 0,
    "conf/default/accept_redirects": 0,
    "conf/default/router_solicitations": 0,
    "conf/default/use_tempaddr": 0,
}
# Whoever is told to look for duplicates on a mobile node's link looks at once. The node's own
# addresses there are optimistic (RFC 4429), its care-of addresses what its agent says of them.
MOBILE_NODE_SYSCTLS = {
    "conf/default/accept_dad": 1,
    "conf/default/dad_transmits": 1,
    "conf/default/router_solicitation_delay": 0,
    "conf/default/optimistic_dad": 1,
    "conf/default/use_optimistic": 1,
}
ROUTERS = frozenset({"r22", "sg", "inet", "ha", "wifi1", "wifi2", "cell", EVE})
DESKTOPS = tuple(name for name, _ in PLAN.desktops)
GATEWAY_SWITCH = "s-sg"
MONITOR = "vcm-mon"
"""The VCM's end of the monitor port's cable, on whichever host the VCM is."""
SWITCHES = ("s-lan", GATEWAY_SWITCH, "s-wifi1", "s-wifi2", "s-cell", "s-eve")
CONTROLLER_PORT = 6653
UNIQUE_LOCAL = IPv6Network("fc00::/7")
"""RFC 4193: nobody outside has a route to such addresses."""


class CompanyTopo(Topo):
    """Company network [12], gateway [20], internet [30] with its access networks [32]."""

    def build(self, plan: Plan = PLAN) -> None:
        """Name all nodes and links."""
        for name in (*_lan_hosts(plan), "r22", "sg", "inet", "ha", EVE):
            self._host(name)
        for network in plan.access:
            self._host(network.name)
        for node in plan.company.nodes:
            self._host(node.name, MOBILE_NODE_SYSCTLS)
        for number, name in enumerate(SWITCHES, 1):
            self.addSwitch(
                name,
                dpid=f"{number:016x}",
                failMode="secure" if name == GATEWAY_SWITCH else "standalone",
                protocols="OpenFlow13",
                controlled=name == GATEWAY_SWITCH,
            )
        for name in _lan_hosts(plan):
            self._link(name, f"{name}-eth0", "s-lan", f"s-lan-{name}")
        self._link("r22", "r22-lan", "s-lan", "s-lan-r22")
        self._link("r22", "r22-sg", GATEWAY_SWITCH, "s-sg-r22")
        self._link("sg", "sg-lan", GATEWAY_SWITCH, "s-sg-sg")
        self._link(plan.company.vcm_at.value, MONITOR, GATEWAY_SWITCH, "s-sg-mon")
        self._link("sg", "sg-ext", "inet", "inet-sg")
        self._link("ha", "ha-eth0", "inet", "inet-ha")
        self._link(EVE, "eve-eth0", "inet", "inet-eve")
        self._link(EVE, "eve-lan", "s-eve", "s-eve-ar")
        for network in plan.access:
            name = network.name
            self._link(name, f"{name}-up", "inet", f"inet-{name}")
            self._link(name, f"{name}-lan", f"s-{name}", f"s-{name}-ar")
        for node in plan.company.nodes:
            self._link(node.name, f"{node.name}-eth0", "s-lan", far_end(node.name))

    def _host(self, name: str, sysctls: Mapping[str, int] | None = None) -> None:
        """Name a host or router whose kernel is quiet: no solicitations, no random delays."""
        forwarding = {"conf/all/forwarding": 1} if name in ROUTERS else {}
        self.addHost(name, sysctls=HOST_SYSCTLS | forwarding | dict(sysctls or {}))

    def _link(self, one: str, interface: str, other: str, far: str) -> None:
        self.addLink(one, other, intfName1=interface, intfName2=far)


def _lan_hosts(plan: Plan) -> tuple[str, ...]:
    """Return the hosts that never leave the LAN: the desktops, and a VCM that is none of them."""
    return DESKTOPS if plan.company.vcm_at is not VcmPlace.OWN else (*DESKTOPS, "vcm")


def _vcm_address(company: Company) -> tuple[str, str]:
    """Return the device that has the VCM's address, and what `ip address add` is to be told of it.

    In sg it is no link's: nobody on a link has anything to tell the VCM. What else a host sends
    never has it as its source.
    """
    if company.vcm_at is VcmPlace.OWN:
        return "vcm-eth0", f"{company.vcm}/64"
    if company.vcm_in_gateway:
        return "lo", f"{company.vcm}/128 preferred_lft 0"
    device = "r22-lan" if company.vcm_at is VcmPlace.ROUTER else f"{company.vcm_at.value}-eth0"
    return device, f"{company.vcm}/64 preferred_lft 0"


def far_end(node: str, number: int = 0) -> str:
    """Return the name of the switch's end of a mobile node's cable, the first or a later one."""
    return f"{node}-far{number}"


def build(plan: Plan = PLAN) -> Mininet:
    """Return the network, built and not started; the caller stops it, whatever happens."""
    # Switch ports belong to the root namespace, which has no business on any of these links.
    Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")
    return LabNetwork(
        CompanyTopo(plan=plan),
        host=LabHost,
        switch=LabSwitch,
        controller=lambda name: LabController(name, ip="127.0.0.1", port=CONTROLLER_PORT),
        build=True,
    )


def in_host(node: Node, script: str) -> None:
    """Run a shell script in a host; raise RuntimeError with what it complained of."""
    process = node.popen(["sh", "-e", "-s"], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    _, errors = process.communicate(script.encode())
    if process.returncode or errors:
        raise RuntimeError(f"{node.name}: {errors.decode().strip()}")


def _addresses(plan: Plan) -> dict[str, list[tuple[str, str]]]:
    company = plan.company
    addresses = {
        "r22": [
            ("r22-lan", f"{plan.internal_router_lan}/64"),
            ("r22-sg", f"{company.internal_router}/64"),
        ],
        "sg": [
            ("sg-lan", f"{company.security_gateway_inside}/64"),
            ("sg-ext", f"{company.security_gateway}/64"),
        ],
        "ha": [("ha-eth0", f"{company.home_agent}/64")],
        "inet": [("inet-sg", f"{plan.gateway_router}/64"), ("inet-ha", f"{plan.home_router}/64")],
    }
    for name, address in plan.desktops:
        addresses[name] = [(f"{name}-eth0", f"{address}/64")]
    addresses.setdefault(company.vcm_at.value, []).append(_vcm_address(company))
    for network in plan.access:
        name = network.name
        addresses[name] = [
            (f"{name}-up", f"{network.uplink[2]}/64"),
            (f"{name}-lan", f"{network.router}/64"),
        ]
        addresses["inet"].append((f"inet-{name}", f"{network.uplink[1]}/64"))
    return addresses


def _routes(plan: Plan, inner_mtu: int) -> dict[str, list[str]]:
    """Return static routes; those of internal addresses have the MTU that fits every path."""
    company, inside = plan.company, f"mtu {inner_mtu}"
    on_lan = f"{company.vpn_prefix} dev {{}}-eth0 metric 128 {inside}"
    routes = {
        "r22": [
            f"default via {company.security_gateway_inside}",
            f"{company.vpn_prefix} dev r22-lan metric 128 {inside}",
        ],
        "sg": [
            f"default via {plan.gateway_router}",
            f"{company.vpn_prefix} via {company.internal_router} {inside}",
        ],
        "ha": [f"default via {plan.home_router}"],
        "inet": [f"{n.external_home_address} via {company.home_agent}" for n in company.nodes],
    }
    if company.node_prefix is not None:
        routes["sg"].append(f"{company.node_prefix} via {company.internal_router} {inside}")
    if not company.vpn_prefix.subnet_of(UNIQUE_LOCAL):
        routes["inet"].append(f"{company.vpn_prefix} via {company.security_gateway}")
    for name in _lan_hosts(plan):
        routes[name] = [f"default via {plan.internal_router_lan} {inside}", on_lan.format(name)]
    for network in plan.access:
        routes[network.name] = [f"default via {network.uplink[1]}"]
        routes["inet"].append(f"{network.prefix} via {network.uplink[2]}")
    return routes


def _neighbours(plan: Plan) -> dict[str, list[tuple[str, str, str]]]:
    """Return (address, own interface, the other's) for the links between routers, by host.

    Routers that have talked for years know each other; without this, the first packet of a run
    would wait for neighbour discovery on each of these links.
    """
    company = plan.company
    ends = [
        (
            ("inet", "inet-sg", plan.gateway_router),
            ("sg", "sg-ext", company.security_gateway),
        ),
        (("inet", "inet-ha", plan.home_router), ("ha", "ha-eth0", company.home_agent)),
        (
            ("r22", "r22-sg", company.internal_router),
            ("sg", "sg-lan", company.security_gateway_inside),
        ),
        *(
            (
                ("inet", f"inet-{network.name}", network.uplink[1]),
                (network.name, f"{network.name}-up", network.uplink[2]),
            )
            for network in plan.access
        ),
    ]
    host, (device, _) = company.vcm_at.value, _vcm_address(company)
    if host in _lan_hosts(plan):
        ends.append((("r22", "r22-lan", plan.internal_router_lan), (host, device, company.vcm)))
    neighbours: dict[str, list[tuple[str, str, str]]] = {}
    for one, other in (*ends, *(pair[::-1] for pair in ends)):
        neighbours.setdefault(one[0], []).append((str(other[2]), one[1], other[1]))
    return neighbours


def _shaped(plan: Plan) -> dict[str, list[tuple[str, str]]]:
    """Return (interface, link profile) by host; "" is the root namespace with the switches."""
    shaped = {
        "": [(f"s-lan-{name}", LAN) for name in (*_lan_hosts(plan), "r22")] + [("s-sg-r22", LAN)],
        "r22": [("r22-lan", LAN), ("r22-sg", LAN)],
        "sg": [("sg-ext", GATEWAY), ("sg-lan", IDEAL)],
        "ha": [("ha-eth0", HOME_AGENT)],
        "inet": [("inet-sg", GATEWAY), ("inet-ha", HOME_AGENT)],
    }
    for name in _lan_hosts(plan):
        shaped[name] = [(f"{name}-eth0", LAN)]
    for network in plan.access:
        shaped[network.name] = [(f"{network.name}-up", network.name)]
        shaped["inet"].append((f"inet-{network.name}", network.name))
    for node in plan.company.nodes:
        shaped[node.name] = [(f"{node.name}-eth0", LAN)]
        shaped[""].append((far_end(node.name), LAN))
    return shaped


def _source_filter(plan: Plan, host: str) -> Iterator[str]:
    """Yield the rules by which an access router drops what is not of its prefix (RFC 2827)."""
    for network in plan.access:
        if network.name == host:
            device = f"{host}-lan"
            yield f"rule add from {network.prefix} iif {device} lookup main preference 10"
            yield f"rule add blackhole iif {device} preference 11"


def configure(
    net: Mininet,
    links: Mapping[str, LinkProfile],
    inner_mtu: int,
    *,
    seed: int = 1,
    plan: Plan = PLAN,
) -> None:
    """Give every host its addresses, routes and link profiles: one shell per host."""
    addresses, routes, neighbours = _addresses(plan), _routes(plan, inner_mtu), _neighbours(plan)
    profile_of = profiles(links)
    shaping = {
        host: shaping_script([(device, profile_of[profile]) for device, profile in shaped], seed)
        for host, shaped in _shaped(plan).items()
    }
    for host in net.hosts:
        devices = [str(i) for i in host.intfList() if str(i) != "lo"]
        ip = [
            # Down first: a link-local address follows from the hardware address of when it came up.
            *(f"link set {device} down address {fixed_mac(device)}" for device in devices),
            *(f"link set {device} up" for device in ("lo", *devices)),
            *(f"address add {a} dev {d} nodad" for d, a in addresses.get(host.name, [])),
            *(f"route add {route}" for route in routes.get(host.name, [])),
            *(
                f"neighbour add {address} lladdr {fixed_mac(far)} dev {device} nud permanent"
                for address, device, far in neighbours.get(host.name, [])
            ),
            *_source_filter(plan, host.name),
        ]
        batch = "\n".join(ip)
        in_host(host, f"ip -6 -batch - <<END\n{batch}\nEND\n" + shaping.get(host.name, ""))
    ports = [port for port, _ in _shaped(plan)[""]]
    subprocess.run(["ovs-vsctl", *keep_qdiscs(ports)], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["sh", "-e", "-s"], input=shaping[""], text=True, check=True)


def keep_qdiscs(ports: list[str]) -> list[str]:
    """Return the ovs-vsctl commands without which Open vSwitch deletes the qdiscs of its ports."""
    commands = ["--id=@kept", "create", "qos", "type=linux-noop"]
    for port in ports:
        commands += ["--", "set", "port", port, "qos=@kept"]
    return commands
