"""What the hosts of all roles do with what should not come, and with what they do not know.

That they do the right thing with what should come is what tests/simulation/story is about.
"""

from collections.abc import Sequence
from ipaddress import IPv6Address, IPv6Network
from itertools import count
from typing import Any

import pytest

from mobivpn.host.associations import share_of
from mobivpn.host.effects import AnnounceAddress, Apply, Record
from mobivpn.host.fixed_databases import HomeAgentDatabases, RouterDatabases
from mobivpn.host.gateway_databases import GatewayDatabases
from mobivpn.host.home_agent import FORMER_FOR_S, HomeAgentHost
from mobivpn.host.internal_router import InternalRouter
from mobivpn.host.mobile_node import MobileNodeHost
from mobivpn.host.network import NeighbourProxy, Tunnel
from mobivpn.host.node_databases import NodeDatabases
from mobivpn.host.plan import NodeIdentity
from mobivpn.host.sa_endpoint import SaEndpoint
from mobivpn.host.security_gateway import SecurityGateway, TellDetectorOfPair
from mobivpn.ipsec.databases import Put, Remove
from mobivpn.mip6 import codec
from mobivpn.mip6.binding_errors import RefusedOption
from mobivpn.mip6.correspondent_node import CorrespondentNode
from mobivpn.mip6.effects import DetectDuplicate, SendMobility
from mobivpn.mip6.home_agent import HomeAgent
from mobivpn.mip6.messages import (
    BindingAcknowledgement,
    BindingError,
    BindingUpdate,
    CareOfTestInit,
    ErrorStatus,
)
from mobivpn.mip6.mobile_node import MobileNode
from mobivpn.mip6.settings import HomeAgentSettings
from mobivpn.signalling.endpoint import SignallingEndpoint
from mobivpn.signalling.exchange import SendSignal
from mobivpn.signalling.messages import NodeAbsent, NodePresent, PairWithdrawn, Request
from tests.support.company import COMPANY, MN1, MN2, DifferentBytes, associations

GIVEN = associations()
STRANGER = NodeIdentity("x", IPv6Address("fd00:10::99"), IPv6Address("2001:db8:ee::99"))
CARE_OF, ELSEWHERE = IPv6Address("2001:db8:1::d1"), IPv6Address("2001:db8:2::d1")


def mobile_node(me: NodeIdentity = MN1) -> MobileNodeHost:
    return MobileNodeHost(
        NodeDatabases(me, COMPANY, share_of(GIVEN, "mobile_node", me.name)),
        MobileNode(me.external_home_address, DifferentBytes()),
        CorrespondentNode(DifferentBytes()),
        SaEndpoint(me, COMPANY, SignallingEndpoint(1, [COMPANY.vcm])),
    )


def home_agent(*, detect_duplicates: bool = False) -> HomeAgentHost:
    prefix = IPv6Network((COMPANY.home_agent, 64), strict=False)
    return HomeAgentHost(
        HomeAgentDatabases(COMPANY, GIVEN, "home"),
        HomeAgent(
            COMPANY.home_agent, prefix, HomeAgentSettings(detect_duplicates=detect_duplicates)
        ),
    )


def security_gateway() -> SecurityGateway:
    return SecurityGateway(
        GatewayDatabases(COMPANY, GIVEN, "lan", "ext", IPv6Address("2001:db8:5::1")),
        CorrespondentNode(
            DifferentBytes(),
            protected={node.external_home_address for node in (STRANGER, MN1, MN2)},
            other_names={MN1.internal_home_address: MN1.external_home_address},
        ),
        SignallingEndpoint(1, [COMPANY.vcm, COMPANY.internal_router]),
    )


def internal_router() -> InternalRouter:
    return InternalRouter(
        RouterDatabases(COMPANY, GIVEN, "lan", "tosg"),
        SignallingEndpoint(1, [COMPANY.security_gateway_inside]),
    )


class Gateway:
    """The other end of what r22 hears, and of what sg hears from the VCM."""

    def __init__(self, peer: IPv6Address) -> None:
        self._peer = peer
        self._signalling = SignallingEndpoint(1, [peer])

    def says(self, message: Request) -> bytes:
        (sent,) = self._signalling.request(self._peer, message, 0.0)
        assert isinstance(sent, SendSignal)
        return sent.payload


def kinds(effects: Sequence[object]) -> list[type]:
    return [type(effect) for effect in effects]


@pytest.mark.parametrize("make", [mobile_node, home_agent, security_gateway])
def test_a_malformed_mobility_header_is_dropped_and_recorded(make: Any):
    effects = make().mobility_received(b"\x3b\x00", CARE_OF, COMPANY.home_agent, None, 0.0)
    assert [effect.event for effect in effects] == ["mobility_dropped"]


def update_of(node: NodeIdentity, peer: IPv6Address, *, home_registration: bool) -> bytes:
    message = BindingUpdate(1, 600, home_registration=home_registration)
    return codec.encode(message, node.external_home_address, peer)


def test_a_binding_of_a_home_address_without_a_node_changes_no_database():
    for host, peer, home_registration in (
        (home_agent(), COMPANY.home_agent, True),
        (security_gateway(), COMPANY.security_gateway, False),
    ):
        for node, expected in ((STRANGER, []), (MN1, [Apply])):
            data = update_of(node, peer, home_registration=home_registration)
            effects = host.mobility_received(data, node.external_home_address, peer, CARE_OF, 0.0)
            assert [kind for kind in kinds(effects) if kind is Apply] == expected
            sent = [effect for effect in effects if isinstance(effect, SendMobility)]
            assert [type(effect.message) for effect in sent] == [BindingAcknowledgement]


def test_a_binding_at_the_home_agent_ends_with_its_lifetime():
    host = home_agent()
    data = update_of(MN1, COMPANY.home_agent, home_registration=True)
    host.mobility_received(data, MN1.external_home_address, COMPANY.home_agent, CARE_OF, 0.0)
    assert host.deadline == 600
    assert kinds(host.timer_expired(600.0)) == [Apply, Record]
    assert host.deadline is None


def proxies(effects: Sequence[object]) -> list[object]:
    changes = [
        change for effect in effects if isinstance(effect, Apply) for change in effect.changes
    ]
    return [change for change in changes if isinstance(change.entry, NeighbourProxy)]


def test_the_home_agent_stands_in_for_a_node_until_that_is_at_home_again():
    host, home = home_agent(), MN1.external_home_address
    proxy = NeighbourProxy(home, "home")
    data = update_of(MN1, COMPANY.home_agent, home_registration=True)
    effects = host.mobility_received(data, home, COMPANY.home_agent, CARE_OF, 0.0)
    assert proxies(effects) == [Put(proxy)]
    assert AnnounceAddress(home, "home") in effects
    # RFC 6275 section 11.5.5: from the home address itself, and the proxy goes before the answer.
    data = codec.encode(BindingUpdate(2, 0, home_registration=True), home, COMPANY.home_agent)
    effects = host.mobility_received(data, home, COMPANY.home_agent, None, 1.0)
    assert proxies(effects) == [Remove(proxy)]
    assert kinds(effects) == [Apply, Record, SendMobility]


def tunnels(effects: Sequence[object]) -> list[tuple[type, IPv6Address]]:
    changes = [
        change for effect in effects if isinstance(effect, Apply) for change in effect.changes
    ]
    return [(type(c), c.entry.remote) for c in changes if isinstance(c.entry, Tunnel)]


def test_the_tunnel_from_a_former_address_stands_a_while_unless_the_node_is_there_again():
    host, home = home_agent(), MN1.external_home_address
    sequence = count(1)

    def moved(care_of_address: IPv6Address, now: float) -> list[tuple[type, IPv6Address]]:
        update = BindingUpdate(next(sequence), 600, home_registration=True)
        data = codec.encode(update, home, COMPANY.home_agent)
        return tunnels(host.mobility_received(data, home, COMPANY.home_agent, care_of_address, now))

    assert moved(CARE_OF, 0.0) == [(Put, CARE_OF)]
    assert moved(ELSEWHERE, 1.0) == [(Put, ELSEWHERE)]
    assert moved(ELSEWHERE, 2.0) == []
    assert moved(CARE_OF, 3.0) == []
    assert tunnels(host.timer_expired(1.0 + FORMER_FOR_S)) == []
    over_at = 3.0 + FORMER_FOR_S
    assert host.deadline == over_at
    assert tunnels(host.timer_expired(over_at)) == [(Remove, ELSEWHERE)]


def test_no_tunnel_outlives_its_binding():
    host, home = home_agent(), MN1.external_home_address
    effects: Sequence[object] = ()
    for number, (care_of_address, lifetime_s) in enumerate(
        ((CARE_OF, 600), (ELSEWHERE, 600), (ELSEWHERE, 0)), 1
    ):
        update = BindingUpdate(number, lifetime_s, home_registration=True)
        data = codec.encode(update, home, COMPANY.home_agent)
        effects = host.mobility_received(data, home, COMPANY.home_agent, care_of_address, 0.0)
    assert tunnels(effects) == [(Remove, ELSEWHERE), (Remove, CARE_OF)]


def test_a_neighbour_that_claims_a_registered_address_takes_the_binding_from_the_kernel():
    host, home = home_agent(detect_duplicates=True), MN1.external_home_address
    data = update_of(MN1, COMPANY.home_agent, home_registration=True)
    effects = host.mobility_received(data, home, COMPANY.home_agent, CARE_OF, 0.0)
    assert kinds(effects) == [Apply, Record, DetectDuplicate]
    assert kinds(host.address_claimed(home, 0.5)) == [Apply, Record, SendMobility]
    assert host.address_claimed(home, 0.6) == []


@pytest.mark.parametrize("make", [mobile_node, home_agent, security_gateway])
def test_a_home_address_option_without_a_binding_is_answered_by_an_error(make: Any):
    host = make()
    own = COMPANY.security_gateway
    (sent,) = host.home_address_refused(
        RefusedOption(STRANGER.external_home_address, CARE_OF, own), 0.0
    )
    error = BindingError(ErrorStatus.UNKNOWN_BINDING, STRANGER.external_home_address)
    assert sent == SendMobility(own, CARE_OF, error)


@pytest.mark.parametrize("make", [mobile_node, security_gateway])
def test_a_care_of_test_that_no_answer_could_reach_is_dropped_and_told(make: Any):
    data = codec.encode(CareOfTestInit(b"cookie.."), CARE_OF, CARE_OF)
    (record,) = make().mobility_received(data, IPv6Address("fe80::1"), CARE_OF, None, 0.0)
    assert record == Record("mobility_dropped", details={"misdirected": 1})


@pytest.mark.parametrize("make", [mobile_node, home_agent, security_gateway])
def test_a_message_of_unknown_type_is_answered_by_an_error(make: Any):
    data = bytes((59, 0, 99, 0, 0, 0, 0, 0))
    (sent,) = make().mobility_received(data, CARE_OF, COMPANY.home_agent, None, 0.0)
    error = BindingError(ErrorStatus.UNRECOGNISED_MESSAGE_TYPE, IPv6Address("::"))
    assert sent == SendMobility(COMPANY.home_agent, CARE_OF, error)


def test_the_gateway_hears_of_withdrawn_pairs_and_of_nothing_else_from_the_vcm():
    host, vcm = security_gateway(), Gateway(COMPANY.security_gateway_inside)
    ends = MN1.internal_home_address, MN2.internal_home_address
    for idle in (False, True):
        told = host.datagram_received(COMPANY.vcm, vcm.says(PairWithdrawn(*ends, idle)), 0.0)
        assert TellDetectorOfPair(*ends, idle) in told
    assert kinds(host.datagram_received(COMPANY.vcm, vcm.says(NodeAbsent(ends[0])), 0.0)) == [
        SendSignal
    ]


def test_the_router_stands_in_for_known_nodes_and_only_while_they_are_absent():
    host, gateway = internal_router(), Gateway(COMPANY.internal_router)
    source = COMPANY.security_gateway_inside

    def hears(message: Request) -> list[str]:
        effects = host.datagram_received(source, gateway.says(message), 0.0)
        return [effect.event for effect in effects if isinstance(effect, Record)]

    assert hears(NodeAbsent(STRANGER.internal_home_address)) == []
    assert hears(NodePresent(MN1.internal_home_address)) == []
    assert hears(NodeAbsent(MN1.internal_home_address)) == ["node_absent"]
    assert hears(NodePresent(MN1.internal_home_address)) == ["node_present"]
    assert hears(PairWithdrawn(MN1.internal_home_address, MN2.internal_home_address)) == []


def test_the_router_ignores_a_stranger_and_has_nothing_to_wait_for():
    host = internal_router()
    payload = Gateway(COMPANY.internal_router).says(NodeAbsent(MN1.internal_home_address))
    assert host.datagram_received(STRANGER.internal_home_address, payload, 0.0) == []
    assert host.deadline is None
    assert host.timer_expired(1.0) == []
