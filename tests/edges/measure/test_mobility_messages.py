"""Mobility messages in captures: counted with their checksum, by us and by tshark."""

import shutil
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from experiments.mobility_messages import Opinion, opinion
from mobivpn.mip6 import codec
from mobivpn.mip6.messages import BindingUpdate
from tests.support.packets import MOBILITY, Association, ethernet, home_address, ipv6, write_pcapng

HOME, CARE_OF, AGENT = "2001:db8:ee::d1", "2001:db8:1::d1", "2001:db8:ee::1"

pytestmark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")


def counted(tmp_path: Path, *messages: bytes) -> Opinion:
    """Return the opinion on updates under ESP, with a home address option."""
    association = Association(0x1001)
    frames = [
        ethernet(ipv6(CARE_OF, AGENT, home_address(HOME, association.seal((MOBILITY, message)))))
        for message in messages
    ]
    capture, keys = tmp_path / "ha.pcapng", tmp_path / "keys" / "esp_sa"
    write_pcapng(capture, enumerate(frames))
    keys.parent.mkdir()
    keys.write_text(association.esp_sa_line)
    return opinion(capture, keys)


def test_a_message_under_esp_is_counted_by_both_and_its_checksum_is_that_of_the_home_address(
    tmp_path: Path,
):
    update = codec.encode(BindingUpdate(1, 600), IPv6Address(HOME), IPv6Address(AGENT))
    found = counted(tmp_path, update)
    assert found == Opinion(messages=1, bad_checksums=0, by_tshark=1, malformed=0)
    assert found.faultless


def test_a_checksum_over_the_care_of_address_is_bad(tmp_path: Path):
    update = codec.encode(BindingUpdate(1, 600), IPv6Address(CARE_OF), IPv6Address(AGENT))
    found = counted(tmp_path, update)
    assert found.bad_checksums == 1
    assert not found.faultless


def test_a_message_with_a_cut_option_is_malformed_to_tshark(tmp_path: Path):
    update = codec.encode(BindingUpdate(1, 600), IPv6Address(HOME), IPv6Address(AGENT))
    cut = update[:1] + b"\x02" + update[2:12] + b"\x03\x10" + bytes(2)
    assert not counted(tmp_path, cut).faultless
