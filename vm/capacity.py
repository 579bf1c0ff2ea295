"""How many lab VMs this machine holds."""

import os
from pathlib import Path

MEMORY_MIB = 2048
"""What one takes, with what looks after it."""


def vms_that_fit() -> int:
    """Return how many VMs the cores and the memory hold, at least one."""
    return max(1, min(len(os.sched_getaffinity(0)), available_memory_mib() // MEMORY_MIB))


def available_memory_mib(meminfo: str | None = None) -> int:
    """Return the memory that programs can have, as /proc/meminfo tells it."""
    if meminfo is None:
        meminfo = Path("/proc/meminfo").read_text(encoding="ascii")
    for line in meminfo.splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) >> 10
    return 0
