"""What is logged of an association opens its packets: those that scapy seals (agents.key_log)."""

from pathlib import Path

import pytest
from scapy.layers import ipsec
from scapy.layers.inet import UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.ipsec import ESP

from agents.key_log import KeyLog
from experiments.errors import ResultError
from experiments.esp_keys import read_esp_sa
from mobivpn.ipsec.sa import EspAlgorithm, SecurityAssociation
from tests.support.offers import minted

SCAPY = {
    EspAlgorithm.AES256GCM16: "AES-GCM",
    EspAlgorithm.AES128GCM16: "AES-GCM",
    EspAlgorithm.CHACHA20POLY1305: "CHACHA20-POLY1305",
    EspAlgorithm.AES256_SHA256: "AES-CBC",
    EspAlgorithm.AES128_SHA256: "AES-CBC",
}


@pytest.mark.parametrize("algorithm", EspAlgorithm)
def test_what_the_key_log_says_of_an_algorithm_opens_its_packets(
    tmp_path: Path, algorithm: EspAlgorithm
):
    path = tmp_path / "esp_sa"
    sa = minted(algorithm=algorithm).forward
    KeyLog(path).add(sa)
    keys = read_esp_sa(path)
    inner = IPv6(src="fd00:10::d1", dst="fd00:10::d2") / UDP() / b"abc"
    for extended in (True, False):
        packet = scapy_association(sa, extended).encrypt(inner)
        opened = keys.decrypt(bytes(packet[ESP]))
        assert opened == (41, bytes(inner))
    damaged = bytearray(bytes(packet[ESP]))
    damaged[20] ^= 1
    assert keys.decrypt(bytes(damaged)) is None


def scapy_association(sa: SecurityAssociation, extended: bool) -> ipsec.SecurityAssociation:
    """Return scapy's association with the same keys."""
    its = sa.algorithm.transform
    integrity = {}
    if its.integrity:
        integrity = {"auth_algo": "SHA2-256-128", "auth_key": sa.key[its.key_bytes :]}
    return ipsec.SecurityAssociation(
        ESP,
        spi=int(sa.spi),
        seq_num=7,
        crypt_algo=SCAPY[sa.algorithm],
        crypt_key=sa.key[: its.key_bytes + its.salt_bytes],
        tunnel_header=IPv6(src=str(sa.source), dst=str(sa.destination)),
        esn_en=extended,
        esn=0,
        **integrity,
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("AES-CBC [RFC3602]", "DES-CBC"), "encryption 'DES-CBC' is none of 'AES-GCM"),
        (("HMAC-SHA-256-128 [RFC4868]", "NULL"), "authentication 'NULL' instead of 'HMAC-SHA"),
        (('"0x', '"0y'), "non-hexadecimal"),
    ],
)
def test_a_line_that_is_of_no_association_is_told_by_its_number(
    tmp_path: Path, change: tuple[str, str], told: str
):
    path = tmp_path / "esp_sa"
    KeyLog(path).add(minted(algorithm=EspAlgorithm.AES256_SHA256).forward)
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(ResultError, match=f"line 1: {told}"):
        read_esp_sa(path)
