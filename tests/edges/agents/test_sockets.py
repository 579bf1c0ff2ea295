"""What agents decode by themselves: link messages, advertisements, destination options."""

import contextlib
import struct
from ipaddress import IPv6Address, IPv6Network

import pytest

from agents.configuration import Configuration, GivenAssociation, read, write
from agents.link_monitor import (
    IFA_F_DADFAILED,
    IFA_F_OPTIMISTIC,
    IFA_F_TENTATIVE,
    NLMSG_DONE,
    RTM_DELADDR,
    RTM_DELLINK,
    RTM_NEWADDR,
    RTM_NEWLINK,
    AddressDuplicate,
    AddressState,
    AddressTold,
    AddressUsable,
    DumpDone,
    LinkFound,
    LinkLost,
    LinkTable,
    LinkTold,
    News,
    decode,
)
from agents.mobility_socket import home_address_option
from agents.neighbour_discovery import decode_advertisement
from agents.signalling_socket import LocalSocket
from mobivpn.errors import CallerError
from mobivpn.host.advertisements import mint_advertisements
from mobivpn.signalling.exchange import SendSignal
from tests.support.company import COMPANY, DifferentBytes, associations
from tests.support.netlink import attributes, message

MAC = bytes.fromhex("0200000000d1")
LINK_LOCAL, CARE_OF = IPv6Address("fe80::d1"), IPv6Address("2001:db8:1::d1")


def link_message(kind: int, name: str, flags: int, index: int = 7) -> bytes:
    body = struct.pack("=BxHiII", 0, 1, index, flags, 0)
    return message(kind, body + attributes((1, MAC), (3, name.encode() + b"\0")))


def address_message(kind: int, address: IPv6Address, flags: int = 0, index: int = 7) -> bytes:
    body = struct.pack("=BBBBi", 10, 64, flags & 0xFF, 0, index)
    return message(kind, body + attributes((1, address.packed), (8, struct.pack("=I", flags))))


def test_netlink_messages_are_read_one_after_another():
    data = (
        link_message(RTM_NEWLINK, "mn1-eth0", 0x10001)
        + address_message(RTM_NEWADDR, LINK_LOCAL)
        + address_message(RTM_NEWADDR, CARE_OF, IFA_F_TENTATIVE)
        + link_message(RTM_DELLINK, "mn1-eth0", 0x10001)
        + message(NLMSG_DONE, bytes(4))
    )
    assert list(decode(data)) == [
        LinkTold(7, "mn1-eth0", MAC, True),
        AddressTold(7, LINK_LOCAL, AddressState.USABLE),
        AddressTold(7, CARE_OF, AddressState.TENTATIVE),
        LinkTold(7, "mn1-eth0", MAC, False),
        DumpDone(),
    ]


@pytest.mark.parametrize(
    ("kind", "flags", "state"),
    [
        (RTM_NEWADDR, 0, AddressState.USABLE),
        (RTM_NEWADDR, IFA_F_TENTATIVE | IFA_F_OPTIMISTIC, AddressState.USABLE),
        (RTM_NEWADDR, IFA_F_TENTATIVE, AddressState.TENTATIVE),
        (RTM_NEWADDR, IFA_F_TENTATIVE | IFA_F_DADFAILED, AddressState.DUPLICATE),
        (RTM_DELADDR, IFA_F_TENTATIVE | IFA_F_DADFAILED, AddressState.GONE),
    ],
)
def test_flags_tell_what_may_be_done_with_an_address(kind: int, flags: int, state: AddressState):
    assert list(decode(address_message(kind, CARE_OF, flags))) == [AddressTold(7, CARE_OF, state)]


def changes(*messages: LinkTold | AddressTold) -> list[News]:
    table = LinkTable("mn1-eth")
    return [change for told in messages for change in table.told(told)]


UP, DOWN = LinkTold(7, "mn1-eth0", MAC, True), LinkTold(7, "mn1-eth0", MAC, False)
ADDRESSED, TENTATIVE, IN_USE, BARE = (
    AddressTold(7, LINK_LOCAL, state)
    for state in (
        AddressState.USABLE,
        AddressState.TENTATIVE,
        AddressState.DUPLICATE,
        AddressState.GONE,
    )
)
FOUND, LOST = LinkFound("mn1-eth0", MAC), LinkLost("mn1-eth0")


@pytest.mark.parametrize("messages", [(UP, ADDRESSED), (ADDRESSED, UP), (UP, UP, ADDRESSED, UP)])
def test_a_link_is_found_once_when_it_has_carrier_and_link_local_address(messages):
    assert changes(*messages) == [FOUND]


@pytest.mark.parametrize("last", [DOWN, BARE, IN_USE])
def test_a_link_is_lost_with_either(last):
    assert changes(UP, ADDRESSED, last, last) == [FOUND, LOST]


def test_a_link_without_carrier_or_of_another_name_is_none():
    assert changes(DOWN, ADDRESSED) == []
    assert changes(UP, TENTATIVE) == []
    other = AddressTold(8, LINK_LOCAL, AddressState.USABLE)
    assert changes(LinkTold(8, "vpn0", b"", True), other) == []


def test_the_fate_of_an_address_is_told_and_what_is_undecided_is_not():
    told = [AddressTold(7, CARE_OF, state) for state in AddressState]
    assert changes(*told) == []  # of a link of another name
    assert changes(UP, *told) == [
        AddressUsable("mn1-eth0", CARE_OF),
        AddressDuplicate("mn1-eth0", CARE_OF),
    ]


def advertisement(lifetime: int, *options: bytes) -> bytes:
    return struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, lifetime, 0, 0) + b"".join(options)


def prefix_information(prefix: str, length: int = 64) -> bytes:
    return struct.pack("!BBBBIII", 3, 4, length, 0xC0, 86400, 14400, 0) + IPv6Address(prefix).packed


def test_an_advertisement_gives_its_lifetime_and_prefixes():
    data = advertisement(1800, b"\x01\x01" + MAC, prefix_information("2001:db8:1::"))
    assert decode_advertisement(data) == (1800, (IPv6Network("2001:db8:1::/64"),))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x85" + bytes(15),
        advertisement(1800, b"\x03\x00"),
        advertisement(1800, b"\x03\x04\x40"),
        advertisement(1800, b"\x03"),
    ],
)
def test_a_malformed_advertisement_is_none(data: bytes):
    assert decode_advertisement(data) is None


def test_a_prefix_longer_than_an_address_is_ignored():
    assert decode_advertisement(advertisement(9, prefix_information("2001:db8::", 129))) == (9, ())


def test_the_care_of_address_is_found_behind_padding():
    address = IPv6Address("2001:db8:1::d1")
    header = b"\x87\x02" + b"\x01\x02\x00\x00" + b"\xc9\x10" + address.packed
    assert home_address_option(header) == address
    assert home_address_option(b"\x87\x00\x00\x01\x03\x00\x00\x00") is None
    assert home_address_option(b"\x87\x00\x01") is None


def test_a_configuration_survives_its_file_and_only_its_owner_reads_it(tmp_path):
    path = tmp_path / "mn1.json"
    before = Configuration(
        role="mobile_node",
        name="mn1",
        company=COMPANY,
        associations=tuple(
            GivenAssociation(purpose, node, pair)
            for (purpose, node), pair in associations().items()
        ),
        event_log="events.jsonl",
        devices={"lan": "r22-eth0"},
        advertisements=mint_advertisements(IPv6Address("fe80::22"), DifferentBytes()),
        outside_router=IPv6Address("2001:db8:5::1"),
    )
    write(before, path)
    assert read(path) == before
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["", "{}", '{"role": 3}'])
def test_a_damaged_configuration_is_named(tmp_path, text: str):
    path = tmp_path / "mn1.json"
    path.write_text(text)
    with pytest.raises(CallerError, match=r"mn1\.json"):
        read(path)


def test_agents_of_one_host_speak_to_each_other_by_no_network(tmp_path):
    sg, vcm = COMPANY.security_gateway_inside, COMPANY.vcm
    with contextlib.ExitStack() as stack:
        one, other = (LocalSocket(tmp_path / "link", ends) for ends in ((sg, vcm), (vcm, sg)))
        for end in (one, other):
            stack.callback(end.file.close)
        one.send(SendSignal(vcm, b"202"))
        other.send(SendSignal(sg, b"204"))
        assert list(other.read()) == [(sg, b"202")]
        assert list(one.read()) == [(vcm, b"204")]


def test_what_is_said_to_an_agent_that_is_not_there_is_lost(tmp_path):
    sg, vcm = COMPANY.security_gateway_inside, COMPANY.vcm
    end = LocalSocket(tmp_path / "link", (sg, vcm))
    with contextlib.closing(end.file):
        end.send(SendSignal(vcm, b"202"))
