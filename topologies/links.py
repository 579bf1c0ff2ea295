"""Link profiles: one-way delay, rate and loss, and the qdisc that makes them."""

import hashlib
import shlex
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class LinkProfile:
    """What a link does to packets in each direction: delay (ms), rate (Mbit/s), loss (percent)."""

    delay_ms: float
    rate_mbit: float
    loss_percent: float = 0.0

    def qdisc(self) -> str:
        """Return the one qdisc that shapes a direction; the queue is longer than any burst."""
        loss = f" loss {self.loss_percent}%" if self.loss_percent else ""
        return f"netem delay {self.delay_ms}ms rate {self.rate_mbit}mbit limit 100000{loss}"


IDEAL = "pfifo_fast"
"""The qdisc of a link that neither delays nor drops: a mobile node's own, outside."""

LAN, GATEWAY, HOME_AGENT = "lan", "sg", "ha"

DEFAULT_LINKS: Mapping[str, LinkProfile] = {
    LAN: LinkProfile(0.2, 1000),
    GATEWAY: LinkProfile(15, 100),
    HOME_AGENT: LinkProfile(20, 100),
    "wifi1": LinkProfile(5, 50),
    "wifi2": LinkProfile(8, 50),
    "cell": LinkProfile(30, 20),
}
"""By name: `lan` is every link to the LAN switch and the one between r22 and sg; `sg` and `ha` are
theirs to inet; an access network's lies between its router and inet."""

CHECKOUT = Path(__file__).parent.parent


def shaping_script(shaped: Iterable[tuple[str, LinkProfile]], seed: int) -> str:
    """Return the shell script that gives devices their profiles.

    Which packets a device loses depends on its name and on `seed` alone.
    """
    shaped = list(shaped)
    if not shaped:
        return ""
    lines = [f"qdisc replace dev {device} root {profile.qdisc()}" for device, profile in shaped]
    script = "tc -batch - <<END\n" + "\n".join(lines) + "\nEND\n"
    lossy = [device for device, profile in shaped if profile.loss_percent]
    if lossy:
        seeds = [f"{device}={_loss_seed(device, seed)}" for device in lossy]
        program = [sys.executable, "-m", "topologies.loss_seed", *seeds]
        script += f"PYTHONPATH={shlex.quote(str(CHECKOUT))} {shlex.join(program)}\n"
    return script


def _loss_seed(device: str, seed: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {device}".encode()).digest()[:8], "big")
