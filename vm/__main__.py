"""mobivpn: a lab for mobile VPNs.

Usage: ./lab COMMAND [OPTIONS]

  run     Run an experiment or a scenario file, measure it, write its report.
  test    Run the tests: on this machine, and in the lab what needs one.
  shell   Open a Mininet prompt in the booted topology.
  list    List the experiments.
  doctor  Say what this machine has and lacks.
  clean   Remove what killed runs left behind.

What is missing is set up at the first run or test. After that, ./lab COMMAND --help tells more.
"""

import os
import sys


def main(arguments):
    """Set up what the command needs, then become experiments.cli in the virtual environment."""
    if sys.version_info < (3, 11):
        found = "%d.%d" % sys.version_info[:2]
        print("lab: Python 3.11 or newer is needed; %s is %s" % (sys.executable, found), file=sys.stderr)
        return 3
    from vm import bootstrap

    return bootstrap.main(arguments, usage=__doc__)


if __name__ == "__main__":
    os.environ.pop("PYTHONSAFEPATH", None)
    sys.exit(main(sys.argv[1:]))
