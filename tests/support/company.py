"""The company network of figure 1 in documentation addresses."""

from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network
from itertools import count

from mobivpn.host.associations import Associations, mint_associations
from mobivpn.host.plan import Company, NodeIdentity
from mobivpn.ipsec.sa import EspAlgorithm

MN1, MN2, MN3 = (
    NodeIdentity(f"mn{i}", IPv6Address(f"fd00:10::d{i}"), IPv6Address(f"2001:db8:ee::d{i}"))
    for i in (1, 2, 3)
)
COMPANY = Company(
    vpn_prefix=IPv6Network("fd00:10::/64"),
    security_gateway=IPv6Address("2001:db8:5::5"),
    security_gateway_inside=IPv6Address("fd00:5::5"),
    internal_router=IPv6Address("fd00:5::1"),
    vcm=IPv6Address("fd00:10::9"),
    home_agent=IPv6Address("2001:db8:ee::1"),
    nodes=(MN1, MN2, MN3),
)
PUBLIC_COMPANY = replace(
    COMPANY,
    vpn_prefix=IPv6Network("2001:db8:10::/64"),
    node_prefix=IPv6Network("2001:db8:ee::d0/124"),
    security_gateway_inside=IPv6Address("2001:db8:15::5"),
    internal_router=IPv6Address("2001:db8:15::1"),
    vcm=IPv6Address("2001:db8:10::9"),
    nodes=tuple(
        replace(node, internal_home_address=node.external_home_address) for node in COMPANY.nodes
    ),
)
"""The same in embodiment 2."""


class DifferentBytes:
    """Stands in for randomness: never the same twice, and always the same in every run."""

    def __init__(self) -> None:
        self._count = count(0x10000)

    def __call__(self, length: int) -> bytes:
        return next(self._count).to_bytes(max(length, 4), "big")[-length:]


def associations(company: Company = COMPANY) -> Associations:
    """Return all pre-existing associations of a company."""
    return mint_associations(company, EspAlgorithm.AES128GCM16, DifferentBytes())
