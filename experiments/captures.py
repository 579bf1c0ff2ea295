"""One capture per link, whole packets, as pcapng: what is on the wire is what is measured.

Which interface stands for a link is the table below: never one on which ESP or a tunnel ends, since
Linux shows what it has taken out of a tunnel on the same interface once more, as if it had been on
the wire. A mobile node's link is captured at its far end; its pieces become one file at the end.
"""

import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.programs import TestbedError, let_others_go_first
from topologies.addresses import EVE
from topologies.fake_network import FAKE_LINK
from topologies.topo import MONITOR, far_end

ROOT = ""
"""The namespace of the switches."""

INTERFACE_BY_LINK: Mapping[str, tuple[str, str]] = {
    "fs": ("fs", "fs-eth0"),
    "ws1": ("ws1", "ws1-eth0"),
    "ws2": ("ws2", "ws2-eth0"),
    "ws3": ("ws3", "ws3-eth0"),
    "r22-lan": ("r22", "r22-lan"),
    "r22-sg": ("r22", "r22-sg"),
    "sg-lan": ("sg", "sg-lan"),
    "sg-ext": ("inet", "inet-sg"),
    "ha": ("inet", "inet-ha"),
    "uplink-wifi1": ("wifi1", "wifi1-up"),
    "uplink-wifi2": ("wifi2", "wifi2-up"),
    "uplink-cell": ("cell", "cell-up"),
    FAKE_LINK: (EVE, FAKE_LINK),
}
"""(host, interface) by link; those of VCM and mobile nodes are in `interfaces_by_link`."""


def interfaces_by_link(vcm_host: str, nodes: Iterable[str]) -> Mapping[str, tuple[str, str]]:
    """Return (host, interface) by link, for the host that the VCM is on, and mobile nodes."""
    own = {node: (ROOT, far_end(node)) for node in nodes}
    if vcm_host == "vcm":
        own["vcm"] = ("vcm", "vcm-eth0")
    return {**INTERFACE_BY_LINK, **own, "monitor": (vcm_host, MONITOR)}


BUFFER_MIB = 4
READY_WITHIN_S = 20.0


@dataclass(slots=True)
class _Piece:
    path: Path
    log: Path
    process: subprocess.Popen[bytes]


@dataclass(slots=True)
class Captures:
    """The capture programs of one run; `host(name)` gives the Mininet node, `links` what is taken
    where.
    """

    host: Callable[[str], Any]
    scratch: Path
    target: Path
    links: Mapping[str, tuple[str, str]]
    packets: int | None = None
    """So many packets are kept of each link, the first ones; all, unless it is said."""
    _pieces: dict[str, list[_Piece]] = field(default_factory=dict)

    def start(self) -> None:
        """Begin on every link; return when all are capturing."""
        for link, (host, interface) in self.links.items():
            self._begin(link, host, interface)
        for pieces in self._pieces.values():
            _wait_for_begin(pieces[-1])

    def continue_on(self, link: str, interface: str) -> None:
        """Go on with a link on another interface as well, before that carries a packet."""
        self._begin(link, self.links[link][0], interface)
        _wait_for_begin(self._pieces[link][-1])

    def stop(self) -> None:
        """End all; write one file per link; raise TestbedError where a packet was dropped."""
        for pieces in self._pieces.values():
            for piece in pieces:
                piece.process.terminate()
        dropped = []
        for link, pieces in self._pieces.items():
            for piece in pieces:
                piece.process.wait(READY_WITHIN_S)
                dropped += [f"{link}: {line}" for line in _drops(piece.log)]
            self._write(link, [str(piece.path) for piece in pieces if piece.path.exists()])
        self._pieces.clear()
        if dropped:
            raise TestbedError(f"captures lost packets: {'; '.join(dropped)}")

    def _begin(self, link: str, host: str, interface: str) -> None:
        pieces = self._pieces.setdefault(link, [])
        path = self.scratch / f"{link}-{len(pieces)}.pcapng"
        log = path.with_suffix(".log")
        some = () if self.packets is None else ("-c", str(self.packets))
        with log.open("wb") as output:
            process = self.host(host).popen(
                [
                    *("dumpcap", "-q", "-i", interface, "-B", str(BUFFER_MIB)),
                    *("-w", str(path), *some),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        let_others_go_first(process.pid)
        pieces.append(_Piece(path, log, process))

    def _write(self, link: str, pieces: list[str]) -> None:
        path = self.target / f"{link}.pcapng"
        if len(pieces) == 1:
            path.write_bytes(Path(pieces[0]).read_bytes())
            return
        subprocess.run(["mergecap", "-w", str(path), *pieces], check=True, capture_output=True)


def _wait_for_begin(piece: _Piece) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while not (piece.path.exists() and b"File: " in piece.log.read_bytes()):
        if piece.process.poll() is not None or time.monotonic() > deadline:
            raise TestbedError(
                f"capture {piece.path.stem} does not begin: {piece.log.read_text().strip()}"
            )
        time.sleep(0.005)


def _drops(log: Path) -> list[str]:
    """Return dumpcap's own counts of packets that it could not keep."""
    return [
        line.strip()
        for line in log.read_text(errors="replace").splitlines()
        if "received/dropped on interface" in line and "/0 (" not in line
    ]
