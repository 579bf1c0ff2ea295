"""Own all processes of one lab: end them when the lab ends, and when whoever asked for it dies.

    python3 supervisor.py LIFELINE COMMAND...

LIFELINE is the reading end of a pipe whose other end only the asker holds: it closes when the asker
is gone, even by SIGKILL. A byte from it, PAUSE or CONTINUE, stops the command and has it go on: its
first process alone, for which all others of a lab VM wait. User-mode Linux starts helpers, some of
which outlive their parent; being their sub-reaper (prctl(2)), this process gets them as its own
children. A program of its own, with nothing but the standard library, because it must not share any
thread or lock with its asker.
"""

import contextlib
import ctypes
import os
import resource
import selectors
import signal
import subprocess
import sys

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
PAUSE, CONTINUE = b"p", b"c"
_SIGNALS = {PAUSE: signal.SIGSTOP, CONTINUE: signal.SIGCONT}
_LEFT_TO_THE_ASKER = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_libc = ctypes.CDLL(None, use_errno=True)


def main(lifeline: int, command: list[str]) -> int:
    """Run the command to its end, or to the asker's; return its exit code as a shell would."""
    os.setsid()
    for number in _LEFT_TO_THE_ASKER:
        signal.signal(number, signal.SIG_IGN)
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    # User-mode Linux keeps a file of the host open for each that its own kernel remembers.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        child = subprocess.Popen(command, preexec_fn=_die_with_supervisor)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    with selectors.DefaultSelector() as selector:
        selector.register(lifeline, selectors.EVENT_READ)
        selector.register(os.pidfd_open(child.pid), selectors.EVENT_READ)
        while all(key.fd == lifeline for key, _ in selector.select()):
            if (word := os.read(lifeline, 1)) not in _SIGNALS:
                break
            child.send_signal(_SIGNALS[word])
    child.kill()
    status = child.wait()
    end_children()
    return status if status >= 0 else 128 - status


def end_children() -> None:
    """Kill children, and the children that thereby become this process's, until there is none."""
    while True:
        for pid in children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def children() -> list[int]:
    """Return the processes whose parent is this one."""
    me = os.getpid()
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as stat:
                # The command's name may hold anything: what counts follows its last parenthesis.
                if int(stat.read().rpartition(b")")[2].split()[1]) == me:
                    found.append(int(name))
    return found


def _die_with_supervisor() -> None:
    for number in _LEFT_TO_THE_ASKER:
        signal.signal(number, signal.SIG_DFL)
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
