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


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    (tmp_path / "meminfo").write_text(MEMINFO)
    (tmp_path / "42").mkdir()
    (tmp_path / "42" / "status").write_text(STATUS)
    return tmp_path


def test_memory_is_the_kernels(proc: Path):
    assert load_of({"sg": 42}, proc) == {
        "memory_mib": {"total": 2000.0, "used": 1000.0},
        "programs": {"sg": {"rss_mib": 36.0}},
    }


def test_a_process_that_is_there_is_told():
    own = load_of({"me": os.getpid()})
    assert own["programs"]["me"]["rss_mib"] > 1
    assert 0 < own["memory_mib"]["used"] < own["memory_mib"]["total"]
