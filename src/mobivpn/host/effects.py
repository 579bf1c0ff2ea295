"""What a host's core asks of its edge, beside the mobility messages of `mobivpn.mip6.effects`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address

from mobivpn.ipsec.databases import Change
from mobivpn.signalling.exchange import SendSignal

__all__ = ["AnnounceAddress", "Apply", "Record", "SendSignal"]


@dataclass(frozen=True, slots=True)
class Apply:
    """Change the kernel; the outcome comes back to the core as `applied(token, refused, now)`."""

    changes: tuple[Change, ...]
    token: str | None = None


@dataclass(frozen=True, slots=True)
class AnnounceAddress:
    """Send an unsolicited neighbour advertisement (RFC 4861 section 7.2.6).

    All on the link hear that the address has come here, and are to believe it. Or else `router`
    alone, which may be looking for it (RFC 9131): without the override flag, since a new address
    may be optimistic (RFC 4429 section 3.3), and not to others, whose links are as busy as its own.
    """

    address: IPv6Address
    device: str
    router: IPv6Address | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """Log an event under its name of the design, with the seed's numeral; never a secret."""

    event: str
    numeral: str | None = None
    details: Mapping[str, str | int | float | list[str]] = field(
        default_factory=dict[str, str | int | float | list[str]]
    )
