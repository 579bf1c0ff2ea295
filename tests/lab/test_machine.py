"""The lab VM from inside: it has all that native asks for, and native leaves nothing in it."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agents.link_monitor import RTMGRP_LINK, LinkTold, decode
from experiments.programs import go_first
from topologies.attachment import bring_up
from vm import lease, machine, native, openvswitch, places
from vm.clock import Clock
from vm.errors import LabError, LimitReached
from vm.job import Job
from vm.machine import Machine

pytestmark = pytest.mark.lab


def interfaces() -> set[str]:
    return set(os.listdir("/sys/class/net"))


def mounts() -> list[str]:
    return Path("/proc/mounts").read_text(encoding="utf-8").splitlines()


def processes() -> set[bytes]:
    """Return the command lines of all processes; the kernel's own threads have none."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.add(path.read_bytes())
    return found


def run(script: str, *, limit_s: float = 60, **more: object) -> tuple[int, str]:
    said: list[bytes] = []
    job = Job(command=("sh", "-c", script), directory=places.CHECKOUT, limit_s=limit_s, **more)  # type: ignore[arg-type]
    code = machine.run(job, Machine.NATIVE, said.append, progress=lambda *step: None)
    return code, b"".join(said).decode()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_the_lab_kernel_lacks_nothing() -> None:
    assert native.lacking() == []
    assert machine.choose(Machine.NATIVE, None, usual=Clock.VIRTUAL)[0] is Machine.NATIVE


def test_virtual_time_waits_without_waiting() -> None:
    began = time.monotonic()
    time.sleep(3600)
    assert time.monotonic() - began == pytest.approx(3600, abs=0.01)


IDLE_PROGRAM = """
import os, socket, time
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as links:
    links.bind((0, 1))
    while links.recv(65536):
        for _ in range(200):
            time.monotonic()
"""


def heard(news: socket.socket, interface: str) -> bool:
    """Wait for news of an interface; return whether it has a carrier."""
    while True:
        for told in decode(news.recv(1 << 16)):
            if isinstance(told, LinkTold) and told.device == interface:
                return told.usable


def test_news_of_a_link_comes_at_once_whatever_programs_that_watch_do() -> None:
    # Each event wakes the idle programs as well, and each of these wants 50 us then.
    watching = [subprocess.Popen([sys.executable, "-c", IDLE_PROGRAM]) for _ in range(3)]
    subprocess.run(["ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1"], check=True)
    for interface in ("v0", "v1"):
        bring_up(interface)
    go_first()
    late = []
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as news:
            news.bind((0, RTMGRP_LINK))
            news.settimeout(1)
            for _ in range(60):
                subprocess.run(["ip", "link", "set", "v1", "down"], check=True)
                while heard(news, "v0"):
                    pass
                time.sleep(0.03)
                began = time.monotonic_ns()
                bring_up("v1")
                while not heard(news, "v0"):
                    pass
                late.append(time.monotonic_ns() - began)
                time.sleep(0.02)
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        for process in watching:
            process.kill()
            process.wait()
        subprocess.run(["ip", "link", "del", "v0"], check=True)
    assert max(late) < 20_000


def test_a_native_job_has_a_network_of_its_own_and_leaves_nothing() -> None:
    before = interfaces(), mounts(), processes()
    script = (
        "ip link add v0 type veth peer name v1; ip link set v0 up; ip netns add n;"
        "mount -t tmpfs x /mnt; setsid sleep 1000 & ls /sys/class/net; ip netns; exit 5"
    )
    code, said = run(script)
    assert code == 5
    assert set(said.split()) >= {"lo", "v0", "v1", "n"}
    assert (interfaces(), mounts(), processes()) == before


def test_a_native_job_that_hangs_is_ended_and_leaves_nothing() -> None:
    before = interfaces(), mounts(), processes()
    with pytest.raises(LimitReached):
        run("ip link add v0 type dummy; setsid sleep 1000000 & sleep 1000000", limit_s=5)
    assert (interfaces(), mounts(), processes()) == before
    assert lease.sweep() == []


def test_open_vswitch_switches_and_leaves_nothing() -> None:
    before = interfaces(), processes()
    with openvswitch.running():
        subprocess.run(["ovs-vsctl", "--timeout=5", "add-br", "s"], check=True)
        assert "s" in interfaces()
        daemon = (openvswitch.RUN / "ovs-vswitchd.pid").read_text(encoding="ascii").strip()
        threads = [path.read_text() for path in Path(f"/proc/{daemon}/task").glob("*/comm")]
        # Without one it would drop the first packet of every flow.
        assert any(name.startswith("handler") for name in threads)
        with pytest.raises(LabError, match="runs here already"):
            openvswitch.start()
    assert (interfaces(), processes()) == before
    assert list(openvswitch.RUN.iterdir()) == []


def test_two_labs_side_by_side_each_have_their_own_open_vswitch() -> None:
    script = (
        "python3 -c 'import subprocess; from vm import openvswitch; openvswitch.start();"
        'subprocess.run(["ovs-vsctl", "--timeout=5", "add-br", "mine"], check=True)\';'
        "ls /sys/class/net"
    )
    with openvswitch.running():
        code, said = run(script, environment={"PYTHONPATH": str(places.CHECKOUT)})
        assert code == 0, said
        assert "mine" in said
        assert "mine" not in interfaces()
