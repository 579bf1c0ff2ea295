"""Figure 1 without Mininet and agents: namespaces, and kernels that hold what they are given."""

import os
import subprocess
from functools import partial
from ipaddress import IPv6Address

from agents.kernel import Kernel
from agents.key_log import KeyLog
from mobivpn.host.associations import mint_associations
from mobivpn.host.fixed_databases import HomeAgentDatabases, ManagerDatabases, RouterDatabases
from mobivpn.host.gateway_databases import GatewayDatabases
from mobivpn.host.movement import Outside
from mobivpn.host.node_databases import Bindings, NodeDatabases
from mobivpn.host.plan import Company
from mobivpn.ipsec.databases import Databases, difference
from mobivpn.ipsec.sa import EspAlgorithm
from tests.support.company import COMPANY

CARE_OF = {"mn1": IPv6Address("2001:db8:1::d1"), "mn2": IPv6Address("2001:db8:2::d2")}
SG, HA = COMPANY.security_gateway, COMPANY.home_agent
HOSTS = ("mn1", "mn2", "inet", "sg", "r22", "vcm", "ha")


def ip(arguments: str, text: str | None = None) -> str:
    done = subprocess.run(
        ["ip", "-6", *arguments.split()], input=text, capture_output=True, text=True, check=True
    )
    return done.stdout


def in_host(name: str, *command: str, check: bool = True) -> str:
    return subprocess.run(
        ["ip", "netns", "exec", name, *command], capture_output=True, text=True, check=check
    ).stdout


class Plain:
    """Figure 1 without Mininet: one veth a link, the two nodes on their access networks."""

    def __init__(self, company: Company = COMPANY) -> None:
        self.company = company
        for name in HOSTS:
            ip(f"netns add {name}")
            forwarding = int(name in ("inet", "sg", "r22", "ha"))
            in_host(
                name,
                "sysctl",
                "-wq",
                "net.ipv6.conf.all.accept_dad=0",
                "net.ipv6.conf.default.accept_dad=0",
                "net.ipv6.conf.default.accept_ra=0",
                f"net.ipv6.conf.all.forwarding={forwarding}",
                f"net.ipv6.conf.all.proxy_ndp={forwarding}",
            )
            ip(f"-n {name} link set lo up")
        for number, (one, device, other, far) in enumerate(
            (
                ("mn1", "eth0", "inet", "to1"),
                ("mn2", "eth0", "inet", "to2"),
                ("sg", "ext", "inet", "tosg"),
                ("ha", "eth0", "inet", "toha"),
                ("sg", "lan", "r22", "tosg"),
                ("vcm", "eth0", "r22", "lan"),
            )
        ):
            # Different numbers at both ends: only then the kernel hurries with carrier events.
            near_index, far_index = 100 + 2 * number, 101 + 2 * number
            ip(
                f"link add {device} index {near_index} netns {one} type veth "
                f"peer name {far} index {far_index} netns {other}"
            )
            ip(f"-n {one} link set {device} up")
            ip(f"-n {other} link set {far} up")
        for name, device, address in (
            ("inet", "to1", "2001:db8:1::1/64"),
            ("inet", "to2", "2001:db8:2::1/64"),
            ("inet", "tosg", "2001:db8:5::1/64"),
            ("inet", "toha", "2001:db8:ee::ff/64"),
            ("sg", "ext", "2001:db8:5::5/64"),
            ("sg", "lan", "fd00:5::5/64"),
            ("r22", "tosg", "fd00:5::1/64"),
            ("r22", "lan", "fd00:10::1/64"),
            ("sg", "lo", "fd00:10::9/128")
            if company.vcm_in_gateway
            else ("vcm", "eth0", "fd00:10::9/64"),
            ("vcm", "eth0", "fd00:10::16/64"),
            ("ha", "eth0", "2001:db8:ee::1/64"),
            ("inet", "to1", "fe80::1/64"),
            ("inet", "to2", "fe80::1/64"),
        ):
            ip(f"-n {name} address add {address} dev {device} nodad")
        for name, route in (
            ("sg", "default via 2001:db8:5::1"),
            ("sg", "fd00:10::/64 via fd00:5::1"),
            ("r22", "default via fd00:5::5"),
            ("vcm", "default via fd00:10::1"),
            ("ha", "default via 2001:db8:ee::ff"),
            ("inet", "2001:db8:ee::d1 via 2001:db8:ee::1"),
            ("inet", "2001:db8:ee::d2 via 2001:db8:ee::1"),
        ):
            ip(f"-n {name} route add {route}")
        given = mint_associations(company, EspAlgorithm.AES128GCM16, os.urandom)
        self.node = {n.name: NodeDatabases(n, company, given) for n in company.nodes}
        self.gateway = GatewayDatabases(company, given, "lan", "ext", IPv6Address("2001:db8:5::1"))
        self.home_agent = HomeAgentDatabases(company, given, "eth0")
        self.router = RouterDatabases(company, given, "lan", "tosg")
        self.manager = ManagerDatabases(company, given)
        self.key_log = KeyLog(None)
        self._held: dict[str, Databases] = dict.fromkeys(HOSTS, ())

    def put(self, name: str, wanted: Databases) -> None:
        """Bring one host's kernel to the wanted databases."""
        Kernel(self.key_log, run=partial(self._run, name)).apply(
            difference(self._held[name], wanted)
        )
        self._held[name] = wanted

    @staticmethod
    def _run(name: str, arguments: list[str], text: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["ip", "-n", name, "-6", *arguments],
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )

    def leave(self, *, bound: bool) -> None:
        """Both nodes outside, known to sg and ha; `bound`: sg has their bindings."""
        care_of = dict(CARE_OF)
        self.put("sg", self.gateway.at(care_of if bound else dict.fromkeys(care_of)))
        self.put("ha", self.home_agent.at(care_of))
        self.put("r22", self.router.at(COMPANY.nodes))
        self.put("vcm", self.manager.all())
        for name in CARE_OF:
            self.put(
                name,
                self.node[name].at(
                    outside(name), Bindings(optimised=frozenset({SG})) if bound else Bindings()
                ),
            )

    def close(self) -> None:
        for name in HOSTS:
            subprocess.run(["ip", "netns", "del", name], check=False)


def outside(name: str) -> Outside:
    return Outside("eth0", IPv6Address("fe80::1"), CARE_OF[name])


def ping(name: str, source: IPv6Address, destination: IPv6Address, payload_bytes: int = 56) -> bool:
    done = subprocess.run(
        [
            *("ip", "netns", "exec", name, "ping", "-c", "1", "-W", "1", "-M", "do"),
            *("-s", str(payload_bytes), "-I", str(source), str(destination)),
        ],
        capture_output=True,
        check=False,
    )
    return done.returncode == 0
