"""mobivpn: a lab for mobile VPNs.

Usage: ./lab COMMAND [OPTIONS]

  run     Run an experiment or a scenario file, measure it, write its report.
  verify  Run experiments again and compare with the reference results.
  sweep   Run a scenario over many parameters and seeds.
  python  Run a Python program of your own, such as one that uses experiments.lab.
  report  Draw a run's report again, or several runs over one another.
  test    Run the tests: on this machine, and in the lab what needs one.
  shell   Open a Mininet prompt in the booted topology.
  list    List the experiments.
  doctor  Say what this machine has and lacks.
  clean   Remove what killed runs left behind.

What is missing is set up at the first run or test. After that, ./lab COMMAND --help tells more.
"""

import os
import sys


def main(arguments: "list[str]") -> int:
    """Set up what the command needs, then become experiments.cli in the virtual environment."""
    # Whatever Python there is must be able to read this file: nothing newer than 3.6 in it.
    if sys.version_info < (3, 11):  # noqa: UP036
        found = ".".join(map(str, sys.version_info[:2]))
        say = sys.stderr.write
        say(f"lab: Python 3.11 or newer is needed; {sys.executable} is {found}\n")
        return 3
    from vm import bootstrap

    return bootstrap.main(arguments, usage=__doc__)


if __name__ == "__main__":
    os.environ.pop("PYTHONSAFEPATH", None)
    sys.exit(main(sys.argv[1:]))
