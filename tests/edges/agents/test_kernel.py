"""Changes become `ip` commands, refusals are found and named (agents.kernel, agents.key_log)."""

import subprocess
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

import pytest

from agents.kernel import MARK, Kernel, addition, failures, packet_counts
from agents.key_log import KeyLog
from mobivpn.errors import KernelRefusal
from mobivpn.host.advertisements import heard_under, mint_advertisements, sent_under
from mobivpn.host.movement import Outside
from mobivpn.host.network import (
    Address,
    Dummy,
    DuplicateDetection,
    NeighbourProxy,
    NextHop,
    Route,
    Rule,
    Tunnel,
)
from mobivpn.host.node_databases import NodeDatabases
from mobivpn.ipsec.databases import Put, Remove, difference
from mobivpn.ipsec.policy import PolicyAction, Precedence, SecurityPolicy
from mobivpn.ipsec.route_optimisation import Extension, RouteOptimisation
from mobivpn.ipsec.sa import EspAlgorithm
from mobivpn.ipsec.selector import Direction, TrafficSelector, host
from tests.support.company import COMPANY, MN1, DifferentBytes, associations
from tests.support.offers import minted

GIVEN = associations()
HOME, PEER = MN1.external_home_address, IPv6Address("2001:db8:ee::d2")
CARE_OF = IPv6Address("2001:db8:1::d1")
POLICY = SecurityPolicy(
    "p",
    Direction.INBOUND,
    TrafficSelector(host(HOME), host(PEER), 135),
    PolicyAction.DISCARD,
    Precedence.VPN,
)


R22 = IPv6Address("fe80::22")
SIGNED, SIGNING_POLICY = sent_under(mint_advertisements(R22, DifferentBytes()), "lan")
ADVERTISEMENT = f"src {R22}/128 dst ff02::1/128 proto 58 type 134"


class RecordedIp:
    """Stands in for `ip`: remembers the batches, fails at the commands it is told to."""

    def __init__(self, refuse: dict[str, str] | None = None) -> None:
        self.refuse = refuse or {}
        self.carried_out: list[str] = []
        self.counters = ""

    def __call__(self, arguments: list[str], text: str) -> subprocess.CompletedProcess[str]:
        if arguments[0] == "-s":
            return subprocess.CompletedProcess(arguments, 0, self.counters, "")
        stdout = stderr = ""
        for number, line in enumerate(text.splitlines(), 1):
            if line == MARK:
                stdout += "\t SAD count 7\n"
                continue
            why = next((w for start, w in self.refuse.items() if line.startswith(start)), None)
            if why is None:
                self.carried_out.append(line)
            elif line.startswith("xfrm"):
                return subprocess.CompletedProcess(arguments, 2, stdout, f"{stderr}{why}\n")
            else:
                stderr += f"{why}\nCommand failed -:{number}\n"
        return subprocess.CompletedProcess(arguments, 0, stdout, stderr)


def commands(*changes) -> list[str]:
    ip = RecordedIp()
    Kernel(KeyLog(None), ip).apply(changes)
    return ip.carried_out


@pytest.mark.parametrize(
    ("entry", "added", "removed"),
    [
        (Dummy("vpn0"), ["link add name vpn0 type dummy", "link set vpn0 up"], "link delete vpn0"),
        (
            Address(HOME, "vpn0", home=True),
            [f"address replace {HOME}/128 dev vpn0 nodad home"],
            f"address delete {HOME}/128 dev vpn0",
        ),
        (
            Address(HOME, "eth0", deprecated=True),
            [f"address replace {HOME}/128 dev eth0 nodad preferred_lft 0"],
            f"address delete {HOME}/128 dev eth0",
        ),
        (
            Address(PEER, "eth0", detection=DuplicateDetection.OPTIMISTIC),
            [f"address replace {PEER}/128 dev eth0 optimistic"],
            f"address delete {PEER}/128 dev eth0",
        ),
        (
            Address(PEER, "eth0", detection=DuplicateDetection.CLASSIC),
            [f"address replace {PEER}/128 dev eth0"],
            f"address delete {PEER}/128 dev eth0",
        ),
        (
            NextHop(2, "eth0", IPv6Address("fe80::1")),
            ["nexthop replace id 2 via fe80::1 dev eth0"],
            "nexthop delete id 2",
        ),
        (
            Route(IPv6Network("::/0"), next_hop=2, mtu=1360),
            ["route replace default metric 1024 table 254 nhid 2 mtu 1360"],
            "route delete default metric 1024 table 254",
        ),
        (
            Route(IPv6Network("fd00:10::/64"), table=101),
            ["route replace unreachable fd00:10::/64 metric 1024 table 101 "],
            "route delete fd00:10::/64 metric 1024 table 101",
        ),
        (
            Rule(101, 90, incoming_device="lan"),
            ["rule add preference 90 iif lan lookup 101"],
            "rule delete preference 90 iif lan lookup 101",
        ),
        (
            NeighbourProxy(HOME, "lan"),
            [f"neighbour replace proxy {HOME} dev lan"],
            f"neighbour delete proxy {HOME} dev lan",
        ),
        (
            RouteOptimisation(Extension.ROUTING_HEADER, HOME, PEER, CARE_OF),
            [f"xfrm state add src {HOME} dst {PEER} proto route2 mode ro coa {CARE_OF}"],
            f"xfrm state delete src {HOME} dst {PEER} proto route2",
        ),
        (
            SIGNED,
            [
                f"xfrm state add src {R22} dst ff02::1 proto ah spi 0x10000 reqid 70 "
                f"mode transport replay-window 64 flag esn sel {ADVERTISEMENT} "
                f"auth-trunc hmac(sha256) 0x{SIGNED.key.hex()} 128"
            ],
            f"xfrm state delete src {R22} dst ff02::1 proto ah spi 0x10000",
        ),
        (
            heard_under(SIGNED),
            [
                f"xfrm state add src {R22} dst ff02::1 proto ah spi 0x10000 reqid 70 "
                f"mode transport replay-window 64 flag esn output-mark 2 mask 2 "
                f"sel {ADVERTISEMENT} auth-trunc hmac(sha256) 0x{SIGNED.key.hex()} 128"
            ],
            f"xfrm state delete src {R22} dst ff02::1 proto ah spi 0x10000",
        ),
        (
            SIGNING_POLICY,
            [
                f"xfrm policy update {ADVERTISEMENT} dev lan dir out action allow priority 200 "
                f"tmpl src {R22} dst ff02::1 proto ah reqid 70 mode transport"
            ],
            f"xfrm policy delete {ADVERTISEMENT} dev lan dir out",
        ),
        (
            POLICY,
            [
                f"xfrm policy update src {PEER}/128 dst {HOME}/128 proto 135 dir in "
                f"action block priority 1000"
            ],
            f"xfrm policy delete src {PEER}/128 dst {HOME}/128 proto 135 dir in",
        ),
    ],
)
def test_every_entry_has_its_commands(entry, added: list[str], removed: str):
    assert commands(Put(entry)) == added
    assert commands(Remove(entry)) == [removed]


def test_a_binding_that_moves_is_updated_in_place():
    before = RouteOptimisation(Extension.ROUTING_HEADER, HOME, PEER, CARE_OF)
    after = RouteOptimisation(Extension.ROUTING_HEADER, HOME, PEER, IPv6Address("2001:db8:2::d1"))
    assert commands(Put(after, before)) == [
        f"xfrm state update src {HOME} dst {PEER} proto route2 mode ro coa 2001:db8:2::d1"
    ]


def test_a_tunnel_that_moves_keeps_its_device():
    before = Tunnel("ha0", CARE_OF, COMPANY.home_agent, 1460)
    (command,) = commands(Put(Tunnel("ha0", PEER, COMPANY.home_agent, 1460), before))
    assert command.startswith("link change name ha0 ")


def test_an_association_whose_end_moves_goes_on_counting():
    node = NodeDatabases(MN1, COMPANY, GIVEN)
    changes = difference(
        node.at(Outside("eth0", IPv6Address("fe80::1"), CARE_OF)),
        node.at(Outside("eth0", IPv6Address("fe80::1"), IPv6Address("2001:db8:2::d1"))),
    )
    ip = RecordedIp()
    ip.counters = "\t seq-hi 0x0, seq 0x7, oseq-hi 0x1, oseq 0x2a\n"
    Kernel(KeyLog(None), ip).apply(changes)
    moved = [line for line in ip.carried_out if "state add" in line and "2001:db8:2::d1" in line]
    assert moved[0].endswith("replay-seq-hi 0x0 replay-seq 0x7 replay-oseq-hi 0x1 replay-oseq 0x2a")


def test_nothing_is_run_for_no_changes():
    ip = RecordedIp()
    Kernel(KeyLog(None), ip).apply(())
    assert ip.carried_out == []


def test_what_the_kernel_dropped_by_itself_is_no_refusal():
    ip = RecordedIp(refuse={"nexthop delete": "RTNETLINK answers: No such process"})
    Kernel(KeyLog(None), ip).apply((Remove(NextHop(2, "eth0")),))


def test_a_refusal_is_named_and_the_rest_is_carried_out_all_the_same():
    ip = RecordedIp(refuse={"address": "RTNETLINK answers: Permission denied"})
    with pytest.raises(KernelRefusal, match=r"address replace .*: RTNETLINK .*denied"):
        Kernel(KeyLog(None), ip).apply((Put(Address(HOME, "vpn0")), Put(Dummy("vpn0"))))
    assert "link set vpn0 up" in ip.carried_out


@pytest.mark.parametrize("sa", [next(iter(GIVEN.values())).forward, SIGNED])
def test_a_refused_association_neither_shows_its_key_nor_stops_the_rest(sa):
    ip = RecordedIp(refuse={"xfrm state add": "RTNETLINK answers: File exists"})
    with pytest.raises(KernelRefusal) as refusal:
        Kernel(KeyLog(None), ip).apply((Put(sa), Put(POLICY), Put(Dummy("vpn0"))))
    assert sa.key.hex() not in str(refusal.value)
    assert "(key)" in str(refusal.value)
    assert ip.carried_out[-1] == "link set vpn0 up"


@pytest.mark.parametrize("algorithm", EspAlgorithm)
def test_no_algorithm_shows_a_key_when_it_is_refused(algorithm: EspAlgorithm):
    ip = RecordedIp(refuse={"xfrm state add": "RTNETLINK answers: Function not implemented"})
    sa = minted(algorithm=algorithm).forward
    with pytest.raises(KernelRefusal) as refusal:
        Kernel(KeyLog(None), ip).apply((Put(sa),))
    its = algorithm.transform
    for part in (sa.key[: its.key_bytes], sa.key[its.key_bytes :] or sa.key):
        assert part.hex() not in str(refusal.value)


def test_cbc_and_hmac_have_a_key_each():
    sa = minted(algorithm=EspAlgorithm.AES128_SHA256).forward
    (command,) = addition(sa)
    assert command.endswith(
        f" auth-trunc hmac(sha256) 0x{sa.key[16:].hex()} 128 enc cbc(aes) 0x{sa.key[:16].hex()}"
    )


def test_chacha20_has_its_key_and_salt_in_one():
    sa = minted(algorithm=EspAlgorithm.CHACHA20POLY1305).forward
    (command,) = addition(sa)
    assert command.endswith(f" aead rfc7539esp(chacha20,poly1305) 0x{sa.key.hex()} 128")


def test_failures_are_read_line_by_line():
    stderr = "Error: ipv6: address not found.\nCommand failed -:3\nCommand failed -:5\n"
    assert list(failures(stderr)) == [(2, "Error: ipv6: address not found."), (4, "refused")]


def test_the_key_log_is_wiresharks_table_and_only_its_owner_reads_it(tmp_path: Path):
    path = tmp_path / "esp_sa"
    sa = next(iter(GIVEN.values())).forward
    log = KeyLog(path)
    log.add(sa)
    log.add(sa)
    assert path.read_text() == (
        f'"IPv6","*","*","{int(sa.spi):#010x}","AES-GCM with 16 octet ICV [RFC4106]",'
        f'"0x{sa.key.hex()}","NULL",""\n'
    )
    assert path.stat().st_mode & 0o777 == 0o600


def test_packet_counters_are_read_for_each_association():
    text = """src 2001:db8::1 dst 2001:db8::2
\tproto esp spi 0x00001001(4097) reqid 10(0x0000000a) mode tunnel
\treplay-window 0 seq 0x00000000 flag  esn (0x80)
\tlifetime config:
\t  limit: soft (INF)(packets), hard (INF)(packets)
\tlifetime current:
\t  1200(bytes), 10(packets)
src 2001:db8::2 dst 2001:db8::1
\tproto esp spi 0x00001002(4098) reqid 10(0x0000000a) mode tunnel
\tlifetime current:
\t  0(bytes), 0(packets)
"""
    assert list(packet_counts(text)) == [(0x1001, 10), (0x1002, 0)]


def test_packet_counts_of_bindings_are_read_as_well():
    text = """\
src 2001:db8:ee::d1 dst 2001:db8:ee::d2
\tproto hao spi 0x00000000(0) reqid 0(0x00000000) mode ro
\treplay-window 0 seq 0x00000000 flag  (0x00000000)
\tcoa 2001:db8:1::d1
\tlifetime current:
\t  1000(bytes), 9(packets)
src :: dst 2001:db8:ee::d1
\tproto route2 spi 0x00000000(0) reqid 0(0x00000000) mode ro
\tlifetime current:
\t  0(bytes), 3(packets)
"""
    option = RouteOptimisation(Extension.HOME_ADDRESS_OPTION, HOME, PEER, CARE_OF)
    header = RouteOptimisation(Extension.ROUTING_HEADER, IPv6Address("::"), HOME, CARE_OF)
    assert dict(packet_counts(text)) == {option.identity: 9, header.identity: 3}
