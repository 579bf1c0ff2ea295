"""Which addresses a binding may be made of (RFC 6275 sections 9.5.1 and 10.3.1)."""

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


def requested_care_of_address(
    update: BindingUpdate, home_address: IPv6Address, care_of_address: IPv6Address | None
) -> IPv6Address | None:
    """Return the care-of address that an update asks for, None where it asks for a deletion.

    `care_of_address` is where the packet came from if it carried a home address option.
    """
    wanted = update.alternate_care_of_address or care_of_address
    if update.lifetime_s == 0 or wanted is None or wanted == home_address:
        return None
    return wanted
