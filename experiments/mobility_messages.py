"""Every mobility message of a run, and what tshark and the checksum say of it (RFC 6275 6.1.1).

tshark shows the checksum and does not verify it; its addresses are the final ones, those of home
address option and type 2 routing header.
"""

import os
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path

from experiments.dissect import (
    Dissector,
    HomeAddress,
    Ipv6,
    Layer,
    Mobility,
    Quote,
    RoutingHeader,
)
from experiments.errors import ResultError
from experiments.esp_keys import read_esp_sa
from experiments.pcapng import read_frames
from mobivpn.mip6.codec import CHECKSUM, mobility_checksum

ROUTING_TYPE_2 = 2


@dataclass(frozen=True, slots=True)
class MobilityMessage:
    """A mobility header between its final addresses."""

    source: IPv6Address
    destination: IPv6Address
    data: bytes

    @property
    def checksum_is_right(self) -> bool:
        """Tell whether the checksum is that of addresses and message."""
        said = int.from_bytes(self.data[CHECKSUM], "big")
        return said == mobility_checksum(self.source, self.destination, self.data)


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one capture holds: by our reading, and by tshark's."""

    messages: int
    bad_checksums: int
    by_tshark: int
    malformed: int

    @property
    def faultless(self) -> bool:
        """Tell whether both found the same, and nothing wrong with it."""
        return self.messages == self.by_tshark and not self.bad_checksums and not self.malformed


def messages_in(capture: Path, keys: Path) -> Iterator[MobilityMessage]:
    """Yield the mobility messages of a capture in their order, those under ESP as well."""
    dissector = Dissector(read_esp_sa(keys))
    for frame in read_frames(capture):
        yield from _messages(dissector.layers(frame.data))


def _messages(layers: Iterable[Layer]) -> Iterator[MobilityMessage]:
    source = destination = b""
    for layer in layers:
        match layer:
            case Ipv6():
                source, destination = layer.source, layer.destination
            case HomeAddress(address):
                source = address
            case RoutingHeader(type=kind, address=address) if kind == ROUTING_TYPE_2:
                destination = address
            case Mobility(message=data):
                yield MobilityMessage(IPv6Address(source), IPv6Address(destination), data)
            case Quote():
                return
            case _:
                pass


def opinion(capture: Path, keys: Path, tshark: str = "tshark") -> Opinion:
    """Count a capture's mobility messages twice; raise ResultError where tshark cannot."""
    ours = list(messages_in(capture, keys))
    command = [tshark, "-n", "-r", str(capture), "-o", "esp.enable_encryption_decode:TRUE"]
    command += [
        "-Y",
        "mipv6 && !icmpv6",
        "-T",
        "fields",
        "-e",
        "mip6.mhtype",
        "-e",
        "_ws.malformed",
    ]
    # Its configuration is the keys' folder: on a command line every user could read them.
    environment = {**os.environ, "WIRESHARK_CONFIG_DIR": str(keys.parent)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise ResultError(f"{capture}: tshark: {done.stderr.strip().splitlines()[-1]}")
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    return Opinion(
        messages=len(ours),
        bad_checksums=sum(not message.checksum_is_right for message in ours),
        by_tshark=len(rows),
        malformed=sum(bool(row[1]) for row in rows),
    )
