"""What a lab under way takes of its machine: memory, and of each program the processor time."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PROC = Path("/proc")
USER_TICKS, SYSTEM_TICKS = 11, 12
"""Fields of /proc/PID/stat (utime, stime), counted behind the command's name and from 0 on."""
KIB_PER_MIB = 1024


def load_of(pid_by_program: Mapping[str, int], proc: Path = PROC) -> dict[str, Any]:
    """Return memory (MiB) and processor time (s) of a lab and of programs in it.

    `rss_mib` is all that a program has in memory. Programs are forked off one, and share with it
    what they have not written to: together they take less than the sum. Processor time is in
    hundredths of a second; with the virtual clock computing takes none, and it is 0.
    """
    memory = _kib(proc / "meminfo")
    return {
        "memory_mib": {
            "total": memory["MemTotal"] / KIB_PER_MIB,
            "used": (memory["MemTotal"] - memory["MemAvailable"]) / KIB_PER_MIB,
        },
        "programs": {name: _program(proc / str(pid)) for name, pid in pid_by_program.items()},
    }


def _program(own: Path) -> dict[str, float]:
    status = _kib(own / "status")
    behind_name = (own / "stat").read_text().rpartition(")")[2].split()
    ticks = int(behind_name[USER_TICKS]) + int(behind_name[SYSTEM_TICKS])
    return {
        "rss_mib": status["VmRSS"] / KIB_PER_MIB,
        "cpu_s": ticks / os.sysconf("SC_CLK_TCK"),
    }


def _kib(path: Path) -> dict[str, int]:
    """Return the values of a file of lines `Name: VALUE kB`."""
    found = {}
    for line in path.read_text().splitlines():
        name, _, value = line.partition(":")
        if value.endswith(" kB"):
            found[name] = int(value.split()[0])
    return found
