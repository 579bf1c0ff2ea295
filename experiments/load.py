"""What a lab under way takes of its machine: memory, its own and each program's."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

PROC = Path("/proc")
KIB_PER_MIB = 1024


def load_of(pid_by_program: Mapping[str, int], proc: Path = PROC) -> dict[str, Any]:
    """Return the memory (MiB) of a lab and of programs in it.

    `rss_mib` is all that a program has in memory. Programs are forked off one, and share with it
    what they have not written to: together they take less than the sum.
    """
    memory = _kib(proc / "meminfo")
    return {
        "memory_mib": {
            "total": memory["MemTotal"] / KIB_PER_MIB,
            "used": (memory["MemTotal"] - memory["MemAvailable"]) / KIB_PER_MIB,
        },
        "programs": {
            name: {"rss_mib": _kib(proc / str(pid) / "status")["VmRSS"] / KIB_PER_MIB}
            for name, pid in pid_by_program.items()
        },
    }


def _kib(path: Path) -> dict[str, int]:
    """Return the values of a file of lines `Name: VALUE kB`."""
    found = {}
    for line in path.read_text().splitlines():
        name, _, value = line.partition(":")
        if value.endswith(" kB"):
            found[name] = int(value.split()[0])
    return found
