"""Where the keys of a pair come from (mobivpn.ipsec.keying, mobivpn.ipsec.key_agreement)."""

import hmac
from dataclasses import replace
from ipaddress import IPv6Address

import pytest

from mobivpn.errors import CallerError, PeerError
from mobivpn.ipsec.key_agreement import Derivation, KeyPair, agreed_secret
from mobivpn.ipsec.keying import GivenKeys, KeyAgreement, shared_key
from mobivpn.ipsec.sa import AssociationPlan, EspAlgorithm, Spi
from tests.support.company import DifferentBytes
from tests.support.offers import minted, plan_of

PLAN = plan_of(minted().forward)


def derivation(key: bytes = bytes(32), pair: int = 1, generation: int = 1) -> Derivation:
    return Derivation(KeyAgreement(b"\1" * 32, b"\2" * 32), key, pair, generation)


def test_x25519_is_that_of_rfc_7748():
    # Section 6.1.
    secret = bytes.fromhex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")
    private_keys = [
        bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"),
        bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"),
    ]
    alice, bob = (KeyPair.fresh(lambda _, key=key: key) for key in private_keys)  # type: ignore[misc]
    assert alice.public_key.hex().startswith("8520f0098930a754748b7ddcb43ef75a")
    assert bob.public_key.hex().startswith("de9edb7d7b7dc1b4d35b61c2ece43537")
    assert agreed_secret(alice.private_key, bob.public_key) == secret
    assert agreed_secret(bob.private_key, alice.public_key) == secret


def test_a_public_key_that_leaves_nothing_to_share_is_the_peers_fault():
    with pytest.raises(PeerError, match="bad-public-key"):
        agreed_secret(b"\7" * 32, bytes(32))


def test_keying_material_is_derived_by_hkdf_over_all_that_tells_an_association_from_others():
    secret, plan = b"\5" * 32, replace(PLAN, algorithm=EspAlgorithm.AES256_SHA256)
    info = (
        b"mobivpn SA"
        + (1).to_bytes(8, "big")
        + (2).to_bytes(8, "big")
        + plan.spi.to_bytes(4, "big")
        + plan.source.packed
        + plan.destination.packed
        + b"\1" * 32
        + b"\2" * 32
        + b"aes256-sha256"
    )
    # RFC 5869, written out.
    extracted = hmac.digest(bytes(32), secret, "sha256")
    first = hmac.digest(extracted, info + b"\1", "sha256")
    second = hmac.digest(extracted, first + info + b"\2", "sha256")
    assert derivation(secret, generation=2).outbound(plan).key == first + second


def test_both_ends_derive_the_same_keys():
    random_bytes = DifferentBytes()
    one, other = KeyPair.fresh(random_bytes), KeyPair.fresh(random_bytes)
    first, second = (
        Derivation(
            KeyAgreement(own.public_key, peer.public_key),
            agreed_secret(own.private_key, peer.public_key),
            1,
            1,
        )
        for own, peer in ((one, other), (other, one))
    )
    sas = minted()
    there, back = plan_of(sas.forward), plan_of(sas.backward)
    assert first.outbound(there) == second.inbound(there)
    assert first.inbound(back) == second.outbound(back)


def test_no_two_associations_have_one_key():
    plans: list[tuple[Derivation, AssociationPlan]] = [
        (derivation(), PLAN),
        (derivation(pair=2), PLAN),
        (derivation(generation=2), PLAN),
        (derivation(b"\1" * 32), PLAN),
        (derivation(), replace(PLAN, spi=Spi(PLAN.spi + 1))),
        (derivation(), replace(PLAN, source=IPv6Address("2001:db8::1"))),
        (derivation(), replace(PLAN, destination=IPv6Address("2001:db8::1"))),
        (derivation(), replace(PLAN, algorithm=EspAlgorithm.CHACHA20POLY1305)),
    ]
    keys = [d.outbound(plan).key for d, plan in plans] + [derivation().inbound(PLAN).key]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("algorithm", EspAlgorithm)
def test_one_key_for_both_directions_has_a_salt_for_each(algorithm: EspAlgorithm):
    one, other = shared_key(algorithm, DifferentBytes())
    salt_bytes = algorithm.transform.salt_bytes
    assert len(one) == len(other) == algorithm.key_bytes
    assert one[: len(one) - salt_bytes] == other[: len(one) - salt_bytes]
    assert (one == other) == (salt_bytes == 0)


@pytest.mark.parametrize("keys", [(b"", bytes(32)), (bytes(32), b""), (bytes(32), bytes(32), b"")])
def test_keys_of_another_length_are_refused(keys: tuple[bytes, ...]):
    with pytest.raises(CallerError, match="an X25519 key of 0 bytes"):
        KeyAgreement(*keys)


def test_no_secret_is_shown():
    shown = repr(
        (
            GivenKeys(b"secret", b"secret"),
            KeyAgreement(bytes(32), bytes(32), b"secret" + bytes(26)),
            KeyPair(b"secret", b""),
            derivation(b"secret"),
        )
    )
    assert "secret'" not in shown
    assert "b'secret" not in shown
