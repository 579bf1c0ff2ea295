"""A binding update as it came in: what it asks for, and where its answer goes (section 9.5)."""

from dataclasses import dataclass
from ipaddress import IPv6Address

from mobivpn.mip6.messages import BindingUpdate


def is_unicast_routable(address: IPv6Address) -> bool:
    """Tell whether packets can be sent to `address` from elsewhere."""
    return not (
        address.is_multicast
        or address.is_unspecified
        or address.is_loopback
        or address.is_link_local
    )


@dataclass(frozen=True, slots=True)
class ReceivedUpdate:
    """A binding update with its addresses.

    `sender` is where the packet came from if it carried a home address option, else None; the
    answer goes there.
    """

    message: BindingUpdate
    home_address: IPv6Address
    own_address: IPv6Address
    sender: IPv6Address | None

    @property
    def wanted(self) -> IPv6Address | None:
        """Return the care-of address to bind, None to delete the binding."""
        address = self.message.alternate_care_of_address or self.sender
        if self.message.lifetime_s == 0 or address == self.home_address:
            return None
        return address

    @property
    def authorised_address(self) -> IPv6Address:
        """Return what the authenticator takes for the care-of address."""
        return self.wanted or self.home_address
