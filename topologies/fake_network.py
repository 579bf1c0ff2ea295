"""Eve's network: who is plugged into it finds the company's prefix, router and hosts.

It is the seed's "fake network". Its router has the hardware and link-local address of the inside's,
and takes what is sent to any internal address; it answers nothing, and lets nothing through.
"""

from mininet.net import Mininet

from topologies.addresses import EVE, INSIDE_LINK, PLAN, Plan, fixed_mac
from topologies.topo import in_host

FAKE_LINK = f"{EVE}-lan"
"""Eve's interface there, and the name of its capture."""


def imitate_inside(net: Mininet, plan: Plan = PLAN) -> None:
    """Make eve look like r22 and all that is behind it."""
    company = plan.company
    imitated = (
        company.vcm,
        *(address for _, address in plan.desktops),
        *(node.internal_home_address for node in company.nodes),
    )
    batch = [
        f"link set {FAKE_LINK} down address {fixed_mac(INSIDE_LINK)}",
        f"link set {FAKE_LINK} up",
        f"address add {plan.internal_router_lan}/64 dev {FAKE_LINK} nodad",
        f"route add blackhole {company.vpn_prefix} metric 1",
        "route add blackhole default",
        *(f"neighbour add proxy {address} dev {FAKE_LINK}" for address in imitated),
    ]
    lines = "\n".join(batch)
    in_host(
        net.get(EVE),
        f"echo 1 > /proc/sys/net/ipv6/conf/{FAKE_LINK}/proxy_ndp\n"
        f"ip -6 -batch - <<END\n{lines}\nEND\n",
    )
