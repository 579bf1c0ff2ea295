"""Carry changes of SAD, SPD, bindings, addresses and routes into the kernel by `ip -batch`.

Keys go by standard input, never on a command line, where every user could read them.
"""

import re
import subprocess
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from functools import singledispatch
from ipaddress import IPv6Address, IPv6Network

from agents.key_log import KeyLog
from mobivpn.errors import KernelRefusal
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
from mobivpn.ipsec.databases import Change, Entry, Remove
from mobivpn.ipsec.policy import (
    AhTemplate,
    EspTemplate,
    HomeAddressTemplate,
    PolicyAction,
    SecurityPolicy,
    Template,
)
from mobivpn.ipsec.route_optimisation import Extension, RouteOptimisation
from mobivpn.ipsec.sa import (
    AhAlgorithm,
    AuthenticationAssociation,
    EspAlgorithm,
    SecurityAssociation,
    Spi,
)
from mobivpn.ipsec.selector import Direction, TrafficSelector

GONE = (
    "No such process",
    "No such file or directory",
    "No such device",
    "Cannot find device",
    "Cannot assign requested address",
)
"""What the kernel says when there is nothing to remove: it removed it itself, with its link."""

MARK = "xfrm state count"

AEAD = {
    EspAlgorithm.AES128GCM16: "rfc4106(gcm(aes))",
    EspAlgorithm.AES256GCM16: "rfc4106(gcm(aes))",
    EspAlgorithm.CHACHA20POLY1305: "rfc7539esp(chacha20,poly1305)",
}
"""Linux's names of algorithms of combined mode; of the others, those that follow."""
ENCRYPTION, INTEGRITY = "cbc(aes)", "hmac(sha256)"
AUTHENTICATION = {AhAlgorithm.SHA256_128: ("hmac(sha256)", 128)}
"""Linux's name of an AH algorithm, and its ICV length in bits."""

RunIp = Callable[[list[str], str], subprocess.CompletedProcess[str]]


def run_ip(arguments: list[str], text: str) -> subprocess.CompletedProcess[str]:
    """Run `ip` with `text` on its standard input."""
    return subprocess.run(
        ["ip", "-6", *arguments], input=text, capture_output=True, text=True, check=False
    )


@dataclass(slots=True)
class Kernel:
    """The kernel of the host that this process runs in."""

    key_log: KeyLog
    run: RunIp = run_ip

    def apply(self, changes: tuple[Change, ...]) -> None:
        """Carry out `changes` in order, all of them even if one is refused.

        Raises KernelRefusal naming each refused command; a key is never part of the text.
        """
        lines: list[str] = []
        may_be_gone: set[int] = set()
        for change in changes:
            commands = list(self._commands(change))
            if isinstance(change, Remove):
                may_be_gone.update(range(len(lines), len(lines) + len(commands)))
            lines += commands
        refused = [
            f"{_without_key(lines[number])}: {why}"
            for number, why in self._run_all(lines)
            if not (number in may_be_gone and any(gone in why for gone in GONE))
        ]
        if refused:
            raise KernelRefusal("; ".join(refused))

    def packets_by_carrier(self) -> dict[Hashable, int]:
        """Return how many packets each SA, by SPI, and each binding has carried."""
        done = self.run(["-s", "xfrm", "state", "list", "nokeys"], "")
        return dict(packet_counts(done.stdout))

    def _run_all(self, lines: list[str]) -> Iterator[tuple[int, str]]:
        """Run every line in order; yield (line number from 0, reason) for those that failed.

        A refused `ip xfrm` ends the whole batch, whatever -force says, and does not tell its line:
        so each is followed by a command whose output counts how far the batch came.
        """
        start = 0
        while start < len(lines):
            batch: list[str] = []
            number_of: list[int] = []
            for number in range(start, len(lines)):
                batch.append(lines[number])
                if lines[number].startswith("xfrm "):
                    batch.append(MARK)
                    number_of.append(number)
            position = [i for i, line in enumerate(batch) if line != MARK]
            done = self.run(["-force", "-batch", "-"], "\n".join(batch) + "\n")
            for line_number, why in failures(done.stderr):
                yield start + position.index(line_number), why
            marks = sum(line.strip().startswith("SAD count") for line in done.stdout.splitlines())
            if marks == len(number_of):
                return
            yield number_of[marks], done.stderr.strip().splitlines()[-1]
            start = number_of[marks] + 1

    def _commands(self, change: Change) -> Iterator[str]:
        entry = change.entry
        if isinstance(change, Remove):
            yield from removal(entry)
            return
        if isinstance(entry, SecurityAssociation):
            self.key_log.add(entry)
            if change.before is not None:
                yield from removal(change.before)
                yield from (f"{line} {self._sequence(change.before)}" for line in addition(entry))
                return
        if isinstance(entry, Tunnel) and change.before is not None:
            yield f"link change {_tunnel(entry)}"
            return
        if isinstance(entry, RouteOptimisation):
            # "update" in place: no moment passes without the binding.
            yield f"xfrm state {'update' if change.before else 'add'} {_binding(entry)}"
            return
        yield from addition(entry)

    def _sequence(self, sa: Entry) -> str:
        """Return the options that let a re-created SA go on counting where it was.

        A peer whose anti-replay window has moved on would drop everything from a count of 0, and
        with AES-GCM a number used twice under one key gives the key stream away (RFC 4106 9).
        """
        assert isinstance(sa, SecurityAssociation)
        done = self.run(
            [
                *("-s", "xfrm", "state", "get", "src", str(sa.source), "dst"),
                *(str(sa.destination), "proto", "esp", "spi", f"{int(sa.spi):#x}"),
            ],
            "",
        )
        found = re.search(
            r"seq-hi (0x\w+), seq (0x\w+), oseq-hi (0x\w+), oseq (0x\w+)", done.stdout
        )
        if done.returncode != 0 or found is None:
            return ""
        seq_hi, seq, oseq_hi, oseq = found.groups()
        return (
            f"replay-seq-hi {seq_hi} replay-seq {seq} replay-oseq-hi {oseq_hi} replay-oseq {oseq}"
        )


def failures(stderr: str) -> Iterator[tuple[int, str]]:
    """Yield (line number from 0, reason) for each command that `ip -force -batch` reports."""
    reason: list[str] = []
    for line in stderr.splitlines():
        found = re.match(r"Command failed .*:(\d+)$", line)
        if found is None:
            reason.append(line.strip())
            continue
        yield int(found[1]) - 1, " ".join(reason) or "refused"
        reason = []


def packet_counts(text: str) -> Iterator[tuple[Hashable, int]]:
    """Yield (carrier, packets) from what `ip -s xfrm state` prints.

    A carrier is the SPI of an SA, or the identity of a binding.
    """
    ends = IPv6Address(0), IPv6Address(0)
    carrier: Hashable = None
    current = False
    for line in text.splitlines():
        if found := re.match(r"src (\S+) dst (\S+)", line):
            ends = IPv6Address(found[1]), IPv6Address(found[2])
        elif found := re.search(r"proto esp spi (0x[0-9a-f]+)", line):
            carrier = Spi(int(found[1], 16))
        elif found := re.search(r"proto (hao|route2) ", line):
            carrier = (Extension(found[1]), *ends)
        current = "lifetime current:" in line or (current and carrier is not None)
        if current and carrier is not None and (found := re.search(r"(\d+)\(packets\)", line)):
            yield carrier, int(found[1])
            carrier, current = None, False


def _direction(policy: SecurityPolicy) -> str:
    mark = f" mark {policy.mark} mask {policy.mark}" if policy.mark is not None else ""
    return f"dir {DIRECTION[policy.direction]}{mark}"


def _without_key(line: str) -> str:
    return re.sub(r"((?:aead|enc|auth-trunc) \S+) 0x\w+", r"\1 (key)", line)


def _selector(policy: SecurityPolicy) -> str:
    words = _traffic(policy.selector, policy.direction)
    return words if policy.device is None else f"{words} dev {policy.device}"


def _traffic(selector: TrafficSelector, direction: Direction) -> str:
    source, destination = selector.local_prefix, selector.remote_prefix
    if direction is not Direction.OUTBOUND:
        source, destination = destination, source
    words = [f"src {source} dst {destination}"]
    if selector.inner_protocol is not None:
        words.append(f"proto {selector.inner_protocol}")
    kinds = (selector.mobility_type, selector.icmp_type)
    words += [f"type {kind}" for kind in kinds if kind is not None]
    return " ".join(words)


DIRECTION = {Direction.INBOUND: "in", Direction.OUTBOUND: "out", Direction.FORWARD: "fwd"}


def _template(template: Template) -> str:
    ends = f"tmpl src {template.source} dst {template.destination}"
    if isinstance(template, EspTemplate):
        reqid = f" reqid {template.reqid}" if template.reqid is not None else ""
        level = " level use" if template.optional else ""
        return f"{ends} proto esp{reqid} mode {template.mode.value}{level}"
    if isinstance(template, AhTemplate):
        return f"{ends} proto ah reqid {template.reqid} mode transport"
    protocol = "hao" if isinstance(template, HomeAddressTemplate) else "route2"
    return f"{ends} proto {protocol} mode ro level use"


def _tunnel(tunnel: Tunnel) -> str:
    ends = f"local {tunnel.local} remote {tunnel.remote}"
    return f"name {tunnel.device} mtu {tunnel.mtu} type ip6tnl mode ip6ip6 {ends} encaplimit none"


def _binding(entry: RouteOptimisation) -> str:
    wildcard = " flag wildrecv" if entry.wildcard else ""
    return (
        f"src {entry.source} dst {entry.destination} proto {entry.extension.value} "
        f"mode ro coa {entry.care_of_address}{wildcard}"
    )


def _network(prefix: IPv6Network) -> str:
    return "default" if prefix.prefixlen == 0 else str(prefix)


@singledispatch
def addition(entry: Entry) -> Iterator[str]:
    """Yield the `ip` commands that put an entry in place."""
    raise NotImplementedError(type(entry))


@singledispatch
def removal(entry: Entry) -> Iterator[str]:
    """Yield the `ip` commands that remove an entry."""
    raise NotImplementedError(type(entry))


@addition.register
def _(entry: SecurityAssociation) -> Iterator[str]:
    selector = ""
    if entry.inner_source is not None and entry.inner_destination is not None:
        selector = f" sel src {entry.inner_source} dst {entry.inner_destination}"
    yield (
        f"xfrm state add src {entry.source} dst {entry.destination} proto esp "
        f"spi {int(entry.spi):#x} reqid {entry.reqid} mode {entry.mode.value} "
        f"replay-window {entry.anti_replay_window} flag esn{_output_mark(entry.mark)}{selector} "
        f"{_transform(entry)}"
    )


def _output_mark(mark: int | None) -> str:
    return "" if mark is None else f" output-mark {mark} mask {mark}"


def _transform(entry: SecurityAssociation) -> str:
    its = entry.algorithm.transform
    icv_bits = 8 * its.icv_bytes
    if entry.algorithm in AEAD:
        return f"aead {AEAD[entry.algorithm]} 0x{entry.key.hex()} {icv_bits}"
    encryption, integrity = entry.key[: its.key_bytes], entry.key[its.key_bytes :]
    return (
        f"auth-trunc {INTEGRITY} 0x{integrity.hex()} {icv_bits} "
        f"enc {ENCRYPTION} 0x{encryption.hex()}"
    )


@removal.register
def _(entry: SecurityAssociation) -> Iterator[str]:
    yield (
        f"xfrm state delete src {entry.source} dst {entry.destination} proto esp "
        f"spi {int(entry.spi):#x}"
    )


@addition.register
def _(entry: AuthenticationAssociation) -> Iterator[str]:
    name, icv_bits = AUTHENTICATION[entry.algorithm]
    yield (
        f"xfrm state add src {entry.source} dst {entry.destination} proto ah "
        f"spi {int(entry.spi):#x} reqid {entry.reqid} mode transport "
        f"replay-window {entry.anti_replay_window} flag esn{_output_mark(entry.mark)} "
        f"sel {_traffic(entry.selector, Direction.INBOUND)} "
        f"auth-trunc {name} 0x{entry.key.hex()} {icv_bits}"
    )


@removal.register
def _(entry: AuthenticationAssociation) -> Iterator[str]:
    yield (
        f"xfrm state delete src {entry.source} dst {entry.destination} proto ah "
        f"spi {int(entry.spi):#x}"
    )


@removal.register
def _(entry: RouteOptimisation) -> Iterator[str]:
    yield (
        f"xfrm state delete src {entry.source} dst {entry.destination} "
        f"proto {entry.extension.value}"
    )


@addition.register
def _(entry: SecurityPolicy) -> Iterator[str]:
    action = "block" if entry.action is PolicyAction.DISCARD else "allow"
    templates = "".join(f" {_template(template)}" for template in entry.templates)
    yield (
        f"xfrm policy update {_selector(entry)} {_direction(entry)} "
        f"action {action} priority {int(entry.precedence)}{templates}"
    )


@removal.register
def _(entry: SecurityPolicy) -> Iterator[str]:
    yield f"xfrm policy delete {_selector(entry)} {_direction(entry)}"


@addition.register
def _(entry: Dummy) -> Iterator[str]:
    yield f"link add name {entry.device} type dummy"
    yield f"link set {entry.device} up"


@addition.register
def _(entry: Tunnel) -> Iterator[str]:
    yield f"link add {_tunnel(entry)}"
    yield f"link set {entry.device} up"


@removal.register
def _(entry: Dummy | Tunnel) -> Iterator[str]:
    yield f"link delete {entry.device}"


DETECTION = {
    DuplicateDetection.NONE: " nodad",
    DuplicateDetection.OPTIMISTIC: " optimistic",
    DuplicateDetection.CLASSIC: "",
}


@addition.register
def _(entry: Address) -> Iterator[str]:
    home = " home" if entry.home else ""
    deprecated = " preferred_lft 0" if entry.deprecated else ""
    yield (
        f"address replace {entry.address}/{entry.prefix_length} dev {entry.device}"
        f"{DETECTION[entry.detection]}{home}{deprecated}"
    )


@removal.register
def _(entry: Address) -> Iterator[str]:
    yield f"address delete {entry.address}/{entry.prefix_length} dev {entry.device}"


@addition.register
def _(entry: NextHop) -> Iterator[str]:
    gateway = f" via {entry.gateway}" if entry.gateway is not None else ""
    yield f"nexthop replace id {entry.number}{gateway} dev {entry.device}"


@removal.register
def _(entry: NextHop) -> Iterator[str]:
    yield f"nexthop delete id {entry.number}"


def _route(entry: Route) -> str:
    return f"{_network(entry.prefix)} metric {entry.metric} table {entry.table}"


@addition.register
def _(entry: Route) -> Iterator[str]:
    hop = " ".join(
        f"{word} {value}"
        for word, value in (
            ("nhid", entry.next_hop),
            ("via", entry.gateway),
            ("dev", entry.device),
        )
        if value is not None
    )
    kind = "" if hop else "unreachable "
    mtu = f" mtu {entry.mtu}" if entry.mtu is not None else ""
    yield f"route replace {kind}{_route(entry)} {hop}{mtu}"


@removal.register
def _(entry: Route) -> Iterator[str]:
    yield f"route delete {_route(entry)}"


def _rule(entry: Rule) -> str:
    source = f" from {entry.source}" if entry.source is not None else ""
    device = f" iif {entry.incoming_device}" if entry.incoming_device is not None else ""
    return f"preference {entry.preference}{source}{device} lookup {entry.table}"


@addition.register
def _(entry: Rule) -> Iterator[str]:
    yield f"rule add {_rule(entry)}"


@removal.register
def _(entry: Rule) -> Iterator[str]:
    yield f"rule delete {_rule(entry)}"


@addition.register
def _(entry: NeighbourProxy) -> Iterator[str]:
    yield f"neighbour replace proxy {entry.address} dev {entry.device}"


@removal.register
def _(entry: NeighbourProxy) -> Iterator[str]:
    yield f"neighbour delete proxy {entry.address} dev {entry.device}"
