"""Link profiles: one-way delay, rate and loss, and the qdisc that makes them."""

from collections.abc import Mapping
from dataclasses import dataclass


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
