"""Our mobility messages against scapy's, both ways, field by field and checksum."""

from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers import inet6
from scapy.packet import Raw

from mobivpn.mip6 import codec
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
)
from tests.support.examples import share

SOURCE = IPv6Address("2001:db8:ee::d1")
DESTINATION = IPv6Address("2001:db8:ee::d2")
COOKIE, TOKEN, AUTHENTICATOR = b"cookie..", b"token...", b"authenticato"

words = st.integers(0, 2**16 - 1)
addresses = st.integers(0, 2**128 - 1).map(IPv6Address)


def to_scapy(message: SentMessage) -> inet6.IPv6:
    """Return scapy's reading of our bytes, in the packet that would carry them."""
    data = codec.encode(message, SOURCE, DESTINATION)
    header = inet6.IPv6(src=str(SOURCE), dst=str(DESTINATION), nh=135)
    return inet6.IPv6(bytes(header / Raw(data)))


def from_scapy(header: object) -> tuple[SentMessage, bytes]:
    """Return our reading of scapy's bytes, and the bytes."""
    packet = inet6.IPv6(src=str(SOURCE), dst=str(DESTINATION)) / header
    data = bytes(packet)[40:]
    message = codec.decode(data)
    return message, data  # type: ignore[return-value]


def options_by_type(packet: object) -> dict[type, object]:
    return {type(option): option for option in packet.options}  # type: ignore[attr-defined]


EXAMPLES: list[tuple[SentMessage, object]] = [
    (BindingRefreshRequest(), inet6.MIP6MH_BRR()),
    (HomeTestInit(COOKIE), inet6.MIP6MH_HoTI(cookie=COOKIE)),
    (CareOfTestInit(COOKIE), inet6.MIP6MH_CoTI(cookie=COOKIE)),
    (HomeTest(7, COOKIE, TOKEN), inet6.MIP6MH_HoT(index=7, cookie=COOKIE, token=TOKEN)),
    (CareOfTest(7, COOKIE, TOKEN), inet6.MIP6MH_CoT(index=7, cookie=COOKIE, token=TOKEN)),
    (BindingError(1, SOURCE), inet6.MIP6MH_BE(status=1, ha=str(SOURCE))),
    (
        BindingUpdate(0xABCD, 400, home_registration=True, alternate_care_of_address=SOURCE),
        inet6.MIP6MH_BU(
            seq=0xABCD,
            flags="AH",
            mhtime=100,
            options=[inet6.MIP6OptAltCoA(acoa=str(SOURCE))],
        ),
    ),
    (
        BindingUpdate(
            1,
            420,
            nonce_indices=NonceIndices(3, 4),
            authorization=BindingAuthorizationData(AUTHENTICATOR),
        ),
        inet6.MIP6MH_BU(
            seq=1,
            flags="A",
            mhtime=105,
            options=[
                # scapy's own lengths, 16 and 16, are not those of sections 6.2.6 and 6.2.7.
                inet6.MIP6OptNonceIndices(olen=4, hni=3, coni=4),
                inet6.MIP6OptBindingAuthData(
                    olen=12, authenticator=int.from_bytes(AUTHENTICATOR, "big")
                ),
            ],
        ),
    ),
    (
        BindingAcknowledgement(135, 9, 0, refresh_advice_s=40),
        inet6.MIP6MH_BA(
            status=135, flags=0, seq=9, mhtime=0, options=[inet6.MIP6OptBRAdvice(rinter=10)]
        ),
    ),
]


@pytest.mark.parametrize(("ours", "theirs"), EXAMPLES, ids=lambda value: type(value).__name__)
def test_scapys_bytes_are_our_message_and_our_bytes_are_scapys(ours: SentMessage, theirs: object):
    message, data = from_scapy(theirs)
    assert message == ours
    checksum = codec.mobility_checksum(SOURCE, DESTINATION, data)
    assert checksum == int.from_bytes(data[4:6], "big")
    assert codec.encode(ours, SOURCE, DESTINATION) == data


@share(1)
@given(
    words,
    words,
    st.booleans(),
    st.booleans(),
    st.none() | addresses,
    st.none() | st.builds(NonceIndices, words, words),
    st.none() | st.binary(min_size=12, max_size=12),
)
def test_scapy_reads_every_binding_update_field_by_field(
    sequence: int,
    units: int,
    acknowledge: bool,
    home_registration: bool,
    alternate: IPv6Address | None,
    indices: NonceIndices | None,
    authenticator: bytes | None,
):
    authorization = None if authenticator is None else BindingAuthorizationData(authenticator)
    packet = to_scapy(
        BindingUpdate(
            sequence,
            4 * units,
            acknowledge,
            home_registration,
            alternate_care_of_address=alternate,
            nonce_indices=indices,
            authorization=authorization,
        )
    )[inet6.MIP6MH_BU]
    assert (packet.seq, packet.mhtime) == (sequence, units)
    assert ("A" in packet.flags, "H" in packet.flags) == (acknowledge, home_registration)
    options = options_by_type(packet)
    assert (inet6.MIP6OptAltCoA in options) == (alternate is not None)
    if alternate is not None:
        assert IPv6Address(options[inet6.MIP6OptAltCoA].acoa) == alternate
    assert (inet6.MIP6OptNonceIndices in options) == (indices is not None)
    if indices is not None:
        theirs = options[inet6.MIP6OptNonceIndices]
        assert (theirs.hni, theirs.coni) == (indices.home, indices.care_of)
    assert (inet6.MIP6OptBindingAuthData in options) == (authenticator is not None)
    if authenticator is not None:
        value = options[inet6.MIP6OptBindingAuthData].authenticator
        assert value == int.from_bytes(authenticator, "big")


@share(1)
@given(st.integers(0, 255), words, words, st.none() | words)
def test_scapy_reads_every_binding_acknowledgement_field_by_field(
    status: int, sequence: int, units: int, advice: int | None
):
    packet = to_scapy(
        BindingAcknowledgement(
            status,
            sequence,
            4 * units,
            refresh_advice_s=None if advice is None else 4 * advice,
        )
    )[inet6.MIP6MH_BA]
    assert (packet.status, packet.seq, packet.mhtime) == (status, sequence, units)
    options = options_by_type(packet)
    assert (inet6.MIP6OptBRAdvice in options) == (advice is not None)
    if advice is not None:
        assert options[inet6.MIP6OptBRAdvice].rinter == advice


def test_scapy_finds_our_checksum_right():
    packet = to_scapy(HomeTest(7, COOKIE, TOKEN))
    sent = packet[inet6.MIP6MH_HoT].cksum
    del packet[inet6.MIP6MH_HoT].cksum
    assert inet6.IPv6(bytes(packet))[inet6.MIP6MH_HoT].cksum == sent
