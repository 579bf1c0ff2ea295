"""The mobility messages of RFC 6275 section 6.1 as values."""

from dataclasses import dataclass, field
from enum import IntEnum
from ipaddress import IPv6Address

from mobivpn.errors import CallerError
from mobivpn.mip6.constants import LIFETIME_UNIT_S, MAX_LIFETIME_S

COOKIE_BYTES = 8
TOKEN_BYTES = 8
AUTHENTICATOR_BYTES = 12


class MessageType(IntEnum):
    """Mobility header types (RFC 6275 sections 6.1.2 to 6.1.9)."""

    BINDING_REFRESH_REQUEST = 0
    HOME_TEST_INIT = 1
    CARE_OF_TEST_INIT = 2
    HOME_TEST = 3
    CARE_OF_TEST = 4
    BINDING_UPDATE = 5
    BINDING_ACKNOWLEDGEMENT = 6
    BINDING_ERROR = 7


class Status(IntEnum):
    """Status of a binding acknowledgement; from 128 on the update was refused (section 6.1.8).

    A peer may send others: messages carry a plain integer.
    """

    ACCEPTED = 0
    ACCEPTED_PREFIX_DISCOVERY_NECESSARY = 1
    REASON_UNSPECIFIED = 128
    ADMINISTRATIVELY_PROHIBITED = 129
    INSUFFICIENT_RESOURCES = 130
    HOME_REGISTRATION_NOT_SUPPORTED = 131
    NOT_HOME_SUBNET = 132
    NOT_HOME_AGENT_FOR_THIS_NODE = 133
    DUPLICATE_ADDRESS_DETECTION_FAILED = 134
    SEQUENCE_NUMBER_OUT_OF_WINDOW = 135
    EXPIRED_HOME_NONCE_INDEX = 136
    EXPIRED_CARE_OF_NONCE_INDEX = 137
    EXPIRED_NONCES = 138
    REGISTRATION_TYPE_CHANGE_DISALLOWED = 139
    INVALID_CARE_OF_ADDRESS = 174


EXPIRED_NONCE_STATUSES = frozenset(
    {
        Status.EXPIRED_HOME_NONCE_INDEX,
        Status.EXPIRED_CARE_OF_NONCE_INDEX,
        Status.EXPIRED_NONCES,
    }
)
"""Nothing was authorised, so these acknowledgements carry no authorization data (9.5.4)."""


class ErrorStatus(IntEnum):
    """Status of a binding error (section 6.1.9)."""

    UNKNOWN_BINDING = 1
    UNRECOGNISED_MESSAGE_TYPE = 2


def whole_lifetime_s(seconds: float) -> int:
    """Return the longest lifetime (s) within `seconds` that the wire can carry."""
    return min(int(seconds) // LIFETIME_UNIT_S * LIFETIME_UNIT_S, MAX_LIFETIME_S)


def _check_bits(name: str, value: int, bits: int) -> None:
    if not 0 <= value < 1 << bits:
        raise CallerError(f"{name} {value} does not fit into {bits} bits")


def _check_length(name: str, value: bytes, length: int) -> None:
    if len(value) != length:
        raise CallerError(f"{name} has {len(value)} bytes, not {length}")


def _check_lifetime(name: str, value: int) -> None:
    if not 0 <= value <= MAX_LIFETIME_S or value % LIFETIME_UNIT_S:
        raise CallerError(f"{name} {value} s is no multiple of 4 s up to {MAX_LIFETIME_S} s")


@dataclass(frozen=True, slots=True)
class NonceIndices:
    """Which of the correspondent's nonces made the tokens (section 6.2.6)."""

    home: int
    care_of: int

    def __post_init__(self) -> None:
        _check_bits("home nonce index", self.home, 16)
        _check_bits("care-of nonce index", self.care_of, 16)


@dataclass(frozen=True, slots=True)
class BindingAuthorizationData:
    """The authenticator and what it covers of the mobility header (section 6.2.7).

    `covered` is the header as it was on the wire, checksum zero, up to the authenticator: a peer
    may pad, or add options, in its own way.
    """

    authenticator: bytes
    covered: bytes = field(default=b"", compare=False, repr=False)

    def __post_init__(self) -> None:
        _check_length("authenticator", self.authenticator, AUTHENTICATOR_BYTES)


@dataclass(frozen=True, slots=True)
class BindingRefreshRequest:
    """A correspondent asks for its binding to be renewed (section 6.1.2)."""


@dataclass(frozen=True, slots=True)
class _TestInit:
    cookie: bytes

    def __post_init__(self) -> None:
        _check_length("cookie", self.cookie, COOKIE_BYTES)


@dataclass(frozen=True, slots=True)
class HomeTestInit(_TestInit):
    """Asks for a home keygen token, through the home agent (section 6.1.3)."""


@dataclass(frozen=True, slots=True)
class CareOfTestInit(_TestInit):
    """Asks for a care-of keygen token, from the care-of address (section 6.1.4)."""


@dataclass(frozen=True, slots=True)
class _Test:
    nonce_index: int
    cookie: bytes
    keygen_token: bytes = field(repr=False)

    def __post_init__(self) -> None:
        _check_bits("nonce index", self.nonce_index, 16)
        _check_length("cookie", self.cookie, COOKIE_BYTES)
        _check_length("keygen token", self.keygen_token, TOKEN_BYTES)


@dataclass(frozen=True, slots=True)
class HomeTest(_Test):
    """Gives the home keygen token to whoever gets mail at the home address (section 6.1.5)."""


@dataclass(frozen=True, slots=True)
class CareOfTest(_Test):
    """Gives the care-of keygen token to whoever gets mail at the care-of address (6.1.6)."""


@dataclass(frozen=True, slots=True)
class BindingUpdate:
    """A mobile node's present care-of address (section 6.1.7); lifetime 0 deletes the binding."""

    sequence: int
    lifetime_s: int
    acknowledge: bool = True
    home_registration: bool = False
    link_local_compatibility: bool = False
    key_management: bool = False
    alternate_care_of_address: IPv6Address | None = None
    nonce_indices: NonceIndices | None = None
    authorization: BindingAuthorizationData | None = None

    def __post_init__(self) -> None:
        _check_bits("sequence number", self.sequence, 16)
        _check_lifetime("lifetime", self.lifetime_s)


@dataclass(frozen=True, slots=True)
class BindingAcknowledgement:
    """The answer to a binding update (section 6.1.8).

    `sequence` is the update's, or the last one that was accepted with status 135.
    """

    status: int
    sequence: int
    lifetime_s: int
    key_management: bool = False
    refresh_advice_s: int | None = None
    authorization: BindingAuthorizationData | None = None

    def __post_init__(self) -> None:
        _check_bits("status", self.status, 8)
        _check_bits("sequence number", self.sequence, 16)
        _check_lifetime("lifetime", self.lifetime_s)
        if self.refresh_advice_s is not None:
            _check_lifetime("refresh advice", self.refresh_advice_s)

    @property
    def accepted(self) -> bool:
        """Tell whether the update was accepted."""
        return self.status < Status.REASON_UNSPECIFIED


@dataclass(frozen=True, slots=True)
class BindingError:
    """A home address option without a binding, or a message of unknown type (section 6.1.9)."""

    status: int
    home_address: IPv6Address

    def __post_init__(self) -> None:
        _check_bits("status", self.status, 8)


@dataclass(frozen=True, slots=True)
class Unrecognised:
    """A well-formed mobility header of a type that nobody here knows: answered by an error."""

    message_type: int


SentMessage = (
    BindingRefreshRequest
    | HomeTestInit
    | CareOfTestInit
    | HomeTest
    | CareOfTest
    | BindingUpdate
    | BindingAcknowledgement
    | BindingError
)
Message = SentMessage | Unrecognised
