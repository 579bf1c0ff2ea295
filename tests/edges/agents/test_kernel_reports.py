"""What the kernel tells of IPsec, from datagrams made by its structures (linux/xfrm.h)."""

import socket
import struct
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from agents.kernel_reports import (
    AEVENT_SYSCTLS,
    XFRM_MSG_NEWAE,
    XFRM_MSG_REPORT,
    XFRMA_COADDR,
    hear_of_used_associations,
    refused_options,
    used_associations,
)
from mobivpn.errors import CallerError
from mobivpn.ipsec.sa import Spi
from mobivpn.mip6.binding_errors import RefusedOption
from tests.support.netlink import attributes, message

HOME, SG, CARE_OF = (IPv6Address(f"2001:db8:{end}") for end in ("ee::d1", "5::5", "1::d1"))


def used(spi: int) -> bytes:
    association = SG.packed + struct.pack("!I", spi) + struct.pack("=HBx", 10, socket.IPPROTO_ESP)
    return message(XFRM_MSG_NEWAE, association + HOME.packed + struct.pack("=II", 0, 10))


def refused(protocol: int) -> bytes:
    selector = SG.packed + HOME.packed + bytes(24)
    told = attributes((XFRMA_COADDR, CARE_OF.packed))
    return message(XFRM_MSG_REPORT, struct.pack("=B3x", protocol) + selector + told)


def test_each_kind_of_report_is_taken_from_among_others():
    data = used(0x1234) + refused(socket.IPPROTO_DSTOPTS) + used(0xFEDCBA98)
    assert list(used_associations(data)) == [Spi(0x1234), Spi(0xFEDCBA98)]
    assert list(refused_options(data)) == [RefusedOption(HOME, CARE_OF, SG)]
    assert list(refused_options(refused(socket.IPPROTO_ROUTING))) == []


@pytest.mark.parametrize("read", [used_associations, refused_options])
def test_a_report_that_is_cut_short_tells_nothing(read):
    for data in (used(0x1234)[:-1], used(0x1234)[:20], bytes(16), message(XFRM_MSG_NEWAE, b"")):
        assert list(read(data)) == []


def test_the_kernel_is_asked_to_tell_of_the_first_packet(tmp_path: Path):
    hear_of_used_associations(tmp_path).file.close()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        name: str(value) for name, value in AEVENT_SYSCTLS.items()
    }
    with pytest.raises(CallerError, match="none/xfrm_aevent_etime: No such file"):
        hear_of_used_associations(tmp_path / "none")
