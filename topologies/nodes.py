"""Mininet's nodes, cables and network, made with a tenth of the processes that Mininet takes.

Mininet keeps a shell in each node and runs a command for each interface; in user-mode Linux each
program costs 0.1 s. Here namespaces are held by threads, a node has its shell from the first
command on that somebody gives it, and all cables are one `ip -batch`. What users of Mininet do with
nodes still works.
"""

import ctypes
import os
import subprocess
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from mininet.link import Link
from mininet.net import Mininet
from mininet.node import Node, OVSSwitch, RemoteController
from mininet.topo import Topo

CLONE_NEWNS, CLONE_NEWNET, MS_REC, MS_PRIVATE = 0x20000, 0x40000000, 0x4000, 0x40000
"""From <linux/sched.h> and <linux/mount.h>."""
SYSCTLS = Path("/proc/sys/net/ipv6")
ON_A_WIRE = "gso_max_segs 1"
"""What `ip link` is told of each end of a cable: no frame is on a wire before a network card would
have cut it into segments (GSO)."""

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: object) -> None:
    """Call a function of libc that Python 3.11 has not; raise OSError if it fails."""
    if getattr(_libc, name)(*arguments):
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")


class LazyNode(Node):
    """A node in the root namespace, without a shell as long as nobody needs one."""

    def startShell(self, mnopts: str | None = None) -> None:
        """Do without, for now."""
        self.execed = False
        self.pid = os.getpid()

    def cmd(self, *words: object, **options: object) -> str:
        """Run a command in the node's shell; see Mininet's own."""
        self._need_shell()
        return super().cmd(*words, **options)

    def sendCmd(self, *words: object, **options: object) -> None:
        """Begin a command in the node's shell; see Mininet's own."""
        self._need_shell()
        super().sendCmd(*words, **options)

    def _need_shell(self) -> None:
        """Start Mininet's shell, in the namespaces that there are."""
        if self.shell is None:
            pid, in_namespace = self.pid, self.inNamespace
            self.inNamespace = False
            Node.startShell(self, f"-cda{pid}")
            self.pid, self.inNamespace = pid, in_namespace


class LabHost(LazyNode):
    """A host: a network and a mount namespace, which a thread holds until the host is terminated.

    `sysctls` are values by name below /proc/sys/net/ipv6, set before there is any interface.
    """

    def __init__(self, name: str, *, sysctls: Mapping[str, int], **parameters: object) -> None:
        self._over = threading.Event()
        self._held: Future[int] = Future()
        self._sysctls = sysctls
        super().__init__(name, **parameters)

    def startShell(self, mnopts: str | None = None) -> None:
        """Make the namespaces."""
        self.execed = False
        self._thread = threading.Thread(target=self._hold, name=self.name, daemon=True)
        self._thread.start()
        self.pid = self._held.result()

    def enter(self) -> None:
        """Make the calling process, which must have one thread, a process of this host."""
        for kind, flag in (("net", CLONE_NEWNET), ("mnt", CLONE_NEWNS)):
            with open(f"/proc/{self.pid}/ns/{kind}", "rb") as namespace:
                _call("setns", namespace.fileno(), flag)

    def terminate(self) -> None:
        """End the shell and what holds the namespaces."""
        super().terminate()
        self._over.set()
        self._thread.join()

    def _hold(self) -> None:
        try:
            # As mnexec does: /sys shows the devices of the namespace that it was mounted from.
            _call("unshare", CLONE_NEWNET | CLONE_NEWNS)
            _call("mount", b"", b"/", b"none", MS_REC | MS_PRIVATE, None)
            _call("mount", b"sysfs", b"/sys", b"sysfs", 0, None)
            for name, value in self._sysctls.items():
                (SYSCTLS / name).write_text(str(value))
            self._held.set_result(threading.get_native_id())
        except OSError as error:
            self._held.set_exception(error)
            return
        self._over.wait()


class LabController(LazyNode, RemoteController):
    """A controller that somebody else starts, and looks after."""

    def checkListening(self) -> None:
        """Do not look."""


class LabSwitch(LazyNode, OVSSwitch):
    """An Open vSwitch bridge; `controlled` ones are under the network's controllers."""

    def __init__(self, name: str, *, controlled: bool, **parameters: object) -> None:
        self._controlled = controlled
        super().__init__(name, **parameters)

    def start(self, controllers: list[RemoteController]) -> None:
        """Start as a learning switch, or under the controllers."""
        super().start(controllers if self._controlled else [])

    def cmd(self, *words: object, **options: object) -> str:
        """Run a command in a shell, but for the one that Mininet gives each switch: lo is up."""
        return "" if words == ("ifconfig", "lo", "up") else super().cmd(*words, **options)

    @classmethod
    def batchShutdown(cls, switches: list["LabSwitch"], run: object = None) -> list["LabSwitch"]:
        """Delete the bridges; nothing else of a switch runs. Mininet would signal our own pid."""
        words = [
            word for switch in switches for word in ("--", "--if-exists", "del-br", switch.name)
        ]
        subprocess.run(["ovs-vsctl", *words], check=True)
        return switches


class Cable(Link):
    """A veth pair, made by `make`, which is given its two ends as (node, interface, address)."""

    def __init__(self, *nodes: Node, make: Callable[..., None], **options: object) -> None:
        self._make = make
        # Unless told not to, Mininet runs ifconfig for each end.
        super().__init__(*nodes, up=None, **options)

    def makeIntfPair(  # type: ignore[override]
        self, one: str, other: str, address: str, far: str, node: Node, peer: Node, **_: object
    ) -> None:
        """Make the pair where its ends belong."""
        self._make((node, one, address), (peer, other, far))

    def stop(self) -> None:
        """Let it go with the namespaces of its ends."""


class LabNetwork(Mininet):
    """A network whose cables are made all at once, when all of them are known."""

    def __init__(self, topo: Topo, **options: object) -> None:
        self._lines: list[str] = []
        super().__init__(topo=topo, link=self._cable, **options)

    def configHosts(self) -> None:
        """Make the cables; addresses are for others to give (Mininet would, one by one)."""
        subprocess.run(["ip", "-batch", "-"], input="\n".join(self._lines), text=True, check=True)
        self._lines.clear()

    def _cable(self, *nodes: Node, **options: Any) -> Cable:
        cable = Cable(*nodes, make=self._want, **options)
        if self.built:
            self.configHosts()
        return cable

    def _want(self, *ends: tuple[Node, str, str]) -> None:
        one, other = (
            f"name {name} address {address} {ON_A_WIRE} netns {node.pid}"
            for node, name, address in ends
        )
        self._lines.append(f"link add {one} type veth peer {other}")
        for node, name, _ in ends:
            if not node.inNamespace:
                self._lines.append(f"link set {name} up")
