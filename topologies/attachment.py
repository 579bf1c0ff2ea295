"""How a mobile node changes its place: its cable leaves one switch and is plugged into another.

Or, make before break, a second cable is plugged in, and the first one is pulled out later.
"""

import fcntl
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Mapping

from mininet.net import Mininet

from topologies.links import IDEAL, LAN, LinkProfile, profiles, shaping_script
from topologies.nodes import ON_A_WIRE
from topologies.topo import far_end, fixed_mac, in_host, keep_qdiscs

SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1
IFREQ_FLAGS = struct.Struct("=16sH22x")
"""A `struct ifreq` with an interface's flags, netdevice(7)."""

REVALIDATED_S = 0.006
"""Open vSwitch looks at its datapath's flows again after each change, but not within 5 ms of the
time before (`udpif_revalidator`)."""

Observer = Callable[[str, str, str], None]
"""Called with (event, node, network) at the moment of link_down and link_up."""


class Attachment:
    """Which network each mobile node is plugged into.

    `replug` keeps the node's interface and moves the far end: the node sees its carrier go and
    come. `new` makes a new link: the node sees an interface go and another one come. A node that
    begins and ends an overlap has two interfaces from then on, and uses them in turn.
    """

    def __init__(
        self,
        net: Mininet,
        links: Mapping[str, LinkProfile],
        observe: Observer,
        *,
        seed: int = 1,
        on_new_link: Callable[[str, str], None] = lambda node, far: None,
    ) -> None:
        self._net = net
        self._profiles = profiles(links)
        self._observe = observe
        self._seed = seed
        self._on_new_link = on_new_link
        self._network: dict[str, str] = {}
        self._made: dict[str, int] = {}
        self._cable: dict[str, int] = {}
        self._spare: dict[str, int] = {}
        self._down: dict[str, float] = {}
        self._before: dict[str, str] = {}
        """When a node's link went, and the far end that it had: of the last move."""
        self._gone: list[str] = []

    def begin(self, node: str, network: str = LAN) -> None:
        """A node is on the LAN, where the topology put it, or has never been anywhere but outside.

        Nothing of the node may be running yet: it does not see its cable change places.
        """
        self._network[node] = network
        self._made[node] = self._cable[node] = 0
        if network != LAN:
            self._plug(node, network, self.far_end(node))
        self._observe("link_up", node, network)

    def network(self, node: str) -> str:
        """Return the network that a node is, or was last, plugged into."""
        return self._network[node]

    def interface(self, node: str) -> str:
        """Return the name of a node's present interface."""
        return f"{node}-eth{self._cable[node]}"

    def far_end(self, node: str) -> str:
        """Return the name of the switch's end of a node's present link."""
        return far_end(node, self._cable[node])

    def move(self, node: str, network: str, gap_ms: float = 0.0, how: str = "replug") -> None:
        """Take a node from its network to another; it has no link for `gap_ms`, or a little more.

        The node's kernel has seen the loss of the link when the next one comes, whatever the gap:
        the kernel's own removal of routes (docs/adr/0002) rests on that.
        """
        self.unplug(node, how)
        self.plug(node, network)
        self.connect(node, network, gap_ms)

    def unplug(self, node: str, how: str = "replug") -> None:
        """Take a node's link away: the first step of a move, which `plug` and `connect` end."""
        self._observe("link_down", node, self._network[node])
        self._down[node] = time.monotonic()
        self._before[node] = self.far_end(node)
        if how == "new":
            self._make_new(node)
        else:
            _run("ip", "link", "set", self.far_end(node), "down")

    def plug(self, node: str, network: str) -> None:
        """Put the other end of an unplugged node's link, or of a new one, into another network."""
        if self.far_end(node) == self._before[node]:
            self._wait_for_carrier_loss(node)
        self._plug(node, network, self._before[node])

    def connect(self, node: str, network: str, gap_ms: float) -> None:
        """Give a plugged-in node its carrier, `gap_ms` after it was unplugged."""
        time.sleep(max(0.0, self._down[node] + gap_ms / 1000 - time.monotonic()))
        self._network[node] = network
        self._observe("link_up", node, network)
        if self.far_end(node) != self._before[node]:
            in_host(self._net.get(node), f"ip link set {self.interface(node)} up\n")
        else:
            bring_up(self.far_end(node))

    def begin_overlap(self, node: str, network: str) -> None:
        """Plug a node's second cable into another network while the first one stays."""
        self.plug_second(node, network)
        self.connect_second(node, network)

    def plug_second(self, node: str, network: str) -> None:
        """Put a node's second cable, without a carrier, into another network."""
        former = self._cable[node]
        if node not in self._spare:
            self._make(node)
        else:
            self._cable[node] = self._spare[node]
        self._spare[node] = former
        self._plug(node, network, self.far_end(node))

    def connect_second(self, node: str, network: str) -> None:
        """Give a plugged-in second cable its carrier."""
        self._observe("link_up", node, network)
        in_host(self._net.get(node), f"ip link set {self.interface(node)} up\n")
        bring_up(self.far_end(node))

    def end_overlap(self, node: str, network: str) -> None:
        """Pull out the first cable: from now on the node is in `network` alone."""
        self._observe("link_down", node, self._network[node])
        self._network[node] = network
        _run("ip", "link", "set", far_end(node, self._spare[node]), "down")

    def _plug(self, node: str, network: str, before: str) -> None:
        """Make the present cable's far end a port of a network's switch; `before` is none then."""
        interface, far = self.interface(node), self.far_end(node)
        _run(
            *("ovs-vsctl", "--if-exists", "del-port", before),
            *("--", "add-port", f"s-{network}", far, "--", *keep_qdiscs([far])),
        )
        # What the datapath knows of the cable's former place outlives the command for so long.
        time.sleep(REVALIDATED_S)
        _run("sh", "-e", "-c", self._shaping(far, network))
        in_host(self._net.get(node), self._shaping(interface, network))

    def _shaping(self, device: str, network: str) -> str:
        profile = self._profiles[LAN if network == LAN else IDEAL]
        return shaping_script([(device, profile)], self._seed)

    def _make_new(self, node: str) -> None:
        """Take a node's interface away and give it another one, which has no carrier yet.

        The old one lives on at its switch: whoever captures there has not read all of it.
        """
        host = self._net.get(node)
        in_host(host, f"ip link set {self.interface(node)} netns 1\n")
        self._gone.append(self.far_end(node))
        self._make(node)

    def _make(self, node: str) -> None:
        """Give a node another interface, its present one from now on, without a carrier."""
        host = self._net.get(node)
        self._made[node] += 1
        self._cable[node] = self._made[node]
        interface, far = self.interface(node), self.far_end(node)
        one, other = (f"name {name} {ON_A_WIRE}".split() for name in (far, interface))
        _run("ip", "link", "add", *one, "type", "veth", "peer", *other)
        _run("ip", "link", "set", interface, "address", fixed_mac(f"{node}-eth0"))
        _run("ip", "link", "set", interface, "netns", str(host.pid))
        _run("ip", "link", "set", far, "up")
        self._on_new_link(node, far)

    def close(self) -> None:
        """Delete the links that moves have made or left behind: Mininet knows nothing of them."""
        cables = (*self._cable.items(), *self._spare.items())
        made = [far_end(node, number) for node, number in cables if number]
        for link in (*self._gone, *made):
            _run("ip", "link", "delete", link)
        self._gone.clear()
        self._spare.clear()
        self._cable.clear()

    def _wait_for_carrier_loss(self, node: str) -> None:
        host = self._net.get(node)
        path = f"/sys/class/net/{self.interface(node)}/operstate"
        while host.popen(["cat", path], stdout=subprocess.PIPE).communicate()[0] != b"down\n":
            time.sleep(0.001)


def bring_up(interface: str) -> None:
    """Set an interface up at once: to start a program for it takes a third of a millisecond."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as any_socket:
        request = IFREQ_FLAGS.pack(interface.encode(), 0)
        name, flags = IFREQ_FLAGS.unpack(fcntl.ioctl(any_socket, SIOCGIFFLAGS, request))
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, IFREQ_FLAGS.pack(name, flags | IFF_UP))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
