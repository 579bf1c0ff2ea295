"""What must be installed on the machine itself, known by what each package brings.

Names are Debian's; all else here looks for programs and files, so that another distribution's
packages are as good.
"""

import glob
import importlib.util
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

from vm import kernel
from vm.errors import LabError, PackagesMissing
from vm.progress import Progress

_SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")


class Need(Enum):
    """What a package is needed for."""

    PYTHON = "the virtual environment"
    LAB = "the lab"
    KERNEL = "building the lab kernel"


@dataclass(frozen=True, slots=True)
class Package:
    """A package by Debian's name, and how to see that it is there."""

    name: str
    need: Need
    present: Callable[[], bool]


def program(name: str) -> Callable[[], bool]:
    """Return a test for a program that this user can run, /usr/sbin included."""
    return lambda: find_program(name) is not None


def find_program(name: str) -> str | None:
    """Return the path of a program, looked for where root would."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *_SBIN))
    return shutil.which(name, path=path)


def _module(name: str) -> Callable[[], bool]:
    return lambda: importlib.util.find_spec(name) is not None


def _file(*patterns: str) -> Callable[[], bool]:
    return lambda: any(glob.glob(pattern) for pattern in patterns)


PACKAGES = (
    Package("python3-venv", Need.PYTHON, _module("ensurepip")),
    Package("mininet", Need.PYTHON, _module("mininet")),
    Package("openvswitch-switch", Need.LAB, program("ovs-vswitchd")),
    Package("radvd", Need.LAB, program("radvd")),
    Package("tshark", Need.LAB, program("tshark")),
    Package("tcpdump", Need.LAB, program("tcpdump")),
    Package("iperf3", Need.LAB, program("iperf3")),
    Package("wireguard-tools", Need.LAB, program("wg")),
    Package("strongswan-swanctl", Need.LAB, program("swanctl")),
    Package("charon-systemd", Need.LAB, program("charon-systemd")),
    Package(
        "libstrongswan-standard-plugins",
        Need.LAB,
        _file("/usr/lib/ipsec/plugins/libstrongswan-openssl.so"),
    ),
    Package("iproute2", Need.LAB, program("tc")),
    Package("iputils-ping", Need.LAB, program("ping")),
    Package("ethtool", Need.LAB, program("ethtool")),
    Package("procps", Need.LAB, program("pgrep")),
    Package("psmisc", Need.LAB, program("killall")),
    Package("linux-source-6.12", Need.KERNEL, lambda: kernel.source().is_file()),
    Package("gcc", Need.KERNEL, program("gcc")),
    Package("libc6-dev", Need.KERNEL, _file("/usr/include/stdio.h")),
    Package("make", Need.KERNEL, program("make")),
    Package("flex", Need.KERNEL, program("flex")),
    Package("bison", Need.KERNEL, program("bison")),
    Package("bc", Need.KERNEL, program("bc")),
    Package("xz-utils", Need.KERNEL, program("xz")),
)


def missing(needs: Iterable[Need]) -> list[Package]:
    """Return the packages that are not there, of those that serve the needs.

    A kernel that has been built needs nothing to build it.
    """
    wanted = set(needs)
    if Need.KERNEL in wanted and kernel.find() is not None:
        wanted.remove(Need.KERNEL)
    return [package for package in PACKAGES if package.need in wanted and not package.present()]


def install_line(packages: Iterable[Package]) -> str:
    """Return the one line that installs the packages."""
    names = " ".join(package.name for package in packages)
    if find_program("apt-get") is None:
        return f"install with your package manager (names as in Debian 12): {names}"
    sudo = "" if os.geteuid() == 0 else "sudo "
    return (
        f"{sudo}apt-get update && {sudo}env DEBIAN_FRONTEND=noninteractive "
        f"apt-get install -y --no-install-recommends {names}"
    )


def ensure(needs: Iterable[Need], progress: Progress) -> None:
    """Install what is missing if this is root, else raise PackagesMissing with the line to run."""
    lacking = missing(needs)
    if not lacking:
        return
    if platform.machine() != "x86_64" and any(p.need is Need.KERNEL for p in lacking):
        raise LabError(f"the lab kernel runs on x86_64; this machine is {platform.machine()}")
    if os.geteuid() != 0 or find_program("apt-get") is None:
        raise PackagesMissing(
            f"missing on this machine: {' '.join(p.name for p in lacking)}; "
            f"ask its administrator to run:\n  {install_line(lacking)}"
        )
    names = [package.name for package in lacking]
    progress("read the list of Debian packages")
    _apt("update")
    progress(f"install {len(names)} Debian packages")
    _apt("install", "-y", "--no-install-recommends", *names)
    importlib.invalidate_caches()
    progress.end()
    if still := missing(needs):
        raise PackagesMissing(
            f"installed, and yet not there: {' '.join(p.name for p in still)}; see: dpkg -l"
        )


def _apt(*arguments: str) -> None:
    command = ["apt-get", "-q", "-o", "DPkg::Lock::Timeout=600", *arguments]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        lines = done.stdout.splitlines()
        telling = [line for line in lines if line.startswith(("E:", "Err:"))] or lines[-3:]
        raise PackagesMissing(f"apt-get {arguments[0]} failed: {' | '.join(telling[:3])}")
