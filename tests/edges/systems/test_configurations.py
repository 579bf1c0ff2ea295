"""What other systems are told in a lab (experiments.systems)."""

import shutil
import subprocess

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from experiments.systems import strongswan, systems, wireguard
from mobivpn.variants import System
from topologies.addresses import PLAN

NAMES = ("sg", "mn1", "mn2", "mn3")


@pytest.fixture
def keys() -> dict[str, X25519PrivateKey]:
    return {name: X25519PrivateKey.generate() for name in NAMES}


def test_a_wireguard_node_sends_all_of_the_vpn_to_the_hub(keys: dict[str, X25519PrivateKey]):
    assert list(wireguard.configuration("mn1", keys, PLAN)) == [
        "[Interface]",
        f"PrivateKey = {wireguard.private(keys['mn1'])}",
        "ListenPort = 51820",
        "[Peer]",
        f"PublicKey = {wireguard.public(keys['sg'])}",
        "AllowedIPs = fd00:10::/64",
        "Endpoint = [2001:db8:5::5]:51820",
        "PersistentKeepalive = 25",
    ]


@pytest.mark.skipif(shutil.which("wg") is None, reason="wireguard-tools is not installed")
def test_keys_are_as_wg_makes_them(keys: dict[str, X25519PrivateKey]):
    private = wireguard.private(keys["mn1"])
    done = subprocess.run(
        ["wg", "pubkey"], input=private, capture_output=True, text=True, check=True
    )
    assert wireguard.public(keys["mn1"]) == done.stdout.strip()


def test_the_wireguard_hub_takes_of_each_node_its_own_address(keys: dict[str, X25519PrivateKey]):
    lines = list(wireguard.configuration("sg", keys, PLAN))
    assert lines.count("[Peer]") == 3
    assert [line for line in lines if line.startswith("AllowedIPs")] == [
        f"AllowedIPs = fd00:10::d{number}/128" for number in (1, 2, 3)
    ]
    assert not any(line.startswith("Endpoint") for line in lines)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", False), ("key\t0\n", False), ("key\t1700000000\n", True), ("a\t1\nb\t0\n", False)],
)
def test_a_tunnel_stands_when_its_handshake_is_done(text: str, expected: bool):
    assert wireguard.handshake_done(text) is expected


def test_a_strongswan_node_knows_its_own_secret_alone_and_the_hub_all():
    shared = {"mn1": "aa", "mn2": "bb", "mn3": "cc"}
    node, hub = ("\n".join(strongswan.configuration(n, shared, PLAN)) for n in ("mn1", "sg"))
    assert "0xaa" in node
    assert "0xbb" not in node
    assert "remote_addrs = 2001:db8:5::5" in node
    assert "local_ts = fd00:10::d1/128\n        remote_ts = fd00:10::/64" in node
    assert [hub.count(f"0x{secret}") for secret in shared.values()] == [1, 1, 1]
    assert "remote_addrs" not in hub
    assert "local_ts = fd00:10::/64\n        remote_ts = fd00:10::d3/128" in hub
    assert node.count("{") == node.count("}")
    assert hub.count("{") == hub.count("}")


@pytest.mark.parametrize("system", System)
def test_every_other_system_is_there(system: System):
    found = systems.load(system)
    assert (found is not None) is system.is_hub
