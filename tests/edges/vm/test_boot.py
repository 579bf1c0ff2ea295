"""A job in a real lab VM: what goes in, what comes out, that nothing stays."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from vm import boot, lease, places
from vm.clock import Clock
from vm.errors import LabCrashed, LabError, LimitReached
from vm.job import Job

# Runs a job in a lab VM, for tests that end whoever asked for it. By the wall clock: in virtual
# time the longest wait is over at once.
ASKER = """
import os, signal, sys
from pathlib import Path
from vm import boot, lease
from vm.clock import Clock
from vm.job import Job
# A test session in the background of a script has it ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
with lease.hold() as held:
    command = ("sh", "-c", "echo up; sleep 1000000")
    job = Job(command=command, directory=Path("/"), clock=Clock.WALL)
    boot.run(job, Path(sys.argv[1]), lambda data: os.write(1, data), held=held)
"""


class Ran:
    """A job that ran to its end, and what it printed."""

    def __init__(self, kernel: Path, script: str, **more: object) -> None:
        said: list[bytes] = []
        job = Job(
            **{  # type: ignore[arg-type]
                "command": ("sh", "-c", script),
                "directory": Path("/"),
                "limit_s": 60,
                "memory_mib": 512,
                **more,
            }
        )
        with lease.hold() as held:
            self.folder = held.folder
            self.code = boot.run(job, kernel, said.append, held=held)
        self.said = b"".join(said).decode()


def processes_of(kernel: Path, folder: Path) -> list[str]:
    """Return the command lines of VMs of this kernel that run in this folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if line.startswith(str(kernel)) and str(folder) in line:
            found.append(line)
    return found


def wait_until(what: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def test_what_a_job_prints_and_its_exit_code_come_back(cache: Path, lab_kernel: Path) -> None:
    ran = Ran(lab_kernel, "echo one; echo two >&2; exit 42")
    assert (ran.code, ran.said) == (42, "one\ntwo\n")


def test_what_a_job_prints_before_its_end_comes_whole(cache: Path, lab_kernel: Path) -> None:
    ran = Ran(lab_kernel, "seq 20000; echo last words; exit 1")
    assert ran.said.split() == [*map(str, range(1, 20001)), "last", "words"]


def test_a_job_is_root_over_a_kernel_of_its_own(cache: Path, lab_kernel: Path) -> None:
    ran = Ran(lab_kernel, "id -u; uname -n; ip -6 addr show lo | grep -c ::1/128")
    assert ran.said.split() == ["0", "lab", "1"]


def test_what_a_job_writes_is_gone_unless_the_folder_was_named(
    cache: Path, lab_kernel: Path, tmp_path: Path
) -> None:
    kept, lost = tmp_path / "kept results", tmp_path / "lost"
    kept.mkdir()
    lost.mkdir()
    ran = Ran(lab_kernel, f"echo 1 > '{kept}/file'; echo 1 > {lost}/file", writable=(kept,))
    assert ran.code == 0
    assert (kept / "file").read_text() == "1\n"
    assert (kept / "file").stat().st_uid == os.getuid()
    assert list(lost.iterdir()) == []


def test_a_job_sees_the_hosts_files_in_tmp(cache: Path, lab_kernel: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("from the host")
    assert Ran(lab_kernel, f"cat {tmp_path}/file").said == "from the host"


def test_virtual_time_is_the_same_in_every_run_and_skips_waiting(
    cache: Path, lab_kernel: Path
) -> None:
    script = "date +%s.%N; sleep 1000; date +%s.%N"
    began = time.monotonic()
    first = Ran(lab_kernel, script)
    assert time.monotonic() - began < 60
    before, after = map(Decimal, first.said.split())
    assert 1767225600 <= before < 1767225601
    assert float(after - before) == pytest.approx(1000, abs=0.01)
    # Each reading of the clock costs 256 ns, and not all readings are the job's.
    again = list(map(Decimal, Ran(lab_kernel, script).said.split()))
    assert max(abs(again[0] - before), abs(again[1] - after)) < Decimal("0.0001")


def test_the_wall_clock_is_the_hosts(cache: Path, lab_kernel: Path) -> None:
    told = float(Ran(lab_kernel, "date +%s", clock=Clock.WALL).said)
    assert told == pytest.approx(time.time(), abs=20)


def test_the_cpu_clock_skips_waiting(cache: Path, lab_kernel: Path) -> None:
    began = time.monotonic()
    Ran(lab_kernel, "sleep 1000", clock=Clock.CPU)
    assert time.monotonic() - began < 60


def test_a_process_that_a_job_leaves_behind_does_not_keep_the_vm(
    cache: Path, lab_kernel: Path
) -> None:
    assert Ran(lab_kernel, "setsid sleep 1000000 & exit 3", clock=Clock.WALL).code == 3


def test_a_hung_job_is_ended_at_its_limit_and_its_console_shown(
    cache: Path, lab_kernel: Path
) -> None:
    with pytest.raises(LimitReached) as caught:
        Ran(lab_kernel, "echo I hang; sleep 600", clock=Clock.WALL, limit_s=20)
    assert "I hang" in caught.value.console
    assert processes_of(lab_kernel, cache) == []


def test_a_job_that_stops_virtual_time_is_ended_at_its_limit(cache: Path, lab_kernel: Path) -> None:
    with pytest.raises(LimitReached):
        Ran(lab_kernel, "while :; do :; done", limit_s=2)
    assert processes_of(lab_kernel, cache) == []


def test_a_vm_that_goes_down_under_its_job_is_a_crash(cache: Path, lab_kernel: Path) -> None:
    with pytest.raises(LabCrashed, match="before its job did") as caught:
        Ran(lab_kernel, "echo c > /proc/sysrq-trigger; sleep 60")
    assert "Kernel panic" in caught.value.console


def test_a_kernel_that_cannot_start_is_a_crash(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(LabCrashed, match="status 127"):
        Ran(tmp_path / "linux", "true")


def test_no_room_for_the_memory_is_told(cache: Path, lab_kernel: Path) -> None:
    with pytest.raises(LabError, match="no space for the lab VM's memory"):
        Ran(lab_kernel, "true", memory_mib=1 << 40)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_stays_of_a_vm_whose_asker_was_ended(
    cache: Path, lab_kernel: Path, number: signal.Signals
) -> None:
    asker = subprocess.Popen(
        [sys.executable, "-c", ASKER, lab_kernel],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=places.CHECKOUT,
    )
    assert asker.stdout is not None
    with asker.stdout:
        assert asker.stdout.readline() == b"up\n"
    assert processes_of(lab_kernel, cache)
    asker.send_signal(number)
    asker.wait()
    wait_until("the VM to end", lambda: not processes_of(lab_kernel, cache))
    # Its supervisor lets go of the folder a moment later.
    wait_until("the folder to be removed", _swept)


def _swept() -> bool:
    lease.sweep()
    return not list(places.runs().glob("[!.]*"))


def test_two_vms_at_once_do_not_disturb_each_other(
    cache: Path, lab_kernel: Path, tmp_path: Path
) -> None:
    codes: dict[int, int] = {}

    def run(number: int) -> None:
        script = f"echo {number} > /run/it; sleep 100; exit $(cat /run/it)"
        codes[number] = Ran(lab_kernel, script).code

    threads = [threading.Thread(target=run, args=(number,)) for number in (11, 22)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == {11: 11, 22: 22}


ORDINARY = """
import sys
from pathlib import Path
from vm import boot, lease
from vm.job import Job
folder = Path(sys.argv[1])
script = f"id -u; mktemp > {folder}/made; ip link add v0 type veth && echo linked"
job = Job(command=("sh", "-c", script), directory=Path("/"), writable=(folder,), memory_mib=512)
with lease.hold() as held:
    sys.exit(boot.run(job, folder / "linux", sys.stdout.buffer.write, held=held))
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_an_ordinary_user_is_root_in_the_lab(lab_kernel: Path) -> None:
    nobody = 65534
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        os.chown(folder, nobody, nobody)
        shutil.copy(lab_kernel, folder / "linux")
        package = Path(shutil.copytree(places.CHECKOUT / "vm", folder / "vm"))
        done = subprocess.run(
            ["/usr/bin/python3", "-c", ORDINARY, folder],
            cwd=package.parent,
            env={"XDG_CACHE_HOME": str(folder / "cache"), "PATH": os.environ["PATH"]},
            user=nobody,
            group=nobody,
            extra_groups=(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.stdout, done.stderr) == ("0\nlinked\n", "")
        assert (folder / "made").stat().st_uid == nobody
        assert (folder / "made").read_text().startswith("/run/tmp/")
