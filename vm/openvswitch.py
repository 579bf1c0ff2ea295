"""Open vSwitch for one lab: a database and a daemon of its own, gone with the lab.

Started directly, not by the distribution's service: that one is slow, belongs to the whole machine
and keeps its database.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from vm.errors import LabError

# Where its tools, Mininet's among them, look for the database.
RUN = Path("/run/openvswitch")
SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")

# Open vSwitch 3.1 learns the number of cores when the machine has been up for 10 s; started before,
# it runs no handler thread and drops the first packet of every flow.
_UPTIME_S = 11.0


@contextlib.contextmanager
def running() -> Iterator[None]:
    """Have Open vSwitch run; end it afterwards."""
    start()
    try:
        yield
    finally:
        stop()


def start() -> None:
    """Start the database server and the switch daemon; return when both answer."""
    if RUN.joinpath("db.sock").exists():
        raise LabError(f"Open vSwitch runs here already ({RUN}/db.sock): a lab starts its own")
    RUN.mkdir(parents=True, exist_ok=True)
    time.sleep(max(0.0, _UPTIME_S - uptime_s(Path("/proc/uptime").read_text(encoding="ascii"))))
    database, socket = RUN / "conf.db", RUN / "db.sock"
    detached = ("--detach", "--no-chdir", "--log-file=/dev/null")
    _do("ovsdb-tool", "create", str(database), str(SCHEMA))
    _do(
        *("ovsdb-server", str(database), f"--remote=punix:{socket}"),
        *(f"--pidfile={RUN}/ovsdb-server.pid", *detached),
    )
    _do("ovs-vsctl", "--no-wait", "init")
    # It reads the clock often, and in the lab VM each reading takes a moment of virtual time. When
    # a link comes up it has much to look at: nobody shall wait for that.
    _do(
        *("chrt", "--idle", "0", "ovs-vswitchd", f"unix:{socket}"),
        *(f"--pidfile={RUN}/ovs-vswitchd.pid", *detached),
    )


def stop() -> None:
    """End both daemons, the kernel's datapath with them; delete their files."""
    daemon = _pid("ovs-vswitchd")
    with contextlib.suppress(LabError):
        # Whoever reaps it waits in a loop until the kernel has dropped its threads from /proc, and
        # where that is left to idle threads of a clock that stands still, for ever.
        _do("chrt", "--all-tasks", "--fifo", "--pid", "1", str(daemon))
        _do("ovs-appctl", "--timeout=5", "-t", "ovs-vswitchd", "exit", "--cleanup")
    pids = [pid for name in ("ovs-vswitchd", "ovsdb-server") if (pid := _pid(name)) is not None]
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}/exe").exists() for pid in pids):
        if time.monotonic() > deadline:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        # Daemons are nobody's children: only the process table tells.
        time.sleep(0.01)
    with contextlib.suppress(LabError):
        # The daemon leaves the kernel's datapath for its next start.
        _do("ovs-dpctl", "--timeout=5", "del-dp", "system@ovs-system")
    for path in RUN.glob("*"):
        path.unlink(missing_ok=True)


def uptime_s(text: str) -> float:
    """Return the seconds since boot that /proc/uptime holds."""
    return float(text.split()[0])


def _pid(daemon: str) -> int | None:
    try:
        return int((RUN / f"{daemon}.pid").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _do(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except OSError as error:
        raise LabError(f"cannot start {command[0]}: {error.strerror}") from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise LabError(f"{command[0]} failed: {said[-1] if said else done.returncode}")
