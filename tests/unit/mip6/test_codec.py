"""Mobility messages on the wire (mobivpn.mip6.codec, mobivpn.mip6.messages)."""

import struct
from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv6Address

import pytest
from cryptography.hazmat.primitives import hashes, hmac
from hypothesis import given
from hypothesis import strategies as st

from mobivpn.errors import CallerError, MalformedError
from mobivpn.mip6 import codec
from mobivpn.mip6.constants import MAX_LIFETIME_S
from mobivpn.mip6.messages import (
    BindingAcknowledgement,
    BindingAuthorizationData,
    BindingError,
    BindingRefreshRequest,
    BindingUpdate,
    CareOfTest,
    CareOfTestInit,
    HomeTest,
    HomeTestInit,
    NonceIndices,
    SentMessage,
    Unrecognised,
    whole_lifetime_s,
)

HOME = IPv6Address("2001:db8:ee::d1")
CARE_OF = IPv6Address("2001:db8:1::d1")
PEER = IPv6Address("2001:db8:ee::d2")
KEY = bytes(range(20))

addresses = st.integers(0, 2**128 - 1).map(IPv6Address)
eight = st.binary(min_size=8, max_size=8)
words = st.integers(0, 2**16 - 1)
lifetimes = words.map(lambda units: 4 * units)
authorizations = st.binary(min_size=12, max_size=12).map(BindingAuthorizationData)
messages = st.one_of(
    st.just(BindingRefreshRequest()),
    st.builds(HomeTestInit, eight),
    st.builds(CareOfTestInit, eight),
    st.builds(HomeTest, words, eight, eight),
    st.builds(CareOfTest, words, eight, eight),
    st.builds(
        BindingUpdate,
        words,
        lifetimes,
        st.booleans(),
        st.booleans(),
        st.booleans(),
        st.booleans(),
        st.none() | addresses,
        st.none() | st.builds(NonceIndices, words, words),
        st.none() | authorizations,
    ),
    st.builds(
        BindingAcknowledgement,
        st.integers(0, 255),
        words,
        lifetimes,
        st.booleans(),
        st.none() | lifetimes,
        st.none() | authorizations,
    ),
    st.builds(BindingError, st.integers(0, 255), addresses),
)


def wire(message: SentMessage) -> bytes:
    return codec.encode(message, HOME, PEER)


def reason_of(data: bytes) -> str:
    with pytest.raises(MalformedError) as caught:
        codec.decode(data)
    return caught.value.reason


def update_with_options(options: bytes) -> bytes:
    assert (12 + len(options)) % 8 == 0
    units = (12 + len(options)) // 8 - 1
    return bytes((59, units, 5, 0, 0, 0)) + bytes(6) + options


@given(messages)
def test_every_message_comes_back_from_the_wire(message: SentMessage):
    assert codec.decode(wire(message)) == message


@given(messages)
def test_a_header_is_whole_units_of_eight_octets_and_says_so(message: SentMessage):
    data = wire(message)
    assert len(data) == 8 * (data[1] + 1)


@given(messages, addresses, addresses)
def test_the_checksum_sums_up_to_nothing(
    message: SentMessage, source: IPv6Address, destination: IPv6Address
):
    data = codec.encode(message, source, destination)
    pseudo = source.packed + destination.packed + len(data).to_bytes(4, "big") + bytes((0, 0, 0))
    whole = pseudo + bytes((135,)) + data
    total = sum(int.from_bytes(whole[i : i + 2], "big") for i in range(0, len(whole), 2))
    assert total % 0xFFFF == 0
    assert codec.mobility_checksum(source, destination, data) == int.from_bytes(data[4:6], "big")


@given(st.binary(max_size=80))
def test_no_bytes_make_the_decoder_raise_anything_else(data: bytes):
    with suppress(MalformedError):
        codec.decode(data)


@given(messages, st.data())
def test_changed_bytes_make_a_message_or_a_malformed_one(message: SentMessage, data: st.DataObject):
    changed = bytearray(wire(message))
    position = data.draw(st.integers(0, len(changed) - 1))
    changed[position] = data.draw(st.integers(0, 255))
    with suppress(MalformedError):
        codec.decode(bytes(changed))


def test_a_home_registration_is_laid_out_as_the_rfc_draws_it():
    data = wire(BindingUpdate(0x1234, 400, home_registration=True, alternate_care_of_address=HOME))
    assert data[:4] == bytes((59, 3, 5, 0))
    assert data[6:12] == bytes.fromhex("1234 c000 0064")
    # PadN of two octets; the alternate care-of address begins at 8n + 6.
    assert data[12:16] == bytes((1, 0, 3, 16))
    assert data[16:] == HOME.packed


def test_authorization_data_begins_at_8n_plus_2_and_ends_the_header():
    message = BindingUpdate(
        1, 4, nonce_indices=NonceIndices(7, 8), authorization=BindingAuthorizationData(b"a" * 12)
    )
    data = wire(message)
    assert data[12:18] == bytes((4, 4, 0, 7, 0, 8))
    assert data[18:] == bytes((5, 12)) + b"a" * 12
    assert len(data) == 32


def test_one_octet_of_padding_is_pad1():
    message = bytearray((59, 0, 0))
    codec._pad(message, 4, 0)  # pyright: ignore[reportPrivateUsage]
    assert bytes(message) == bytes((59, 0, 0, 0))


def test_an_authorised_update_is_authentic_for_the_same_addresses_only():
    message = codec.authorise(BindingUpdate(1, 4), KEY, CARE_OF, PEER)
    received = codec.decode(wire(message))
    assert isinstance(received, BindingUpdate)
    assert codec.is_authentic(received, KEY, CARE_OF, PEER)
    assert not codec.is_authentic(received, KEY, HOME, PEER)
    assert not codec.is_authentic(received, KEY, CARE_OF, HOME)
    assert not codec.is_authentic(received, KEY[::-1], CARE_OF, PEER)
    assert not codec.is_authentic(BindingUpdate(1, 4), KEY, CARE_OF, PEER)


@given(st.data())
def test_any_changed_octet_of_an_authorised_update_is_noticed(data: st.DataObject):
    sent = codec.authorise(
        BindingUpdate(1, 400, nonce_indices=NonceIndices(1, 2)), KEY, CARE_OF, PEER
    )
    changed = bytearray(wire(sent))
    position = data.draw(st.integers(0, len(changed) - 1).filter(lambda i: i not in (4, 5)))
    changed[position] ^= data.draw(st.integers(1, 255))
    try:
        received = codec.decode(bytes(changed))
    except MalformedError:
        return
    assert not (
        isinstance(received, BindingUpdate) and codec.is_authentic(received, KEY, CARE_OF, PEER)
    )


def test_an_authenticator_covers_the_padding_and_options_that_the_peer_chose():
    # An unknown option of 2 octets, then authorization data at 8n + 2.
    options = bytes((99, 4, 1, 2, 3, 4, 5, 12))
    covered = bytes((59, 3, 5, 0, 0, 0)) + bytes(6) + options
    value = codec.keygen.authenticator(KEY, CARE_OF, PEER, covered)
    received = codec.decode(covered[:4] + b"\x12\x34" + covered[6:] + value)
    assert isinstance(received, BindingUpdate)
    assert codec.is_authentic(received, KEY, CARE_OF, PEER)


def test_a_whole_update_is_the_one_that_another_library_makes_by_the_rfcs_words():
    """The RFC has no numbers to compare with: this is sections 5.2.5, 6.1.7, 6.2.6 and 6.2.7 by
    hand, hashed by `cryptography` instead of hashlib."""
    home_token, care_of_token = b"home tok", b"coa toke"
    sha1 = hashes.Hash(hashes.SHA1())
    sha1.update(home_token + care_of_token)
    kbm = sha1.finalize()
    fields = struct.pack(">BBBBHHHH", 59, 3, 5, 0, 0, 7, 0x8000, 420 // 4)
    covered = fields + struct.pack(">BBHH", 4, 4, 0x1234, 0x0056) + bytes((5, 12))
    mac = hmac.HMAC(kbm, hashes.SHA1())
    mac.update(CARE_OF.packed + PEER.packed + covered)
    expected = covered + mac.finalize()[:12]
    assert kbm == codec.keygen.binding_management_key(home_token, care_of_token)
    update = BindingUpdate(7, 420, nonce_indices=NonceIndices(0x1234, 0x0056))
    made = wire(codec.authorise(update, kbm, CARE_OF, PEER))
    assert made[:4] + bytes(2) + made[6:] == expected


def test_unknown_options_and_padding_are_skipped():
    options = bytes((0, 99, 1, 7, 1, 0, 4, 4, 0, 1, 0, 2))
    message = codec.decode(update_with_options(options))
    assert message == BindingUpdate(0, 0, acknowledge=False, nonce_indices=NonceIndices(1, 2))


def test_octets_after_the_header_are_ignored():
    assert codec.decode(wire(BindingRefreshRequest()) + b"more") == BindingRefreshRequest()


def test_an_unknown_type_is_a_message_that_can_be_answered():
    assert codec.decode(bytes((59, 0, 99, 0, 0, 0, 0, 0))) == Unrecognised(99)


def test_a_message_shorter_than_a_header_is_truncated():
    assert reason_of(bytes(7)) == "truncated"


def test_a_message_shorter_than_its_length_says_is_truncated():
    assert reason_of(wire(HomeTestInit(bytes(8)))[:-1]) == "truncated"


def test_a_payload_after_the_header_is_malformed():
    assert reason_of(bytes((6, 0, 0, 0, 0, 0, 0, 0))) == "payload-protocol"


def test_a_header_too_short_for_its_type_is_malformed():
    assert reason_of(bytes((59, 0, 5, 0, 0, 0, 0, 0))) == "header-length"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (bytes((1, 9, 0, 0)), "option-truncated"),
        (bytes((0, 0, 0, 1)), "option-truncated"),
        (bytes((4, 2, 0, 0)), "option-length"),
        (bytes((4, 4, 0, 1, 0, 2)) * 2, "option-twice"),
        (bytes((1, 4, 0, 0, 0, 0, 5, 12)) + bytes(12) + bytes(8), "authorization-not-last"),
    ],
)
def test_options_that_do_not_parse_are_malformed(options: bytes, reason: str):
    missing = -(12 + len(options)) % 8
    assert reason_of(update_with_options(options + bytes(missing))) == reason


@pytest.mark.parametrize(
    "build",
    [
        lambda: BindingUpdate(2**16, 0),
        lambda: BindingUpdate(-1, 0),
        lambda: BindingUpdate(0, 6),
        lambda: BindingUpdate(0, MAX_LIFETIME_S + 4),
        lambda: BindingAcknowledgement(256, 0, 0),
        lambda: BindingAcknowledgement(0, 0, 0, refresh_advice_s=3),
        lambda: BindingError(-1, HOME),
        lambda: HomeTestInit(b"short"),
        lambda: HomeTest(0, bytes(8), b"short"),
        lambda: NonceIndices(0, 2**16),
        lambda: BindingAuthorizationData(bytes(11)),
    ],
)
def test_what_the_wire_cannot_carry_cannot_be_built(build: Callable[[], object]):
    with pytest.raises(CallerError):
        build()


def test_a_lifetime_is_rounded_down_to_what_the_wire_carries():
    assert whole_lifetime_s(423.9) == 420
    assert whole_lifetime_s(10**9) == MAX_LIFETIME_S


def test_tokens_and_keys_do_not_show_when_printed():
    assert "secret" not in repr(HomeTest(0, bytes(8), b"secret!!"))
