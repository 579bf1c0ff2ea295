"""Bindings as the IPsec machinery holds them: which packets carry a home address as well."""

from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv6Address

from mobivpn.ipsec.databases import Rank


class Extension(Enum):
    """The two header extensions of Mobile IPv6 that carry a home address."""

    HOME_ADDRESS_OPTION = "hao"
    """RFC 6275 section 6.3: the sender is away, its care-of address is the outer source."""
    ROUTING_HEADER = "route2"
    """RFC 6275 section 6.4: the receiver is away, its care-of address is the outer destination."""


@dataclass(frozen=True, slots=True)
class RouteOptimisation:
    """One binding in one direction of travel, between two home (or fixed) addresses.

    A `wildcard` entry is inbound and takes any peer (`source` is `::`): a binding update has to be
    let in from a care-of address that nobody knows yet, a routing header from any correspondent.
    With a `destination` of `::`, it stands for all addresses of the host.
    """

    extension: Extension
    source: IPv6Address
    destination: IPv6Address
    care_of_address: IPv6Address
    wildcard: bool = False

    @property
    def rank(self) -> Rank:
        """Bindings stand before the policies that use them."""
        return Rank.BINDING

    @property
    def identity(self) -> Hashable:
        """Linux keeps one such entry per extension and pair of addresses."""
        return (self.extension, self.source, self.destination)


UNSPECIFIED = IPv6Address("::")
ANY_HOME_ADDRESS_OPTION = RouteOptimisation(
    Extension.HOME_ADDRESS_OPTION, UNSPECIFIED, UNSPECIFIED, UNSPECIFIED, wildcard=True
)
"""Lets every home address option as far as the policies, which tell what may carry it.

A binding update has to get in before its care-of address is known (RFC 6275 section 9.5.1), and of
what is refused the kernel reports what a policy refused only (section 9.3.3).
"""
