"""Tokens, keys and authenticators (mobivpn.mip6.keygen), against the definitions of RFC 2104."""

import hashlib
from ipaddress import IPv6Address

from mobivpn.mip6 import keygen

HOME = IPv6Address("2001:db8:ee::d1")
CARE_OF = IPv6Address("2001:db8:1::d1")
PEER = IPv6Address("2001:db8:ee::d2")


def hmac_sha1(key: bytes, data: bytes) -> bytes:
    """HMAC as RFC 2104 writes it down, independent of the library."""
    padded = key.ljust(64, b"\0")
    inner = hashlib.sha1(bytes(b ^ 0x36 for b in padded) + data).digest()
    return hashlib.sha1(bytes(b ^ 0x5C for b in padded) + inner).digest()


def test_keygen_tokens_are_those_of_section_5_2_5():
    kcn, nonce = bytes(range(20)), b"nonce..."
    home = keygen.keygen_token(kcn, HOME, nonce, keygen.TokenKind.HOME)
    care_of = keygen.keygen_token(kcn, CARE_OF, nonce, keygen.TokenKind.CARE_OF)
    assert home == hmac_sha1(kcn, HOME.packed + nonce + b"\0")[:8]
    assert care_of == hmac_sha1(kcn, CARE_OF.packed + nonce + b"\1")[:8]


def test_the_two_kinds_of_token_differ_for_the_same_address():
    home = keygen.keygen_token(b"k" * 20, HOME, b"n", keygen.TokenKind.HOME)
    assert home != keygen.keygen_token(b"k" * 20, HOME, b"n", keygen.TokenKind.CARE_OF)


def test_the_binding_management_key_is_a_hash_of_both_tokens_or_of_the_home_token():
    assert keygen.binding_management_key(b"h" * 8, b"c" * 8) == (
        hashlib.sha1(b"h" * 8 + b"c" * 8).digest()
    )
    assert keygen.binding_management_key(b"h" * 8, None) == hashlib.sha1(b"h" * 8).digest()


def test_the_authenticator_covers_both_addresses_and_the_message():
    kbm = bytes(range(20))
    value = keygen.authenticator(kbm, CARE_OF, PEER, b"message")
    assert value == hmac_sha1(kbm, CARE_OF.packed + PEER.packed + b"message")[:12]
