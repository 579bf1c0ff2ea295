"""How many lab VMs this machine holds."""

import os
from pathlib import Path

USUAL_LAB_MIB = 1536
BESIDE_LAB_MIB = 512
"""What looks after a VM, and measures what it leaves."""
MEMORY_MIB = USUAL_LAB_MIB + BESIDE_LAB_MIB
"""What a usual one takes, with that."""


def vms_that_fit(lab_mib: int = USUAL_LAB_MIB) -> int:
    """Return how many VMs of so much memory the machine and its cores hold, at least one."""
    by_memory = available_memory_mib() // (lab_mib + BESIDE_LAB_MIB)
    return max(1, min(len(os.sched_getaffinity(0)), by_memory))


def available_memory_mib(meminfo: str | None = None) -> int:
    """Return the memory that programs can have, as /proc/meminfo tells it."""
    if meminfo is None:
        meminfo = Path("/proc/meminfo").read_text(encoding="ascii")
    for line in meminfo.splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) >> 10
    return 0
