"""The clocks that a lab VM can run by, and how its kernel is told."""

from enum import Enum

# Every virtual run starts at this moment (2026-01-01T00:00:00Z), so that no result depends on the
# day on which it was made.
VIRTUAL_START_NS = 1_767_225_600_000_000_000


class Clock(Enum):
    """What makes a lab's time pass."""

    VIRTUAL = "virtual"
    """Time passes only while all processes wait: computing takes none, waiting is skipped."""

    CPU = "cpu"
    """Computing takes the time it takes, waiting is skipped."""

    WALL = "wall"
    """The host's time."""

    @property
    def kernel_arguments(self) -> tuple[str, ...]:
        """The arguments on the kernel's command line that select this clock."""
        if self is Clock.WALL:
            return ()
        mode = "time-travel=inf-cpu" if self is Clock.VIRTUAL else "time-travel"
        # The jitter random generator waits for time to pass, which it does not at boot.
        return mode, f"time-travel-start={VIRTUAL_START_NS}", "initcall_blacklist=jent_mod_init"
