"""Whether a TCP transfer went on across every switch, from its ends' logs."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from experiments.errors import ResultError

BIN_NS = 100_000_000
COLUMNS = 4


@dataclass(frozen=True, slots=True)
class Transfer:
    """One end's view: bytes by bin of 100 ms, and the error that broke the connection, or "".

    That the other end closed it is no error: one of them must end first.
    """

    name: str
    bytes_by_bin: tuple[tuple[int, int], ...]
    broken: str

    @property
    def total_bytes(self) -> int:
        return sum(count for _, count in self.bytes_by_bin)

    @property
    def longest_stall_ms(self) -> float | None:
        """Longest time between two bins in which bytes passed; None with fewer than two."""
        times = [time for time, _ in self.bytes_by_bin]
        stalls = [later - time - BIN_NS for time, later in pairwise(times)]
        return max(stalls) / 1e6 if stalls else None

    def passed_in(self, begin_ns: int, end_ns: int) -> bool:
        """Whether any byte passed in [begin, end)."""
        return any(begin_ns <= time < end_ns for time, _ in self.bytes_by_bin)


def read_transfers(paths: Sequence[Path]) -> list[Transfer]:
    """Read the logs that experiments.transfer left."""
    return [_transfer(path) for path in paths]


def _transfer(path: Path) -> Transfer:
    bins: list[tuple[int, int]] = []
    broken = "never connected"
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ResultError(f"{path}: cannot be read ({error})") from error
    for number, line in enumerate(lines[1:], start=2):
        fields = line.split(",")
        try:
            if len(fields) != COLUMNS:
                raise ValueError(f"{len(fields)} fields instead of {COLUMNS}")
            if fields[1] == "bytes":
                bins.append((int(fields[0]), int(fields[2])))
            else:
                broken = fields[3] if fields[1] == "broken" else ""
        except ValueError as error:
            raise ResultError(f"{path}, line {number}: damaged ({error})") from error
    return Transfer(path.stem, tuple(bins), broken)
