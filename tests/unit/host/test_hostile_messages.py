"""Whatever mobility message comes in, no host fails, and only a genuine one changes anything."""

from collections import deque
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobivpn.clock import earliest
from mobivpn.errors import MalformedError
from mobivpn.host.effects import Apply, Record
from mobivpn.host.home_agent import HomeAgentHost
from mobivpn.host.mobile_node import MobileNodeHost
from mobivpn.host.movement import interface_identifier
from mobivpn.host.security_gateway import SecurityGateway
from mobivpn.ipsec.databases import Entry, Put
from mobivpn.ipsec.policy import SecurityPolicy
from mobivpn.ipsec.route_optimisation import Extension, RouteOptimisation
from mobivpn.mip6 import codec
from mobivpn.mip6.effects import SendMobility
from mobivpn.mip6.messages import (
    EXPIRED_NONCE_STATUSES,
    BindingAcknowledgement,
    BindingAuthorizationData,
    BindingError,
    BindingRefreshRequest,
    BindingUpdate,
    CareOfTest,
    CareOfTestInit,
    ErrorStatus,
    HomeTest,
    HomeTestInit,
    Message,
    NonceIndices,
    SentMessage,
    Unrecognised,
)
from mobivpn.signalling import codec as signalling
from mobivpn.signalling.messages import Envelope, PeerReady
from tests.support.company import COMPANY, MN1, MN2
from tests.support.examples import share
from tests.support.offers import minted, offer
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
    return draw(damaged(codec.encode(draw(st.sampled_from(MESSAGES)), HOME1, HA)))


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """Return a message that was cut short, lengthened or had some bits changed, if anything."""
    data = bytearray(whole)
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


# A mobile node with registrations under way, and bindings that stand


class Company:
    """Home agent, gateway and two nodes outside with a direct pair; messages arrive in order.

    `held` is what mn1's kernel holds, `heard` what mn1 was told, `updates` what it told last.
    """

    def __init__(self) -> None:
        self.me, self.peer = mobile_node(MN1), mobile_node(MN2)
        self.host_by_address: dict[IPv6Address, Host] = {
            HA: home_agent(),
            SG: security_gateway(),
            HOME1: self.me,
            HERE1: self.me,
            HOME2: self.peer,
            HERE2: self.peer,
        }
        self.hosts = tuple(dict.fromkeys(self.host_by_address.values()))
        self.held: dict[Hashable, Entry] = {}
        self.heard: list[Arrival] = []
        self.updates: list[SendMobility] = []
        self._under_way: deque[SendMobility] = deque()
        for host in self.hosts:
            self.carry_out(host, host.started())
        for number, (host, prefix) in enumerate(((self.me, PREFIX1), (self.peer, PREFIX2)), 1):
            hardware_address = bytes((2, 0, 0, 0, 0, number))
            self.carry_out(host, host.link_found("eth0", hardware_address, 0.0))
            router = IPv6Address(f"fe80::{number}")
            self.carry_out(host, host.router_heard("eth0", router, [prefix], 1800, 0.0))
        for host, offered in ((self.me, OFFER), (self.peer, OFFER_TO_PEER)):
            for number, message in enumerate((offered, PeerReady(1, 1)), 1):
                payload = signalling.encode(Envelope(1, number, message))
                self.carry_out(host, host.datagram_received(COMPANY.vcm, payload, 0.0))

    def carry_out(self, host: Host, effects: Iterable[object], now: float = 0.0) -> None:
        for effect in effects:
            if isinstance(effect, SendMobility):
                self._under_way.append(effect)
                if host is self.me and isinstance(effect.message, BindingUpdate):
                    self.updates = [*self.updates, effect][-3:]
            elif isinstance(effect, Apply):
                if host is self.me:
                    for change in effect.changes:
                        self.held.pop(change.entry.identity, None)
                        if isinstance(change, Put):
                            self.held[change.entry.identity] = change.entry
                if effect.token is not None:
                    assert isinstance(host, MobileNodeHost)
                    self.carry_out(host, host.applied(effect.token, None, now), now)

    def deliver(self, count: int = 1000, now: float = 0.0) -> None:
        """Let up to so many messages arrive."""
        while self._under_way and count:
            sent, count = self._under_way.popleft(), count - 1
            update = isinstance(sent.message, BindingUpdate)
            arrival = (
                codec.encode(sent.message, sent.source, sent.destination),
                sent.source,
                sent.destination,
                sent.care_of_address if update else None,
            )
            host = self.host_by_address.get(sent.destination)
            if host is not None:
                self.carry_out(host, host.mobility_received(*arrival, now), now)
            if host is self.me:
                self.heard.append(arrival)

    def lose(self, numbers: Collection[int]) -> None:
        """Lose some of the messages that are under way."""
        self._under_way = deque(
            sent for number, sent in enumerate(self._under_way) if number not in numbers
        )

    def wait(self, until: float) -> None:
        """Let time pass, and all messages arrive."""
        self.deliver()
        while (due := earliest(host.deadline for host in self.hosts)) is not None and due <= until:
            for host in self.hosts:
                if host.deadline is not None and host.deadline <= due:
                    self.carry_out(host, host.timer_expired(due), due)
            self.deliver(now=due)


PREFIX1, PREFIX2 = IPv6Network("2001:db8:1::/64"), IPv6Network("2001:db8:2::/64")
HERE1, HERE2 = (
    IPv6Address(int(prefix.network_address) | interface_identifier(bytes((2, 0, 0, 0, 0, number))))
    for number, prefix in enumerate((PREFIX1, PREFIX2), 1)
)
OFFER = offer(sas=minted())
OFFER_TO_PEER = replace(
    OFFER,
    peer_internal_home_address=MN1.internal_home_address,
    peer_external_home_address=HOME1,
    inbound=OFFER.outbound,
    outbound=OFFER.inbound,
)


@st.composite
def acknowledgements(draw: st.DrawFn, update: SendMobility) -> Arrival:
    """Return an answer to an update of mn1's by somebody who has read it, but has no key."""
    assert isinstance(update.message, BindingUpdate)
    message = BindingAcknowledgement(
        status=draw(st.sampled_from((0, 1, 128, 134, 135, 136, 137, 138, 139, 174))),
        sequence=(update.message.sequence + draw(st.sampled_from((0, 0, 1, -1)))) % 2**16,
        lifetime_s=draw(st.sampled_from((0, 420))),
        authorization=draw(st.none() | st.just(BindingAuthorizationData(bytes(12)))),
    )
    peer = update.destination
    return codec.encode(message, peer, HOME1), peer, HOME1, None


@st.composite
def newer_updates(draw: st.DrawFn, heard: Arrival) -> Arrival:
    """Return an update of the peer's as somebody would go on with it who has read the last one."""
    message = codec.decode(heard[0])
    assert isinstance(message, BindingUpdate)
    sequence = (message.sequence + draw(st.integers(1, 3))) % 2**16
    newer = replace(message, sequence=sequence, lifetime_s=draw(st.sampled_from((0, 420))))
    care_of_address = draw(st.sampled_from((HERE2, THERE)))
    return codec.encode(newer, HOME2, HOME1), HOME2, HOME1, care_of_address


@st.composite
def forged(draw: st.DrawFn, company: Company) -> Arrival:
    """Return what is new, damaged or said before, from whoever needs no association for it."""
    kinds = [
        st.tuples(
            hostile(),
            st.sampled_from((HOME2, HERE2, THERE, SG, HA)),
            st.sampled_from((HOME1, HERE1)),
            st.none() | st.sampled_from((HERE1, HERE2, THERE)),
        )
    ]
    if company.heard:
        kinds.append(st.sampled_from(company.heard).flatmap(damaged_arrival))
    if updates := [a for a in company.heard if isinstance(codec.decode(a[0]), BindingUpdate)]:
        kinds.append(st.sampled_from(updates).flatmap(newer_updates))
    if company.updates:
        kinds.append(st.sampled_from(company.updates).flatmap(acknowledgements))
    data, source, destination, care_of_address = draw(st.one_of(kinds))
    if source in (HA, SG) and destination == HOME1:
        # RFC 4877 section 4.1: that comes under ESP, or the kernel drops it.
        source = THERE
    return data, source, destination, care_of_address


def damaged_arrival(arrival: Arrival) -> st.SearchStrategy[Arrival]:
    data, *addresses = arrival
    return st.tuples(damaged(data), *map(st.just, addresses))


def read(arrivals: Iterable[Arrival]) -> Iterator[Message]:
    for arrival in arrivals:
        with suppress(MalformedError):
            yield codec.decode(arrival[0])


def is_believed(message: Message) -> bool:
    """Tell whether Mobile IPv6 lets anybody say that the peer has no binding, or other nonces.

    Errors (RFC 6275 section 9.3.3) and status 136 to 138 (section 9.5.4) have no authenticator.
    """
    return isinstance(message, BindingError) or (
        isinstance(message, BindingAcknowledgement) and message.status in EXPIRED_NONCE_STATUSES
    )


def ends_attempts(message: Message) -> bool:
    """Tell whether an end may take the other for one that does not know Mobile IPv6 (11.3.6)."""
    return isinstance(message, Unrecognised) or (
        isinstance(message, BindingError)
        and message.status == ErrorStatus.UNRECOGNISED_MESSAGE_TYPE
    )


def is_of_direct_path(entry: Entry) -> bool:
    """Tell whether an entry is what makes mn1's packets go to mn2 without the home agents."""
    if isinstance(entry, SecurityPolicy):
        return entry.name in ("mn2/out", f"bound/{HOME2}/out")
    option = RouteOptimisation(Extension.HOME_ADDRESS_OPTION, HOME1, HOME2, HERE1)
    return entry == option


@given(data=st.data(), count=st.integers(0, 24))
@share(0.5)
def test_whatever_comes_between_binds_nobody_and_all_is_direct_in_the_end(
    data: st.DataObject, count: int
):
    company = Company()
    company.deliver(count)
    before = dict(company.held)
    arrivals = data.draw(st.lists(forged(company), max_size=10))
    for number, arrival in enumerate(arrivals):
        now = 0.01 * number
        company.carry_out(company.me, company.me.mobility_received(*arrival, now), now)
    messages = list(read(arrivals))
    if not any(map(is_believed, messages)):
        assert company.held == before
    # Who is believed may end the direct path for a while. He begins none, and moves none.
    changed = set(company.held.values()) ^ set(before.values())
    assert all(map(is_of_direct_path, changed))
    assert len(company.held) <= len(before)
    company.lose(data.draw(st.sets(st.integers(0, 20))))
    company.wait(60.0)
    if not any(map(ends_attempts, messages)):
        assert company.held == DIRECT


def test_the_nodes_of_these_tests_are_direct_before_the_last_message_is_heard():
    company = Company()
    company.deliver(40)
    assert company.held == DIRECT
    assert len(company.heard) > 5
    assert RouteOptimisation(Extension.ROUTING_HEADER, HOME1, HOME2, HERE2) in DIRECT.values()
    assert RouteOptimisation(Extension.HOME_ADDRESS_OPTION, HOME1, HOME2, HERE1) in DIRECT.values()


def direct() -> dict[Hashable, Entry]:
    company = Company()
    company.wait(1.0)
    return company.held


DIRECT = direct()
