"""Where the keys of a pair come from, as one of its ends is told (seed: "General", the secrets)."""

from dataclasses import dataclass, field

from mobivpn.errors import CallerError
from mobivpn.ipsec.minting import RandomBytes
from mobivpn.ipsec.sa import EspAlgorithm

X25519_BYTES = 32
"""The length of private and public keys (RFC 7748 section 5)."""


@dataclass(frozen=True, slots=True)
class GivenKeys:
    """The keying material of both associations, as their receiver is to use them."""

    inbound: bytes = field(repr=False)
    outbound: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeyAgreement:
    """The X25519 keys of which one end derives the keying material of both associations.

    Without `own_private_key` that end has made its pair itself, and nobody else has it.
    """

    own_public_key: bytes
    peer_public_key: bytes
    own_private_key: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for key in (self.own_public_key, self.peer_public_key, self.own_private_key):
            if key is not None:
                check_length(key)


PairKeys = GivenKeys | KeyAgreement


def check_length(key: bytes) -> None:
    """Raise CallerError for what is no X25519 key."""
    if len(key) != X25519_BYTES:
        raise CallerError(f"an X25519 key of {len(key)} bytes")


def shared_key(algorithm: EspAlgorithm, random_bytes: RandomBytes) -> tuple[bytes, bytes]:
    """Return the keying material of both directions around one key.

    Counters begin alike in both, and a nonce used twice under one key gives the key stream away:
    the salts have to differ (RFC 4106 section 8.1, RFC 7634 section 2).
    """
    one = random_bytes(algorithm.key_bytes)
    if not algorithm.transform.salt_bytes:
        return one, one
    return one, one[:-1] + bytes([one[-1] ^ 1])
