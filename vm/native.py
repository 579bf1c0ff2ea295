"""Run a job in the present kernel, as root: in namespaces, so that nothing of it can stay.

This is also how a job runs that is started inside a lab VM, and how the code is tested there.
"""

import gzip
import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from vm import boot, lease
from vm.job import Job, script

FIRST_PROCESS = Path(__file__).resolve().parent / "native.sh"

# What a lab needs of a kernel: its name for a reader, its option, its module.
FEATURES = (
    ("IPsec (XFRM)", "CONFIG_XFRM_USER", "xfrm_user"),
    ("ESP for IPv6", "CONFIG_INET6_ESP", "esp6"),
    ("AH for IPv6", "CONFIG_INET6_AH", "ah6"),
    ("Mobile IPv6", "CONFIG_IPV6_MIP6", "mip6"),
    ("IPv6 tunnels", "CONFIG_IPV6_TUNNEL", "ip6_tunnel"),
    ("AES-GCM", "CONFIG_CRYPTO_GCM", "gcm"),
    ("Open vSwitch", "CONFIG_OPENVSWITCH", "openvswitch"),
    ("netem", "CONFIG_NET_SCH_NETEM", "sch_netem"),
    ("virtual Ethernet pairs", "CONFIG_VETH", "veth"),
)

Configuration = Mapping[str, str]


def run(job: Job, console: boot.Console, *, held: lease.Lease, control: int | None = None) -> int:
    """Run the job in namespaces of the present kernel; return its exit code."""
    (held.folder / "job").write_text(script(job), encoding="utf-8")
    _load_modules()
    spaces = ("--mount", "--net", "--pid", "--uts", "--fork", "--kill-child")
    folders = map(str, (held.folder, *job.writable))
    command = ["unshare", *spaces, "--mount-proc", "/bin/sh", str(FIRST_PROCESS), *folders]
    return boot.supervise(
        command,
        console,
        held=held,
        environment={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        limit_s=job.limit_s,
        interactive=job.interactive,
        control=control,
    )


def lacking() -> list[str]:
    """Say what the present kernel and user lack; leaves no trace: it only reads."""
    found = [] if os.geteuid() == 0 else ["root rights are needed"]
    configuration = configuration_of_the_present_kernel()
    if configuration is None:
        return [*found, "the kernel's configuration cannot be read"]
    absent = absent_features(configuration, loadable)
    return [*found, f"the kernel lacks {', '.join(absent)}"] if absent else found


def absent_features(configuration: Configuration, can_load: Callable[[str], bool]) -> list[str]:
    """Return the names of the features that are neither built in nor loadable modules."""
    absent = []
    for name, option, module in FEATURES:
        value = configuration.get(option, "n")
        if value == "n" or (value == "m" and not can_load(module)):
            absent.append(name)
    return absent


def parsed(text: str) -> dict[str, str]:
    """Return the options that a kernel's configuration sets."""
    pairs = (line.split("=", 1) for line in text.splitlines() if line.startswith("CONFIG_"))
    return dict(pairs)


def configuration_of_the_present_kernel() -> Configuration | None:
    """Return the options of the running kernel; None if it does not say."""
    try:
        return parsed(gzip.decompress(Path("/proc/config.gz").read_bytes()).decode("ascii"))
    except (OSError, EOFError):
        pass
    try:
        path = Path(f"/boot/config-{os.uname().release}")
        return parsed(path.read_text(encoding="ascii", errors="replace"))
    except OSError:
        return None


def loadable(module: str) -> bool:
    """Tell whether a module is loaded, or could be; load none."""
    if Path(f"/sys/module/{module}").is_dir():
        return True
    return _modprobe("--dry-run", "--quiet", module)


def _load_modules() -> None:
    """Load what the kernel would not load by itself: inside namespaces it may not."""
    _modprobe("--all", "--quiet", *(module for _, _, module in FEATURES))


def _modprobe(*arguments: str) -> bool:
    try:
        command = ["modprobe", *arguments]
        done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0
