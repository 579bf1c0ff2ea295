"""All processes of a lab end with it, and with whoever asked for it, whatever way."""

import contextlib
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from vm import boot, lease, places
from vm.errors import LabCrashed, LabError, LimitReached
from vm.supervisor import CONTINUE, PAUSE

# A process that no parent waits for any more, in a session of its own; it tells its number.
DAEMON = "setsid sh -c 'echo $$; exec sleep 60' & "

ASKER = """
import os, signal, sys
from vm import boot, lease
# A test session in the background of a script has it ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
with lease.hold() as held:
    environment = {"PATH": os.environ["PATH"]}
    say = lambda data: os.write(1, data)
    sys.exit(boot.supervise(["sh", "-c", sys.argv[1]], say, held=held, environment=environment))
"""


def state_of(pid: int) -> str:
    """Return the letter of proc(5), nothing for a process that is not there."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except OSError:
        return ""


def alive(pid: int) -> bool:
    return state_of(pid) not in ("", "Z")


def wait_until(what: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def supervise(script: str, *, limit_s: float | None = None, control: int | None = None) -> bytes:
    said: list[bytes] = []
    with lease.hold() as held:
        status = boot.supervise(
            ["sh", "-c", script],
            said.append,
            held=held,
            environment={"PATH": os.environ["PATH"]},
            limit_s=limit_s,
            control=control,
        )
    return b"%d " % status + b"".join(said)


def test_a_lab_may_open_as_many_files_as_the_machine_allows(cache: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        assert supervise("ulimit -n").split() == [b"0", str(hard).encode()]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_output_and_exit_code_come_back(cache: Path) -> None:
    assert supervise("echo out; echo err >&2; exit 7") == b"7 out\nerr\n"


def test_an_end_by_a_signal_is_told_as_a_shell_does(cache: Path) -> None:
    assert supervise("kill -TERM $$") == b"143 "


def test_a_command_that_is_not_there_is_told(cache: Path) -> None:
    said: list[bytes] = []
    with lease.hold() as held:
        command = ["/no/such/program"]
        assert boot.supervise(command, said.append, held=held, environment={}) == 127
    assert said == [b"/no/such/program: No such file or directory\n"]


def test_a_process_that_outlives_its_parent_does_not_outlive_the_lab(cache: Path) -> None:
    _, pid = supervise(DAEMON + "sleep 0.2").split()
    assert not alive(int(pid))


def test_a_hung_command_is_ended_at_its_limit(cache: Path) -> None:
    began = time.monotonic()
    with pytest.raises(LimitReached, match="3 s of wall-clock time") as caught:
        supervise(DAEMON + "echo last words; sleep 60", limit_s=3)
    assert time.monotonic() - began < 30
    assert "last words" in caught.value.console
    pid = next(int(word) for word in caught.value.console.split() if word.isdigit())
    assert not alive(pid)


def test_a_command_is_ended_on_request(cache: Path) -> None:
    read, write = os.pipe()
    threading.Timer(0.2, os.close, (write,)).start()
    with pytest.raises(LabCrashed, match="on request"):
        supervise("sleep 60", control=read)
    os.close(read)


def test_a_paused_command_stands_still_past_its_limit_and_then_goes_on(cache: Path) -> None:
    read, write = os.pipe()
    states: list[str] = []

    def pause_for_longer_than_the_limit(pid: int) -> None:
        os.write(write, PAUSE)
        wait_until("the command to be stopped", lambda: state_of(pid) == "T")
        time.sleep(1.5)
        states.append(state_of(pid))
        os.write(write, CONTINUE)

    def told(data: bytes) -> None:
        if data.strip().isdigit():
            thread = threading.Thread(target=pause_for_longer_than_the_limit, args=(int(data),))
            thread.start()

    with lease.hold() as held:
        status = boot.supervise(
            ["sh", "-c", "echo $$; n=0; while [ $n -lt 30 ]; do sleep 0.01; n=$((n+1)); done"],
            told,
            held=held,
            environment={"PATH": os.environ["PATH"]},
            limit_s=1.2,
            control=read,
        )
    assert (status, states) == (0, ["T"])
    os.close(read)
    os.close(write)


def test_a_paused_command_is_ended_on_request(cache: Path) -> None:
    read, write = os.pipe()
    found: list[int] = []

    def pause(data: bytes) -> None:
        found.append(int(data))
        os.write(write, PAUSE)
        os.close(write)

    with lease.hold() as held, pytest.raises(LabCrashed, match="on request"):
        boot.supervise(
            ["sh", "-c", "echo $$; exec sleep 60"],
            pause,
            held=held,
            environment={"PATH": os.environ["PATH"]},
            control=read,
        )
    os.close(read)
    assert not alive(found[0])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_nothing_outlives_the_asker(cache: Path, number: signal.Signals) -> None:
    asker = subprocess.Popen(
        [sys.executable, "-c", ASKER, DAEMON + "sleep 60"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=places.CHECKOUT,
    )
    assert asker.stdout is not None
    with asker.stdout:
        pid = int(asker.stdout.readline())
    asker.send_signal(number)
    asker.wait()
    wait_until("the daemon to be ended", lambda: not alive(pid))
    # The supervisor lets go of the folder a moment later.
    wait_until("the folder to be removed", _swept)


def _swept() -> bool:
    lease.sweep()
    return not list(places.runs().glob("[!.]*"))


def test_nothing_outlives_a_killed_supervisor(cache: Path) -> None:
    read, write = os.pipe()
    found: list[int] = []

    def kill_supervisor(data: bytes) -> None:
        found.append(int(data))
        with contextlib.suppress(ProcessLookupError):
            parent = Path(f"/proc/{int(data)}/stat").read_text().rpartition(")")[2].split()[1]
            os.kill(int(parent), signal.SIGKILL)

    with lease.hold() as held:
        boot.supervise(
            ["sh", "-c", "echo $$; exec sleep 60"],
            kill_supervisor,
            held=held,
            environment={"PATH": os.environ["PATH"]},
        )
    wait_until("the command to be ended", lambda: not alive(found[0]))
    os.close(read)
    os.close(write)


def test_what_cannot_be_started_is_told(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/python")
    with pytest.raises(LabError, match="cannot start sh"):
        supervise("true")
