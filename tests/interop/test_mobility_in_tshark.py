"""Our mobility messages as tshark reads them: known types, nothing malformed, no bad checksum."""

import shutil
import subprocess
from ipaddress import IPv6Address
from pathlib import Path

import pytest
from scapy.layers.inet6 import IPv6
from scapy.packet import Raw
from scapy.utils import wrpcap

from mobivpn.mip6 import codec
from mobivpn.mip6.messages import (
    BindingAcknowledgement,
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

NODE = IPv6Address("2001:db8:ee::d1")
PEER = IPv6Address("2001:db8:ee::d2")
CARE_OF = IPv6Address("2001:db8:1::d1")
KEY = bytes(range(20))
COOKIE, TOKEN = b"cookie..", b"token..."

MESSAGES: list[SentMessage] = [
    BindingRefreshRequest(),
    HomeTestInit(COOKIE),
    CareOfTestInit(COOKIE),
    HomeTest(1, COOKIE, TOKEN),
    CareOfTest(2, COOKIE, TOKEN),
    BindingUpdate(5, 600, home_registration=True, alternate_care_of_address=CARE_OF),
    codec.authorise(BindingUpdate(6, 420, nonce_indices=NonceIndices(1, 2)), KEY, CARE_OF, PEER),
    codec.authorise(BindingUpdate(7, 420), KEY, CARE_OF, PEER),
    BindingAcknowledgement(0, 5, 600, refresh_advice_s=300),
    codec.authorise(BindingAcknowledgement(0, 6, 420), KEY, CARE_OF, PEER),
    BindingAcknowledgement(135, 7, 0),
    BindingError(1, NODE),
]


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_tshark_finds_nothing_wrong_with_any_message(tmp_path: Path):
    capture = tmp_path / "mobility.pcap"
    packets = [
        IPv6(src=str(NODE), dst=str(PEER), nh=135) / Raw(codec.encode(message, NODE, PEER))
        for message in MESSAGES
    ]
    wrpcap(str(capture), packets)
    fields = ("mip6.mhtype", "mip6.bu.seqnr", "mip6.bu.lifetime", "mip6.ba.seqnr", "_ws.expert")
    command = ["tshark", "-r", str(capture), "-T", "fields"]
    for name in fields:
        command += ["-e", name]
    read = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    rows = [line.split("\t") for line in read.splitlines()]
    assert [int(row[0]) for row in rows] == [0, 1, 2, 3, 4, 5, 5, 5, 6, 6, 6, 7]
    assert [row[1:3] for row in rows[5:8]] == [["5", "150"], ["6", "105"], ["7", "105"]]
    assert [row[3] for row in rows[8:11]] == ["5", "6", "7"]
    assert not any(row[4] for row in rows)
