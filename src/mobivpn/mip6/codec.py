"""Mobility messages on the wire (RFC 6275 sections 6.1 and 6.2).

The decoder is liberal where the RFC says so (unknown options are skipped, reserved bits ignored)
and strict elsewhere: what does not parse is a `MalformedError` with a reason to count it by.
"""

import hmac
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv6Address
from typing import TypeVar, assert_never

from mobivpn.errors import MalformedError
from mobivpn.mip6 import keygen
from mobivpn.mip6.constants import LIFETIME_UNIT_S
from mobivpn.mip6.messages import (
    AUTHENTICATOR_BYTES,
    COOKIE_BYTES,
    BindingAcknowledgement,
    BindingAuthorizationData,
    BindingError,
    BindingRefreshRequest,
    BindingUpdate,
    CareOfTest,
    CareOfTestInit,
    HomeTest,
    HomeTestInit,
    Message,
    MessageType,
    NonceIndices,
    SentMessage,
    Unrecognised,
)

IPPROTO_NONE = 59
IPPROTO_MH = 135
FIXED_BYTES = 6
"""Payload protocol, header length, type, reserved and checksum: before the message data."""
CHECKSUM = slice(4, 6)

PAD1, PADN, REFRESH_ADVICE, ALTERNATE_CARE_OF_ADDRESS, NONCE_INDICES, AUTHORIZATION = range(6)

_ALIGNMENT: Mapping[int, tuple[int, int]] = {
    REFRESH_ADVICE: (2, 0),
    ALTERNATE_CARE_OF_ADDRESS: (8, 6),
    NONCE_INDICES: (2, 0),
    AUTHORIZATION: (8, 2),
}
"""An option of type t begins at x n + y octets from the header's start (section 6.2)."""

_LENGTH: Mapping[int, int] = {
    REFRESH_ADVICE: 2,
    ALTERNATE_CARE_OF_ADDRESS: 16,
    NONCE_INDICES: 4,
    AUTHORIZATION: AUTHENTICATOR_BYTES,
}

ACKNOWLEDGE, HOME_REGISTRATION, LINK_LOCAL, KEY_MANAGEMENT = 0x8000, 0x4000, 0x2000, 0x1000
ACKNOWLEDGEMENT_KEY_MANAGEMENT = 0x80

Authorised = TypeVar("Authorised", BindingUpdate, BindingAcknowledgement)


def mobility_checksum(source: IPv6Address, destination: IPv6Address, data: bytes) -> int:
    """Return the checksum of a mobility header whose checksum field is taken as zero (6.1.1).

    The addresses are the final ones: home addresses where a home address option or a type 2 routing
    header carries them.
    """
    pseudo_header = source.packed + destination.packed + struct.pack("!I3xB", len(data), IPPROTO_MH)
    words = pseudo_header + data[: CHECKSUM.start] + data[CHECKSUM.stop :]
    total: int = sum(struct.unpack(f"!{len(words) // 2}H", words))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def encode(message: SentMessage, source: IPv6Address, destination: IPv6Address) -> bytes:
    """Return the whole mobility header, checksum included."""
    data = _header(message)
    checksum = mobility_checksum(source, destination, data)
    return data[: CHECKSUM.start] + checksum.to_bytes(2, "big") + data[CHECKSUM.stop :]


def authorise(
    message: Authorised, key: bytes, care_of_address: IPv6Address, correspondent: IPv6Address
) -> Authorised:
    """Return `message` with binding authorization data made with the binding management key."""
    blank = BindingAuthorizationData(bytes(AUTHENTICATOR_BYTES))
    covered = _header(replace(message, authorization=blank))[:-AUTHENTICATOR_BYTES]
    value = keygen.authenticator(key, care_of_address, correspondent, covered)
    return replace(message, authorization=BindingAuthorizationData(value, covered))


def is_authentic(
    message: BindingUpdate | BindingAcknowledgement,
    key: bytes,
    care_of_address: IPv6Address,
    correspondent: IPv6Address,
) -> bool:
    """Tell whether the message carries authorization data that was made with `key`."""
    if message.authorization is None:
        return False
    expected = keygen.authenticator(
        key, care_of_address, correspondent, message.authorization.covered
    )
    return hmac.compare_digest(expected, message.authorization.authenticator)


def decode(data: bytes) -> Message:
    """Return the message in a mobility header; raise MalformedError with the reason.

    The checksum is not verified: the kernel does it before a raw socket gets the packet.
    """
    if len(data) < 8:
        raise MalformedError("truncated", f"{len(data)} bytes")
    payload_protocol, units, message_type = data[0], data[1], data[2]
    if payload_protocol != IPPROTO_NONE:
        raise MalformedError("payload-protocol", str(payload_protocol))
    length = 8 * (units + 1)
    if len(data) < length:
        raise MalformedError("truncated", f"{len(data)} of {length} bytes")
    # RFC 8200 section 4.7: octets after "no next header" are ignored.
    data = data[:length]
    if message_type not in _DECODERS:
        return Unrecognised(message_type)
    fixed_bytes, decoder = _DECODERS[MessageType(message_type)]
    if length < FIXED_BYTES + fixed_bytes:
        raise MalformedError("header-length", f"{length} bytes, type {message_type}")
    options_at = FIXED_BYTES + fixed_bytes
    return decoder(data[FIXED_BYTES:options_at], _read_options(data, options_at))


@dataclass(slots=True)
class _Options:
    refresh_advice_s: int | None = None
    alternate_care_of_address: IPv6Address | None = None
    nonce_indices: NonceIndices | None = None
    authorization: BindingAuthorizationData | None = None


def _header(message: SentMessage) -> bytes:
    message_type, fixed, options = _parts(message)
    data = bytearray((IPPROTO_NONE, 0, message_type, 0, 0, 0)) + fixed
    for kind, value in options:
        _pad(data, *_ALIGNMENT[kind])
        data += bytes((kind, len(value))) + value
    _pad(data, 8, 0)
    data[1] = len(data) // 8 - 1
    return bytes(data)


def _pad(data: bytearray, multiple: int, offset: int) -> None:
    missing = (offset - len(data)) % multiple
    if missing == 1:
        data += bytes((PAD1,))
    elif missing:
        data += bytes((PADN, missing - 2)) + bytes(missing - 2)


def _parts(message: SentMessage) -> tuple[MessageType, bytes, list[tuple[int, bytes]]]:
    match message:
        case BindingRefreshRequest():
            return MessageType.BINDING_REFRESH_REQUEST, bytes(2), []
        case HomeTestInit():
            return MessageType.HOME_TEST_INIT, bytes(2) + message.cookie, []
        case CareOfTestInit():
            return MessageType.CARE_OF_TEST_INIT, bytes(2) + message.cookie, []
        case HomeTest():
            return MessageType.HOME_TEST, _test(message), []
        case CareOfTest():
            return MessageType.CARE_OF_TEST, _test(message), []
        case BindingUpdate():
            return _update(message)
        case BindingAcknowledgement():
            return _acknowledgement(message)
        case BindingError():
            fixed = bytes((message.status, 0)) + message.home_address.packed
            return MessageType.BINDING_ERROR, fixed, []
        case _:  # pragma: no cover
            assert_never(message)


def _test(message: HomeTest | CareOfTest) -> bytes:
    return message.nonce_index.to_bytes(2, "big") + message.cookie + message.keygen_token


def _update(message: BindingUpdate) -> tuple[MessageType, bytes, list[tuple[int, bytes]]]:
    flags = (
        (ACKNOWLEDGE if message.acknowledge else 0)
        | (HOME_REGISTRATION if message.home_registration else 0)
        | (LINK_LOCAL if message.link_local_compatibility else 0)
        | (KEY_MANAGEMENT if message.key_management else 0)
    )
    fixed = struct.pack("!HHH", message.sequence, flags, message.lifetime_s // LIFETIME_UNIT_S)
    options: list[tuple[int, bytes]] = []
    if message.alternate_care_of_address is not None:
        options.append((ALTERNATE_CARE_OF_ADDRESS, message.alternate_care_of_address.packed))
    if message.nonce_indices is not None:
        indices = message.nonce_indices
        options.append((NONCE_INDICES, struct.pack("!HH", indices.home, indices.care_of)))
    if message.authorization is not None:
        options.append((AUTHORIZATION, message.authorization.authenticator))
    return MessageType.BINDING_UPDATE, fixed, options


def _acknowledgement(
    message: BindingAcknowledgement,
) -> tuple[MessageType, bytes, list[tuple[int, bytes]]]:
    flags = ACKNOWLEDGEMENT_KEY_MANAGEMENT if message.key_management else 0
    units = message.lifetime_s // LIFETIME_UNIT_S
    fixed = struct.pack("!BBHH", message.status, flags, message.sequence, units)
    options: list[tuple[int, bytes]] = []
    if message.refresh_advice_s is not None:
        interval = message.refresh_advice_s // LIFETIME_UNIT_S
        options.append((REFRESH_ADVICE, interval.to_bytes(2, "big")))
    if message.authorization is not None:
        options.append((AUTHORIZATION, message.authorization.authenticator))
    return MessageType.BINDING_ACKNOWLEDGEMENT, fixed, options


def _read_options(data: bytes, position: int) -> _Options:
    found = _Options()
    seen: set[int] = set()
    while position < len(data):
        kind = data[position]
        if AUTHORIZATION in seen:
            raise MalformedError("authorization-not-last")
        if kind == PAD1:
            position += 1
            continue
        if position + 2 > len(data) or position + 2 + data[position + 1] > len(data):
            raise MalformedError("option-truncated", f"option {kind}")
        value_at, length = position + 2, data[position + 1]
        position = value_at + length
        if kind not in _LENGTH:
            continue
        if length != _LENGTH[kind]:
            raise MalformedError("option-length", f"option {kind} of {length} bytes")
        if kind in seen:
            raise MalformedError("option-twice", f"option {kind}")
        seen.add(kind)
        _read_option(found, kind, data, value_at)
    return found


def _read_option(found: _Options, kind: int, data: bytes, value_at: int) -> None:
    value = data[value_at : value_at + _LENGTH[kind]]
    if kind == REFRESH_ADVICE:
        found.refresh_advice_s = int.from_bytes(value, "big") * LIFETIME_UNIT_S
    elif kind == ALTERNATE_CARE_OF_ADDRESS:
        found.alternate_care_of_address = IPv6Address(value)
    elif kind == NONCE_INDICES:
        found.nonce_indices = NonceIndices(*struct.unpack("!HH", value))
    else:
        covered = data[: CHECKSUM.start] + bytes(2) + data[CHECKSUM.stop : value_at]
        found.authorization = BindingAuthorizationData(value, covered)


def _decode_home_test(fixed: bytes, _: _Options) -> HomeTest:
    return HomeTest(*_test_fields(fixed))


def _decode_care_of_test(fixed: bytes, _: _Options) -> CareOfTest:
    return CareOfTest(*_test_fields(fixed))


def _test_fields(fixed: bytes) -> tuple[int, bytes, bytes]:
    token_at = 2 + COOKIE_BYTES
    return int.from_bytes(fixed[:2], "big"), fixed[2:token_at], fixed[token_at:]


def _decode_error(fixed: bytes, _: _Options) -> BindingError:
    return BindingError(fixed[0], IPv6Address(fixed[2:]))


def _decode_update(fixed: bytes, options: _Options) -> BindingUpdate:
    sequence, flags, units = struct.unpack("!HHH", fixed)
    return BindingUpdate(
        sequence=sequence,
        lifetime_s=units * LIFETIME_UNIT_S,
        acknowledge=bool(flags & ACKNOWLEDGE),
        home_registration=bool(flags & HOME_REGISTRATION),
        link_local_compatibility=bool(flags & LINK_LOCAL),
        key_management=bool(flags & KEY_MANAGEMENT),
        alternate_care_of_address=options.alternate_care_of_address,
        nonce_indices=options.nonce_indices,
        authorization=options.authorization,
    )


def _decode_acknowledgement(fixed: bytes, options: _Options) -> BindingAcknowledgement:
    status, flags, sequence, units = struct.unpack("!BBHH", fixed)
    return BindingAcknowledgement(
        status=status,
        sequence=sequence,
        lifetime_s=units * LIFETIME_UNIT_S,
        key_management=bool(flags & ACKNOWLEDGEMENT_KEY_MANAGEMENT),
        refresh_advice_s=options.refresh_advice_s,
        authorization=options.authorization,
    )


_DECODERS: Mapping[MessageType, tuple[int, Callable[[bytes, _Options], Message]]] = {
    MessageType.BINDING_REFRESH_REQUEST: (2, lambda _, __: BindingRefreshRequest()),
    MessageType.HOME_TEST_INIT: (10, lambda fixed, _: HomeTestInit(fixed[2:])),
    MessageType.CARE_OF_TEST_INIT: (10, lambda fixed, _: CareOfTestInit(fixed[2:])),
    MessageType.HOME_TEST: (18, _decode_home_test),
    MessageType.CARE_OF_TEST: (18, _decode_care_of_test),
    MessageType.BINDING_UPDATE: (6, _decode_update),
    MessageType.BINDING_ACKNOWLEDGEMENT: (6, _decode_acknowledgement),
    MessageType.BINDING_ERROR: (18, _decode_error),
}
"""By type: the bytes of message data before the options, and what makes a message of them."""
