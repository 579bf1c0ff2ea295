"""Runs a user's Python file as the main program, in this project's environment."""

import os
import runpy
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import NoReturn

from experiments.errors import ResultError
from experiments.scenario import ScenarioError
from vm.errors import LabError


def become_python(arguments: Sequence[str]) -> NoReturn:
    """Become the environment's Python, which finds this project's packages."""
    os.environ.pop("PYTHONSAFEPATH", None)
    os.execv(sys.executable, [sys.executable, *arguments])


def run(file: Path, arguments: Sequence[str]) -> None:
    """Run a file as `python FILE ARGUMENTS` would, but for this: errors of the lab are for the
    command line to tell, and tracebacks begin in the file.

    Raises LabError, ScenarioError, ResultError; SystemExit(1) after a traceback.
    """
    if not file.is_file():
        raise LabError(f"{file}: no such file; name a Python program")
    sys.argv = [str(file), *arguments]
    sys.path.insert(0, str(file.resolve().parent))
    try:
        runpy.run_path(str(file), run_name="__main__")
    except (LabError, ScenarioError, ResultError):
        raise
    except Exception as error:
        own = _from(str(file), error.__traceback__)
        traceback.print_exception(type(error), error, own or error.__traceback__)
        raise SystemExit(1) from None


def _from(file: str, trace: TracebackType | None) -> TracebackType | None:
    """Leave out what called the file."""
    while trace is not None and trace.tb_frame.f_code.co_filename != file:
        trace = trace.tb_next
    return trace
