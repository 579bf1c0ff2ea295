"""Capture files, as we, scapy and dumpcap's relatives write them."""

import struct
from pathlib import Path

import pytest
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.utils import PcapNgWriter

from experiments.errors import ResultError
from experiments.pcapng import RawFrame, read_frames
from tests.support.packets import write_pcapng


def test_nanoseconds_and_bytes_are_exact(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    frames = [(1_767_225_600_123_456_789, b"abc" * 9), (1_767_225_600_123_456_790, b"x" * 14)]
    write_pcapng(path, frames)
    assert list(read_frames(path)) == [RawFrame(*frame) for frame in frames]


def test_scapys_files_are_read(tmp_path: Path) -> None:
    path = str(tmp_path / "a.pcapng")
    packet = Ether(dst="02:00:00:00:00:01", src="02:00:00:00:00:02") / IPv6()
    packet.time = 1_767_225_600.5
    with PcapNgWriter(path) as writer:
        writer.write(packet)
    assert list(read_frames(Path(path))) == [RawFrame(1_767_225_600_500_000_000, bytes(packet))]


def test_big_endian_files_with_other_time_units_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"

    def block(kind: int, body: bytes) -> bytes:
        length = struct.pack(">I", len(body) + 12)
        return struct.pack(">I", kind) + length + body + length

    options = struct.pack(">HHB3xHHqHH", 9, 1, 0x8A, 14, 8, 5, 0, 0)
    path.write_bytes(
        block(0x0A0D0D0A, struct.pack(">IHHq", 0x1A2B3C4D, 1, 0, -1))
        + block(1, struct.pack(">HHI", 1, 0, 0) + options)
        + block(5, bytes(12))
        + block(6, struct.pack(">IIIII", 0, 0, 512, 3, 3) + b"abc\0")
    )
    assert list(read_frames(path)) == [RawFrame(5_500_000_000, b"abc")]


def test_an_empty_capture_has_no_frames(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    write_pcapng(path, [])
    assert list(read_frames(path)) == []


@pytest.mark.parametrize("keep", [0, 3, 11, 40, -1, -5])
def test_a_damaged_file_is_told(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "a.pcapng"
    write_pcapng(path, [(1, b"abc" * 9)])
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ResultError, match=r"a\.pcapng: (damaged capture|not a pcapng file)"):
        list(read_frames(path))


def test_another_link_type_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    write_pcapng(path, [])
    data = bytearray(path.read_bytes())
    data[36] = 113
    path.write_bytes(data)
    with pytest.raises(ResultError, match="link type 113 instead of Ethernet"):
        list(read_frames(path))
