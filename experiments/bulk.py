"""Transfers by iperf3 on the path that a walk has left the nodes on, and what they put on links.

The captures of the walk are over by then: a second of 1 Gbit/s has 90 000 packets on every link. Of
each transfer the first packets are kept instead (`samples`), and the counters of sg's interfaces.
"""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from experiments.captures import Captures
from experiments.limits import Way, limit_mbit, udp_payload_bytes
from experiments.measure.expected import expected_path
from experiments.paths import PacketPath
from experiments.programs import TestbedError
from experiments.scenario import Bulk, Scenario
from experiments.testbed import Testbed

PROTOCOLS = ("tcp", "udp")
PORT = 5201
INTERVAL_S = 0.1
SAMPLED_LINKS = ("mn1", "mn2", "sg-ext", "sg-lan", "ha")
SAMPLED_PACKETS = 300
COUNTED = (("sg", "sg-ext"), ("sg", "sg-lan"), ("ha", "ha-eth0"))
COUNTERS = ("rx_bytes", "rx_packets", "tx_bytes", "tx_packets")
WINDOW_BYTES = 1 << 26
"""The greatest TCP window: Linux's own (6 MB in, 4 MB out) holds less than is under way on a path
of 150 ms at 1 Gbit/s."""
CONGESTION_CONTROL = "reno"
"""CUBIC's HyStart takes the first queueing delay for the path's end, leaves slow start, and then
grows for tens of seconds."""
WITHIN_S = 600.0
QUIET_S, QUIET_PACKETS = 1.0, 10
"""A node that gets no more packets than that in so long has nothing under way to it."""
READY_S = 0.5
"""Virtual seconds for the server to listen; its port cannot be asked without being its client."""


def way_of(scenario: Scenario) -> Way:
    """Return the way between the nodes under test when the walk is over."""
    at = scenario.place_at_start | {m.node: m.to for m in scenario.move}
    one, other = scenario.traffic.between
    places = at[one], at[other]
    offered = scenario.algorithms_of(other)
    common = [a for a in scenario.algorithms_of(one) if a in offered]
    best = PacketPath(scenario.best_path.value)
    path = expected_path(places, triggered=bool(common), best=best)
    return Way(
        path=path,
        places=places,
        algorithm=common[0] if common else scenario.given_algorithm,
        given_algorithm=scenario.given_algorithm,
        is_public=scenario.embodiment.value == "2",
        binds_at_gateway=scenario.sg_binding.value == "yes",
    )


def run(testbed: Testbed, bulk: Bulk, folder: Path, scratch: Path) -> None:
    """Carry out the transfers; docs/schema.md says what they leave."""
    scenario = testbed.scenario
    rates = {name: link.rate_mbit for name, link in testbed.links.items()}
    way = way_of(scenario)
    for protocol in PROTOCOLS:
        limit = limit_mbit(way, protocol, rates)
        lasts_s = bulk.tcp_s if protocol == "tcp" else bulk.udp_s
        more = (
            ["--congestion", CONGESTION_CONTROL]
            if protocol == "tcp"
            else [
                *("--udp", "--bitrate", str(round(1e6 * bulk.udp_share * limit))),
                *("--length", str(udp_payload_bytes())),
            ]
        )
        own = folder / protocol
        own.mkdir(parents=True)
        (scratch / protocol).mkdir()
        samples = Captures(
            testbed.host,
            scratch / protocol,
            own / "samples",
            {link: testbed.captured_links()[link] for link in SAMPLED_LINKS},
            SAMPLED_PACKETS,
        )
        samples.target.mkdir()
        samples.start()
        _wait_until_quiet(testbed)
        before = _counters(testbed)
        try:
            _transfer(testbed, own, [*more, "--time", str(lasts_s)])
        finally:
            samples.stop()
        counted = {
            device: {name: after[name] - before[device][name] for name in COUNTERS}
            for device, after in _counters(testbed).items()
        }
        told = {"limit_mbit": limit, "counters": counted}
        (own / "transfer.json").write_text(json.dumps(told, indent=2) + "\n")


def _wait_until_quiet(testbed: Testbed) -> None:
    """Wait until what an earlier transfer has left in queues has arrived, and counts no more."""
    node = testbed.scenario.traffic.between[1]
    device, ends_at = testbed.attachment.interface(node), time.time() + WITHIN_S
    last = _counted(testbed, node, device)["rx_packets"]
    while time.time() < ends_at:
        time.sleep(QUIET_S)
        now = _counted(testbed, node, device)["rx_packets"]
        if now - last <= QUIET_PACKETS:
            return
        last = now
    raise TestbedError(f"{node} was not quiet within {WITHIN_S:g} s after a transfer")


def _transfer(testbed: Testbed, folder: Path, options: list[str]) -> None:
    one, other = testbed.scenario.traffic.between
    company = testbed.plan.company
    source, target = (str(company.node(n).internal_home_address) for n in (one, other))
    for node in (one, other):
        _widen_windows(testbed, node)
    # The receiver is the client, and says by time when to end: a sender that has sent all it should
    # looks again and again whether it may send more, and so long hardly any virtual time passes.
    common = ["iperf3", "--json", "--interval", str(INTERVAL_S), "--port", str(PORT)]
    serving = [*common, "--server", "--one-off", "--bind", source]
    with _started(testbed, one, serving, folder / "sender.json") as server:
        time.sleep(READY_S)
        asking = [*common, "--client", source, "--bind", target, "--reverse", *options]
        with _started(testbed, other, asking, folder / "receiver.json") as client:
            for name, process in (("receiver", client), ("sender", server)):
                try:
                    code = process.wait(WITHIN_S)
                except subprocess.TimeoutExpired:
                    raise TestbedError(
                        f"iperf3's {name} was not done within {WITHIN_S:g} s"
                    ) from None
                if code:
                    raise TestbedError(
                        f"iperf3's {name} ended with code {code}: {_error(folder / name)}"
                    )


def _error(path: Path) -> str:
    text = path.with_suffix(".json").read_text(errors="replace")
    try:
        return str(json.loads(text).get("error", "it says no more"))
    except ValueError:
        return text.strip()[-200:] or "it printed nothing"


@contextmanager
def _started(
    testbed: Testbed, node: str, command: list[str], output: Path
) -> Iterator[subprocess.Popen[bytes]]:
    with output.open("wb") as said, output.with_suffix(".log").open("wb") as complained:
        process: subprocess.Popen[bytes] = testbed.host(node).popen(
            command, stdin=subprocess.DEVNULL, stdout=said, stderr=complained
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _widen_windows(testbed: Testbed, node: str) -> None:
    script = "".join(
        f"echo 4096 131072 {WINDOW_BYTES} > /proc/sys/net/ipv4/{name};"
        for name in ("tcp_rmem", "tcp_wmem")
    )
    process = testbed.host(node).popen(["sh", "-e", "-c", script], stderr=subprocess.PIPE)
    if errors := process.communicate()[1]:
        raise TestbedError(f"{node}: {errors.decode().strip()}")


def _counters(testbed: Testbed) -> dict[str, dict[str, int]]:
    """Return what interfaces have counted, by their names."""
    return {device: _counted(testbed, host, device) for host, device in COUNTED}


def _counted(testbed: Testbed, host: str, device: str) -> dict[str, int]:
    process = testbed.host(host).popen(
        ["cat", *(f"/sys/class/net/{device}/statistics/{name}" for name in COUNTERS)],
        stdout=subprocess.PIPE,
    )
    values: Any = process.communicate()[0].split()
    return dict(zip(COUNTERS, map(int, values), strict=True))
