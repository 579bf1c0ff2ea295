"""Keyed hashes of the return routability procedure (RFC 6275 sections 5.2.5 and 5.2.6)."""

import hashlib
import hmac
from enum import Enum
from ipaddress import IPv6Address

from mobivpn.mip6.messages import AUTHENTICATOR_BYTES, TOKEN_BYTES


class TokenKind(Enum):
    """The octet that tells the two kinds of keygen token apart."""

    HOME = b"\0"
    CARE_OF = b"\1"


def _hmac_sha1(key: bytes, data: bytes) -> bytes:
    return hmac.new(key, data, hashlib.sha1).digest()


def keygen_token(key: bytes, address: IPv6Address, nonce: bytes, kind: TokenKind) -> bytes:
    """Return First(64, HMAC_SHA1(Kcn, address | nonce | 0 or 1)): the correspondent's token."""
    return _hmac_sha1(key, address.packed + nonce + kind.value)[:TOKEN_BYTES]


def binding_management_key(home_token: bytes, care_of_token: bytes | None) -> bytes:
    """Return Kbm; without a care-of token it authorises nothing but a deletion."""
    return hashlib.sha1(home_token + (care_of_token or b"")).digest()


def authenticator(
    key: bytes, care_of_address: IPv6Address, correspondent: IPv6Address, covered: bytes
) -> bytes:
    """Return First(96, HMAC_SHA1(Kbm, care-of address | correspondent | mobility header)).

    In a deletion the home address stands for the care-of address (section 6.2.7).
    """
    data = care_of_address.packed + correspondent.packed + covered
    return _hmac_sha1(key, data)[:AUTHENTICATOR_BYTES]
