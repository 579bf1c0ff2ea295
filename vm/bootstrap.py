"""What runs before the virtual environment does: make it, then hand over to the program in it.

Nothing but the standard library; `doctor`, `clean` and help work before any set-up, and cause none.
"""

import os
import sys

from vm import doctor, environment, lease, signals
from vm.errors import LabError
from vm.packages import Need
from vm.packages import ensure as ensure_packages
from vm.progress import Progress

# The first set-up installs all in one go, so that nobody must ask an administrator twice.
_SET_UP_BY = {
    **{command: set(Need) for command in ("run", "verify", "sweep", "python", "test", "shell")},
    "report": {Need.PYTHON},
    "list": {Need.PYTHON},
}
_WITHOUT = ("doctor", "clean")
_HELP = {"-h", "--help"}


def main(arguments: list[str], usage: str) -> int:
    """Return an exit code; where all goes well, become the program in the environment instead."""
    progress = Progress()
    try:
        with signals.as_exceptions():
            python = environment.find()
            if python is None:
                command = arguments[0] if arguments else "--help"
                if command in _HELP or not _HELP.isdisjoint(arguments):
                    print(usage.strip())
                    return 0
                if command == "doctor":
                    return doctor.main()
                if command == "clean":
                    print("\n".join(lease.sweep()) or "nothing to remove")
                    return 0
                if (needs := _SET_UP_BY.get(command)) is None:
                    known = ", ".join((*_SET_UP_BY, *_WITHOUT))
                    raise LabError(f"no command is called '{command}'; there are: {known}")
                ensure_packages(needs, progress)
                python = environment.ensure(progress)
    except LabError as error:
        progress.abandon()
        print(f"lab: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        progress.abandon()
        return 130
    variables = {**os.environ, **environment.variables(), "PYTHONSAFEPATH": "1"}
    return os.execve(python, [str(python), "-m", "experiments.cli", *arguments], variables)
