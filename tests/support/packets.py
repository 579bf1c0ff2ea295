"""Build the lab's packets and capture files byte by byte, quickly, with real ESP."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

TCP, UDP, IPV6, ROUTING, ESP, ICMPV6, DESTINATION, MOBILITY = 6, 17, 41, 43, 50, 58, 60, 135

Content = tuple[int, bytes]
"""A protocol number and the bytes that it names."""


def packed(address: str) -> bytes:
    return IPv6Address(address).packed


def ethernet(content: Content) -> bytes:
    """Return a frame around an IPv6 packet."""
    assert content[0] == IPV6
    return bytes.fromhex("02000000000202000000000186dd") + content[1]


def ipv6(source: str, destination: str, content: Content, hop_limit: int = 64) -> Content:
    protocol, payload = content
    header = struct.pack("!IHBB", 6 << 28, len(payload), protocol, hop_limit)
    return IPV6, header + packed(source) + packed(destination) + payload


def udp(source_port: int, destination_port: int, payload: bytes) -> Content:
    header = struct.pack("!HHHH", source_port, destination_port, 8 + len(payload), 0)
    return UDP, header + payload


def home_address(address: str, content: Content) -> Content:
    options = b"\x01\x02\0\0" + b"\xc9\x10" + packed(address)
    return DESTINATION, bytes((content[0], 2)) + options + content[1]


def routing_header(address: str, content: Content) -> Content:
    return ROUTING, bytes((content[0], 2, 2, 1)) + bytes(4) + packed(address) + content[1]


def mobility(kind: int, data: bytes) -> Content:
    data = data.ljust(-(-(6 + len(data)) // 8) * 8 - 6, b"\0")
    return MOBILITY, struct.pack("!BBBBH", 59, (6 + len(data)) // 8 - 1, kind, 0, 0) + data


def icmpv6(kind: int, code: int, body: bytes) -> Content:
    return ICMPV6, struct.pack("!BBH", kind, code, 0) + body


def tcp(source_port: int, destination_port: int, sequence: int, payload: bytes) -> Content:
    ports = struct.pack("!HH", source_port, destination_port)
    return TCP, ports + struct.pack("!IIBBHHH", sequence, 1, 5 << 4, 0x18, 0, 0, 0) + payload


@dataclass(slots=True)
class Association:
    """An outbound AES-GCM SA with extended sequence numbers: each call is the next packet."""

    spi: int
    key: bytes = b"0123456789abcdefsalt"
    sequence: int = 0
    _cipher: AESGCM = field(init=False)

    def __post_init__(self) -> None:
        self._cipher = AESGCM(self.key[:-4])

    def seal(self, content: Content) -> Content:
        protocol, payload = content
        self.sequence += 1
        padding = -(len(payload) + 2) % 4
        plain = payload + bytes(range(1, padding + 1)) + bytes((padding, protocol))
        head = struct.pack("!II", self.spi, self.sequence)
        iv = self.sequence.to_bytes(8, "big")
        sealed = self._cipher.encrypt(self.key[-4:] + iv, plain, head[:4] + bytes(4) + head[4:])
        return ESP, head + iv + sealed

    @property
    def esp_sa_line(self) -> str:
        encryption = "AES-GCM with 16 octet ICV [RFC4106]"
        return f'"IPv6","*","*","{self.spi:#010x}","{encryption}","0x{self.key.hex()}","NULL",""\n'


def write_pcapng(path: Path, frames: Iterable[tuple[int, bytes]]) -> None:
    """Write (nanoseconds, frame) pairs in order of time."""
    blocks = [_block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))]
    blocks.append(
        _block(1, struct.pack("<HHI", 1, 0, 262144) + b"\x09\0\x01\0\x09\0\0\0" + bytes(4))
    )
    for time_ns, frame in sorted(frames, key=lambda item: item[0]):
        head = struct.pack("<IIIII", 0, time_ns >> 32, time_ns & 0xFFFFFFFF, len(frame), len(frame))
        blocks.append(_block(6, head + frame + bytes(-len(frame) % 4)))
    path.write_bytes(b"".join(blocks))


def _block(kind: int, body: bytes) -> bytes:
    length = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + length + body + length
