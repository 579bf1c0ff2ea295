"""Whatever mobility message comes in, no host fails, and only a genuine one changes anything."""

from collections.abc import Callable
from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobivpn.host.effects import Apply, Record
from mobivpn.host.home_agent import HomeAgentHost
from mobivpn.host.mobile_node import MobileNodeHost
from mobivpn.host.security_gateway import SecurityGateway
from mobivpn.mip6 import codec
from mobivpn.mip6.effects import SendMobility
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
from tests.support.company import COMPANY, MN1, MN2
from tests.unit.host.test_roles import home_agent, mobile_node, security_gateway

Host = HomeAgentHost | MobileNodeHost | SecurityGateway

HERE, THERE = IPv6Address("2001:db8:1::d1"), IPv6Address("2001:db8:2::d2")
HOME1, HOME2 = MN1.external_home_address, MN2.external_home_address
HA, SG = COMPANY.home_agent, COMPANY.security_gateway
ADDRESSES = (HERE, THERE, HOME1, HOME2, HA, SG, IPv6Address("::"), IPv6Address("ff02::1"))
MESSAGES: tuple[SentMessage, ...] = (
    BindingRefreshRequest(),
    HomeTestInit(b"cookie.."),
    CareOfTestInit(b"cookie.."),
    HomeTest(1, b"cookie..", b"token..."),
    CareOfTest(1, b"cookie..", b"token..."),
    BindingUpdate(1, 600),
    BindingUpdate(1, 0, home_registration=True),
    BindingUpdate(
        9,
        420,
        alternate_care_of_address=HERE,
        nonce_indices=NonceIndices(1, 2),
        authorization=BindingAuthorizationData(bytes(12)),
    ),
    *(BindingAcknowledgement(status, 1, 600) for status in (0, 128, 134, 135, 136, 138)),
    BindingError(1, HOME1),
    BindingError(2, HOME1),
)


@st.composite
def hostile(draw: st.DrawFn) -> bytes:
    """Return any bytes, or a message that was cut short, lengthened or had some bits changed."""
    if draw(st.booleans()):
        return draw(st.binary(max_size=80))
    data = bytearray(codec.encode(draw(st.sampled_from(MESSAGES)), HOME1, HA))
    for _ in range(draw(st.integers(0, 3))):
        data[draw(st.integers(0, len(data) - 1))] ^= 1 << draw(st.integers(0, 7))
    return bytes(data[: draw(st.integers(0, len(data)))] + draw(st.binary(max_size=8)))


Arrival = tuple[bytes, IPv6Address, IPv6Address, IPv6Address | None]
ARRIVALS = st.lists(
    st.tuples(
        hostile(),
        st.sampled_from(ADDRESSES),
        st.sampled_from(ADDRESSES),
        st.none() | st.sampled_from(ADDRESSES),
    ),
    max_size=20,
)


def carried_out(host: Host, arrivals: list[Arrival]) -> list[object]:
    """Let messages arrive, what the host sends be encoded, and time pass."""
    effects: list[object] = []
    for number, arrival in enumerate(arrivals):
        effects += host.mobility_received(*arrival, 0.1 * number)
    effects += host.timer_expired(5.0)
    for effect in effects:
        if isinstance(effect, SendMobility):
            codec.encode(effect.message, effect.source, effect.destination)
    return effects


@pytest.mark.parametrize("make", [home_agent, mobile_node, security_gateway])
@given(arrivals=ARRIVALS)
def test_no_message_makes_a_host_fail_or_flood_its_log(
    make: Callable[[], Host], arrivals: list[Arrival]
):
    effects = carried_out(make(), arrivals)
    told = [e for e in effects if isinstance(e, Record) and e.event == "mobility_dropped"]
    assert len(told) <= 4


def unprotected(arrival: Arrival) -> Arrival:
    """Return an arrival as it may come without an association of the node that it speaks for."""
    data, source, destination, care_of_address = arrival
    return data, THERE if source in (HOME1, HOME2) else source, destination, care_of_address


@pytest.mark.parametrize("make", [home_agent, mobile_node, security_gateway])
@given(arrivals=ARRIVALS)
def test_without_an_association_or_a_token_nothing_changes(
    make: Callable[[], Host], arrivals: list[Arrival]
):
    host = make()
    if not isinstance(host, MobileNodeHost):
        # Their nodes' messages come under ESP, which the kernel checks.
        arrivals = [unprotected(arrival) for arrival in arrivals]
    effects = carried_out(host, arrivals)
    assert not [effect for effect in effects if isinstance(effect, Apply)]


def test_a_genuine_update_changes_the_databases_once_and_its_replay_does_not():
    for host, peer, home_registration in (
        (home_agent(), HA, True),
        (security_gateway(), SG, False),
    ):
        update = BindingUpdate(7, 600, home_registration=home_registration)
        arrival = (codec.encode(update, HOME1, peer), HOME1, peer, HERE)
        first = host.mobility_received(*arrival, 0.0)
        assert [effect for effect in first if isinstance(effect, Apply)]
        for now in (1.0, 100.0):
            again = host.mobility_received(*arrival, now)
            assert not [effect for effect in again if isinstance(effect, Apply)]
