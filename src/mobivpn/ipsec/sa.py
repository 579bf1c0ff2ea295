"""Security associations: simplex ones, ESP or AH, as their ends know them (RFC 4301 4.4.2)."""

from collections.abc import Hashable
from dataclasses import dataclass, field, fields
from enum import Enum
from ipaddress import IPv6Address, IPv6Network

from mobivpn.errors import CallerError
from mobivpn.ipsec.databases import Rank
from mobivpn.ipsec.selector import TrafficSelector

LOWEST_SPI = 256
"""SPIs 1 to 255 are reserved (RFC 4303 section 2.1)."""


class Mode(Enum):
    """ESP encapsulation mode (RFC 9061 `mode`)."""

    TRANSPORT = "transport"
    TUNNEL = "tunnel"


@dataclass(frozen=True, slots=True)
class Transform:
    """What an ESP algorithm consists of: IKEv2's numbers (RFC 7296 section 3.3.2), sizes in bytes.

    An `integrity` of 0 is none: the algorithm is of combined mode, and needs a salt instead.
    """

    encryption: int
    key_bytes: int
    iv_bytes: int = 8
    block_bytes: int = 4
    """What payload and trailer are padded to (RFC 4303 section 2.4)."""
    salt_bytes: int = 4
    integrity: int = 0
    integrity_key_bytes: int = 0
    icv_bytes: int = 16


ENCR_AES_CBC, ENCR_AES_GCM_16, ENCR_CHACHA20_POLY1305 = 12, 20, 28
AUTH_HMAC_SHA2_256_128 = 12


def _cbc_with_hmac(key_bytes: int) -> Transform:
    """Return AES-CBC (RFC 3602) with HMAC-SHA-256-128 (RFC 4868)."""
    return Transform(
        ENCR_AES_CBC,
        key_bytes,
        iv_bytes=16,
        block_bytes=16,
        salt_bytes=0,
        integrity=AUTH_HMAC_SHA2_256_128,
        integrity_key_bytes=32,
    )


class EspAlgorithm(Enum):
    """ESP algorithms by strongSwan's proposal names, the one that is liked best first."""

    AES256GCM16 = "aes256gcm16"
    AES128GCM16 = "aes128gcm16"
    CHACHA20POLY1305 = "chacha20poly1305"
    AES256_SHA256 = "aes256-sha256"
    AES128_SHA256 = "aes128-sha256"

    @property
    def transform(self) -> Transform:
        """What it consists of."""
        return _TRANSFORMS[self]

    @property
    def key_bytes(self) -> int:
        """Length of the keying material in bytes.

        The key, then the salt (RFC 4106 section 8.1, RFC 7634 section 2) or the key of the
        integrity algorithm (RFC 7296 section 2.17).
        """
        its = self.transform
        return its.key_bytes + its.salt_bytes + its.integrity_key_bytes


_TRANSFORMS = {
    EspAlgorithm.AES256GCM16: Transform(ENCR_AES_GCM_16, 32),
    EspAlgorithm.AES128GCM16: Transform(ENCR_AES_GCM_16, 16),
    EspAlgorithm.CHACHA20POLY1305: Transform(ENCR_CHACHA20_POLY1305, 32),
    EspAlgorithm.AES256_SHA256: _cbc_with_hmac(32),
    EspAlgorithm.AES128_SHA256: _cbc_with_hmac(16),
}


class Spi(int):
    """A security parameters index, 256 to 2^32 - 1 (RFC 4303 section 2.1)."""

    def __new__(cls, value: int) -> "Spi":
        if not LOWEST_SPI <= value < 2**32:
            raise CallerError(f"SPI {value} is outside {LOWEST_SPI}..2^32-1")
        return super().__new__(cls, value)

    def __repr__(self) -> str:
        return f"Spi({int(self):#010x})"


@dataclass(frozen=True, slots=True)
class AssociationPlan:
    """All of a SAD entry but its secret: `source` encrypts, `destination` decrypts.

    `reqid` ties it to the policies that use it. `inner_source` and `inner_destination`, when given,
    are the SA's own selector: what it may carry. `anti_replay_window` counts packets; extended
    sequence numbers are always on.
    """

    name: str
    reqid: int
    spi: Spi
    source: IPv6Address
    destination: IPv6Address
    mode: Mode
    algorithm: EspAlgorithm
    inner_source: IPv6Network | None = None
    inner_destination: IPv6Network | None = None
    anti_replay_window: int = 1024

    def __post_init__(self) -> None:
        if not 0 < self.anti_replay_window <= 4096:
            raise CallerError(f"SA {self.name}: anti-replay window {self.anti_replay_window}")

    def keyed(self, key: bytes) -> "SecurityAssociation":
        """Return the association with its keying material."""
        planned = {field.name: getattr(self, field.name) for field in fields(AssociationPlan)}
        return SecurityAssociation(**planned, key=key)


@dataclass(frozen=True, slots=True)
class SecurityAssociation(AssociationPlan):
    """One SAD entry (RFC 9061 `sad-entry`); `key` is the keying material of its algorithm.

    What an inbound one with a `mark` has decrypted bears that, for the policies to tell it.
    """

    key: bytes = field(repr=False, kw_only=True)
    mark: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        AssociationPlan.__post_init__(self)
        if len(self.key) != self.algorithm.key_bytes:
            raise CallerError(
                f"SA {self.name}: {self.algorithm.value} needs {self.algorithm.key_bytes} bytes of "
                f"keying material, got {len(self.key)}"
            )

    @property
    def rank(self) -> Rank:
        """Associations stand before the policies that use them."""
        return Rank.ASSOCIATION

    @property
    def identity(self) -> Hashable:
        """An SA is looked up by SPI and destination (RFC 4301 section 4.1)."""
        return ("esp", self.destination, self.spi)


class AhAlgorithm(Enum):
    """AH algorithms by strongSwan's proposal names."""

    SHA256_128 = "sha256_128"
    """HMAC-SHA2-256 with 128 bits of it sent (RFC 4868)."""

    @property
    def key_bytes(self) -> int:
        """Length of the key in bytes: always that of the hash (RFC 4868 section 2.1.1)."""
        return {AhAlgorithm.SHA256_128: 32}[self]


@dataclass(frozen=True, slots=True)
class AuthenticationAssociation:
    """One SAD entry for AH in transport mode (RFC 4302): `source` signs, `destination` verifies.

    `destination` may be a group: all of its members then hold the one key, and any of them could
    sign as well. `selector` is what the association may carry, seen from `destination`. What a
    receiver has verified bears its `mark`, for programs to see. `anti_replay_window` counts
    packets; extended sequence numbers are always on.
    """

    name: str
    reqid: int
    spi: Spi
    source: IPv6Address
    destination: IPv6Address
    selector: TrafficSelector
    algorithm: AhAlgorithm
    key: bytes = field(repr=False)
    mark: int | None = None
    anti_replay_window: int = 64

    def __post_init__(self) -> None:
        if len(self.key) != self.algorithm.key_bytes:
            raise CallerError(
                f"SA {self.name}: {self.algorithm.value} needs a key of {self.algorithm.key_bytes} "
                f"bytes, got {len(self.key)}"
            )

    @property
    def rank(self) -> Rank:
        """Associations stand before the policies that use them."""
        return Rank.ASSOCIATION

    @property
    def identity(self) -> Hashable:
        """An SA is looked up by SPI and destination (RFC 4301 section 4.1)."""
        return ("ah", self.destination, self.spi)
