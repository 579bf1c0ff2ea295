"""Link profiles: one-way delay, rate and loss, and the qdisc that makes them."""

import hashlib
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mobivpn.host.plan import SIGNALLING_PRIORITY


@dataclass(frozen=True, slots=True)
class LinkProfile:
    """What a link does to packets in each direction: delay (ms), rate (Mbit/s), loss (percent).

    A rate of 0 is no limit.

    `signalling_loss_percent` of the messages that a host sends itself as signalling
    (`mobivpn.host.plan.SIGNALLING_PRIORITY`) are lost beside that, where they begin.
    """

    delay_ms: float
    rate_mbit: float
    loss_percent: float = 0.0
    signalling_loss_percent: float = 0.0

    def qdiscs(self, device: str) -> Iterator[str]:
        """Yield the `tc` commands that shape what leaves by a device."""
        if not self.signalling_loss_percent:
            yield f"qdisc replace dev {device} root {self._shape(self.loss_percent)}"
            return
        bands = " ".join("1" if p == SIGNALLING_PRIORITY else "0" for p in range(PRIORITIES))
        kept = (100 - self.loss_percent) * (100 - self.signalling_loss_percent) / 100
        yield f"qdisc replace dev {device} root handle 1: prio bands 2 priomap {bands}"
        yield f"qdisc replace dev {device} parent 1:1 {self._shape(self.loss_percent)}"
        yield f"qdisc replace dev {device} parent 1:2 {self._shape(100 - kept)}"

    def _shape(self, loss_percent: float) -> str:
        """Return one qdisc; its queue is longer than any burst."""
        if not (self.delay_ms or self.rate_mbit or loss_percent):
            return "pfifo_fast"
        rate = f" rate {self.rate_mbit}mbit" if self.rate_mbit else ""
        loss = f" loss {loss_percent}%" if loss_percent else ""
        return f"netem delay {self.delay_ms}ms{rate} limit 100000{loss}"


PRIORITIES = 16
"""How many priorities a `prio` qdisc tells apart."""

LAN, GATEWAY, HOME_AGENT = "lan", "sg", "ha"
IDEAL = "ideal"
"""Links that neither delay nor drop data: a mobile node's own, outside, and s-sg - sg."""

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


def profiles(links: Mapping[str, LinkProfile]) -> Mapping[str, LinkProfile]:
    """Return the profiles of all links, the ideal one included."""
    return {**links, IDEAL: LinkProfile(0, 0, 0, links[LAN].signalling_loss_percent)}


QUEUES = 1.25
"""What transmission and queues may add to the delays of the longest path."""


def longest_round_trip_ms(links: Mapping[str, LinkProfile]) -> float:
    """Return what no round trip between two nodes takes longer than, whichever path it goes.

    That is there and back through sg, with the home agent between sg and both nodes.
    """
    access = max(links[name].delay_ms for name in links.keys() - {LAN, GATEWAY, HOME_AGENT})
    by_home_agent = access + 2 * links[HOME_AGENT].delay_ms + links[GATEWAY].delay_ms
    return QUEUES * 2 * 2 * (by_home_agent + 2 * links[LAN].delay_ms)


CHECKOUT = Path(__file__).parent.parent


def shaping_script(shaped: Iterable[tuple[str, LinkProfile]], seed: int) -> str:
    """Return the shell script that gives devices their profiles.

    Which packets a device loses depends on its name and on `seed` alone.
    """
    shaped = list(shaped)
    if not shaped:
        return ""
    lines = [line for device, profile in shaped for line in profile.qdiscs(device)]
    script = "tc -batch - <<END\n" + "\n".join(lines) + "\nEND\n"
    lossy = [device for device, p in shaped if p.loss_percent or p.signalling_loss_percent]
    if lossy:
        seeds = [f"{device}={_loss_seed(device, seed)}" for device in lossy]
        program = [sys.executable, "-m", "topologies.loss_seed", *seeds]
        script += f"PYTHONPATH={shlex.quote(str(CHECKOUT))} {shlex.join(program)}\n"
    return script


def _loss_seed(device: str, seed: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {device}".encode()).digest()[:8], "big")
