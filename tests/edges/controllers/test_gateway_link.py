"""The socket between the sg agent and the Ryu application."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from controllers.gateway_link import (
    GatewayLink,
    NodeOutside,
    PairOver,
    agent_path,
    application_path,
    decode,
    decode_notice,
    encode,
    encode_notice,
)
from mobivpn.errors import MalformedError
from mobivpn.signalling.messages import NodeInternal, SessionDetected
from tests.support.company import MN1, MN2

CARE_OF = IPv6Address("2001:db8:1::d1")
INSIDE, OUTSIDE = MN1.internal_home_address, MN1.external_home_address


@pytest.mark.parametrize(
    "telling",
    [
        NodeOutside(INSIDE, OUTSIDE, CARE_OF),
        NodeOutside(INSIDE, OUTSIDE, None),
        NodeOutside(INSIDE, None, None),
        PairOver(INSIDE, MN2.internal_home_address, idle=False),
        PairOver(INSIDE, MN2.internal_home_address, idle=True),
    ],
)
def test_what_is_told_comes_out_as_it_went_in(telling: NodeOutside | PairOver):
    assert decode(encode(telling)) == telling


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b'["node"]',
        b'["none", {}]',
        b'["node", {}]',
        b'["pair", {"first": "fd00::1"}]',
        b'["pair", {"first": "fd00::1", "second": "nobody", "idle": true}]',
        b'["pair", {"first": "fd00::1", "second": 5, "idle": true}]',
        b'["pair", {"first": "fd00::1", "second": "fd00::2", "idle": 1}]',
        encode(PairOver(INSIDE, OUTSIDE, idle=True))[:-1],
        b"\xff\xfe",
    ],
)
def test_anything_else_is_malformed(data: bytes):
    with pytest.raises(MalformedError):
        decode(data)


@pytest.mark.parametrize(
    "notice", [NodeInternal(INSIDE), SessionDetected(INSIDE, MN2.internal_home_address)]
)
def test_a_notice_has_the_signalling_s_own_form(notice: NodeInternal | SessionDetected):
    assert decode_notice(encode_notice(notice)) == notice


def test_a_malformed_notice_is_refused():
    with pytest.raises(MalformedError):
        decode_notice(encode_notice(NodeInternal(INSIDE))[:-1])


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[Callable[[], tuple[GatewayLink, GatewayLink]]]:
    """Return a maker of the application's and the agent's ends."""
    application, agent = application_path(tmp_path / "link"), agent_path(tmp_path / "link")
    with ExitStack() as stack:

        def make() -> tuple[GatewayLink, GatewayLink]:
            made = GatewayLink(application, agent), GatewayLink(agent, application)
            for link in made:
                stack.callback(link.file.close)
            return made

        yield make


def test_datagrams_come_one_by_one_and_in_order(ends):
    application, agent = ends()
    agent.send(b"first")
    agent.send(b"second")
    application.send(b"back")
    received = [application.receive(), application.receive(), agent.receive()]
    assert received == [b"first", b"second", b"back"]


def test_a_later_start_takes_the_place_of_an_earlier_one(ends):
    for end in ends():
        end.file.close()
    later, agent = ends()
    agent.send(b"to the later one")
    assert later.receive() == b"to the later one"


def test_nobody_at_the_other_end_is_an_error(ends):
    application, agent = ends()
    application.file.close()
    with pytest.raises(ConnectionRefusedError):
        agent.send(b"hello")
