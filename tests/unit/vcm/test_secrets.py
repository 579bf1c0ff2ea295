"""The secrets of a pair, as each of its ends is told them (mobivpn.vcm.secrets)."""

from itertools import count

import pytest

from mobivpn.ipsec.keying import GivenKeys, KeyAgreement, PairKeys
from mobivpn.ipsec.sa import EspAlgorithm
from mobivpn.signalling.messages import SaProposal
from mobivpn.variants import KeyScheme
from mobivpn.vcm.secrets import make_secrets

PROPOSALS = (
    SaProposal((EspAlgorithm.AES256GCM16,), b"a" * 32),
    SaProposal((EspAlgorithm.AES256GCM16,), b"b" * 32),
)


def made(scheme: KeyScheme) -> tuple[PairKeys, PairKeys]:
    number = count(1)
    return make_secrets(
        scheme, EspAlgorithm.AES256GCM16, PROPOSALS, lambda length: bytes([next(number)]) * length
    )


@pytest.mark.parametrize("scheme", [KeyScheme.SHARED, KeyScheme.SEPARATE])
def test_what_one_end_sends_by_the_other_receives_by(scheme: KeyScheme):
    first, second = made(scheme)
    assert isinstance(first, GivenKeys)
    assert second == GivenKeys(first.outbound, first.inbound)


def test_one_key_for_both_directions_or_a_key_for_each():
    shared, _ = made(KeyScheme.SHARED)
    separate, _ = made(KeyScheme.SEPARATE)
    assert shared == GivenKeys(inbound=b"\1" * 35 + b"\0", outbound=b"\1" * 36)
    assert separate == GivenKeys(inbound=b"\2" * 36, outbound=b"\1" * 36)


def test_each_node_gets_a_key_pair_and_the_public_key_of_the_other():
    first, second = made(KeyScheme.ASYMMETRIC)
    assert isinstance(first, KeyAgreement)
    assert isinstance(second, KeyAgreement)
    assert (first.own_private_key, second.own_private_key) == (b"\1" * 32, b"\2" * 32)
    assert (first.own_public_key, first.peer_public_key) == (
        second.peer_public_key,
        second.own_public_key,
    )
    assert first.own_public_key != second.own_public_key


def test_of_nodes_with_keys_of_their_own_only_public_keys_are_passed_on():
    assert made(KeyScheme.BLIND) == (
        KeyAgreement(b"a" * 32, b"b" * 32),
        KeyAgreement(b"b" * 32, b"a" * 32),
    )
