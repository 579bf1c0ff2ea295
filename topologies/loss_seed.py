"""Seed the random losses of a device's netems: `python -m topologies.loss_seed DEVICE=SEED ...`

Linux 6.6 and later draw the losses of a qdisc from a generator of its own, which takes a seed
(TCA_NETEM_PRNG_SEED). The tc of Debian 12 is older than that, so this sends the kernel each qdisc
that it has, with another seed. To be replaced by tc's own word `seed` where tc knows it.
"""

import os
import socket
import struct
import sys
from collections.abc import Iterator

NLMSG = struct.Struct("=IHHII")
TCMSG = struct.Struct("=BxxxiIII")
ATTRIBUTE = struct.Struct("=HH")
NLMSG_ERROR, NLMSG_DONE = 2, 3
RTM_NEWQDISC, RTM_GETQDISC = 36, 38
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 1, 4, 0x300
TCA_KIND, TCA_OPTIONS = 1, 2
TCA_NETEM_PRNG_SEED = 14


def seed_losses(device: str, seed: int) -> None:
    """Let each netem of a device begin its losses anew from `seed` (64 bits) and its place.

    Raises OSError where there is no such device, no netem, or a kernel that does not seed.
    """
    index = socket.if_nametoindex(device)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        found = _netems(netlink, index)
        if not found:
            raise OSError(f"{device}: no netem on it")
        for parent, (handle, options) in found.items():
            wanted = _attribute(TCA_NETEM_PRNG_SEED, struct.pack("=Q", (seed + parent) % 2**64))
            if wanted in options:
                continue
            # Of an attribute that is there twice, the kernel takes the last.
            change = (
                TCMSG.pack(socket.AF_UNSPEC, index, handle, parent, 0)
                + _attribute(TCA_KIND, b"netem\0")
                + _attribute(TCA_OPTIONS, options + wanted)
            )
            _send(netlink, RTM_NEWQDISC, NLM_F_ACK, change)
            for _ in _answers(netlink):
                pass
            if wanted not in _netems(netlink, index)[parent][1]:
                raise OSError(f"{device}: this kernel does not seed netem (Linux 6.6 and later do)")


def _netems(netlink: socket.socket, index: int) -> dict[int, tuple[int, bytes]]:
    """Return handle and options of each netem of a device, by its place (parent)."""
    _send(netlink, RTM_GETQDISC, NLM_F_DUMP, TCMSG.pack(socket.AF_UNSPEC, index, 0, 0, 0))
    found: dict[int, tuple[int, bytes]] = {}
    for message in _answers(netlink):
        _, at, handle, parent, _ = TCMSG.unpack_from(message)
        attributes = dict(_attributes(message[TCMSG.size :]))
        if (at, attributes.get(TCA_KIND)) == (index, b"netem\0"):
            found[parent] = handle, attributes[TCA_OPTIONS]
    return found


def _send(netlink: socket.socket, kind: int, flags: int, body: bytes) -> None:
    header = NLMSG.pack(NLMSG.size + len(body), kind, NLM_F_REQUEST | flags, 1, 0)
    netlink.send(header + body)


def _answers(netlink: socket.socket) -> Iterator[bytes]:
    """Yield the bodies of all answers to one request; raise the error that ends them."""
    while True:
        datagram = netlink.recv(1 << 16)
        while datagram:
            length, kind, *_ = NLMSG.unpack_from(datagram)
            body, datagram = datagram[NLMSG.size : length], datagram[_aligned(length) :]
            if kind == NLMSG_DONE:
                return
            if kind == NLMSG_ERROR:
                (code,) = struct.unpack_from("=i", body)
                if code:
                    raise OSError(-code, os.strerror(-code))
                return
            yield body


def _attribute(kind: int, value: bytes) -> bytes:
    length = ATTRIBUTE.size + len(value)
    return ATTRIBUTE.pack(length, kind) + value + bytes(_aligned(length) - length)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= ATTRIBUTE.size:
        length, kind = ATTRIBUTE.unpack_from(data)
        yield kind, data[ATTRIBUTE.size : length]
        data = data[_aligned(length) :]


def _aligned(length: int) -> int:
    return (length + 3) & ~3


def main(arguments: list[str]) -> None:
    """Seed each device that is named."""
    for device, _, seed in (argument.partition("=") for argument in arguments):
        seed_losses(device, int(seed))


if __name__ == "__main__":
    main(sys.argv[1:])
