"""What a lab takes is read of the kernel's own files."""

import os
from pathlib import Path

import pytest

from experiments.load import load_of

MEMINFO = """MemTotal:        2048000 kB
MemFree:               1 kB
MemAvailable:    1024000 kB
HugePages_Total:       0
"""
STATUS = "Name:\tpython (3)\nVmHWM:\t   99999 kB\nVmRSS:\t   36864 kB\nThreads:\t1\n"
STAT = "42 (python (3) x) S 1 42 42 0 -1 4194304 100 0 0 0 170 80 5 6 20 0 1 0 300 1 2 3\n"


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    (tmp_path / "meminfo").write_text(MEMINFO)
    (tmp_path / "42").mkdir()
    (tmp_path / "42" / "status").write_text(STATUS)
    (tmp_path / "42" / "stat").write_text(STAT)
    return tmp_path


def test_memory_and_processor_time_are_the_kernels(proc: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("experiments.load.os.sysconf", lambda name: 100)
    assert load_of({"sg": 42}, proc) == {
        "memory_mib": {"total": 2000.0, "used": 1000.0},
        # 170 ticks of its own, 80 of the kernel's for it; not its children's 5 and 6.
        "programs": {"sg": {"rss_mib": 36.0, "cpu_s": 2.5}},
    }


def test_a_process_that_is_there_is_told():
    own = load_of({"me": os.getpid()})
    assert own["programs"]["me"]["rss_mib"] > 1
    assert 0 < own["memory_mib"]["used"] < own["memory_mib"]["total"]
