"""WireGuard, the kernel's, hub and spoke: settings as wg-quick(8) would have them.

Every node's tunnel stands from the beginning on, inside as well, kept by a keepalive every 25 s (as
wg(8) advises for who roams). Nobody tells WireGuard of a movement: the first packet from another
address does.
"""

import base64
import subprocess
from collections.abc import Iterator

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from experiments.systems.systems import HUB, OtherSystem, Surroundings
from mobivpn.host.node_databases import VPN_DEVICE
from topologies.addresses import Plan
from topologies.topo import in_host

PORT = 51820
KEEPALIVE_S = 25


def start(given: Surroundings) -> None:
    """Make a key and a device for the hub and for every node."""
    names = (HUB, *(node.name for node in given.plan.company.nodes))
    keys = {name: X25519PrivateKey.generate() for name in names}
    for name in names:
        lines = "\n".join(configuration(name, keys, given.plan))
        in_host(
            given.host(name),
            f"ip link add {VPN_DEVICE} type wireguard\n"
            f"wg setconf {VPN_DEVICE} /proc/self/fd/0 <<END\n{lines}\nEND\n"
            f"ip link set {VPN_DEVICE} up\n",
        )


def configuration(name: str, keys: dict[str, X25519PrivateKey], plan: Plan) -> Iterator[str]:
    """Yield the lines of one host's configuration (wg(8)): every node has one peer, the hub all."""
    company = plan.company
    yield from ("[Interface]", f"PrivateKey = {private(keys[name])}", f"ListenPort = {PORT}")
    for peer in (node for node in company.nodes if name == HUB):
        yield from ("[Peer]", f"PublicKey = {public(keys[peer.name])}")
        yield f"AllowedIPs = {peer.internal_home_address}/128"
    if name != HUB:
        yield from ("[Peer]", f"PublicKey = {public(keys[HUB])}")
        yield f"AllowedIPs = {company.vpn_prefix}"
        yield f"Endpoint = [{company.security_gateway}]:{PORT}"
        yield f"PersistentKeepalive = {KEEPALIVE_S}"


def private(key: X25519PrivateKey) -> str:
    """Return a private key as wg(8) writes it."""
    raw = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    return base64.b64encode(raw).decode()


def public(key: X25519PrivateKey) -> str:
    """Return the public key that belongs to a private one, as wg(8) writes it."""
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return base64.b64encode(raw).decode()


def is_up(given: Surroundings, name: str) -> bool:
    """Tell whether a node's handshake with the hub is done."""
    command = ["wg", "show", VPN_DEVICE, "latest-handshakes"]
    process = given.host(name).popen(command, stdout=subprocess.PIPE)
    return handshake_done(process.communicate()[0].decode())


def handshake_done(text: str) -> bool:
    """Tell whether all peers have a last handshake, as `wg show` tells it: seconds, 0 for none."""
    times = [line.split()[1] for line in text.splitlines()]
    return bool(times) and "0" not in times


SYSTEM = OtherSystem(
    udp_ports=frozenset({PORT}), outside_device=VPN_DEVICE, start=start, is_up=is_up
)
