"""What each role may be told to do otherwise; lifetimes in seconds."""

from dataclasses import dataclass
from ipaddress import IPv6Address

from mobivpn.mip6.constants import MAX_RR_BINDING_LIFETIME_S
from mobivpn.mip6.registration import Authorisation, IpsecAuthorisation


@dataclass(frozen=True, slots=True)
class MobileNodeSettings:
    """Lifetimes to ask for (s), and how long to go on.

    `attempts` bounds the sendings of one message to a correspondent; without, it is asked without
    end like home agents and IPsec peers, at MAX_BINDACK_TIMEOUT in the end (RFC 6275 section 11.8).
    `deletion_attempts` bounds those of a deletion. A binding is refreshed after `refresh_fraction`
    of its lifetime. `update_twice` sends the first update after a movement by the peer's home agent
    as well, so that two nodes that move in the same instant need no retransmission to find each
    other.
    """

    home_lifetime_s: int = 600
    protected_lifetime_s: int = 600
    correspondent_lifetime_s: int = MAX_RR_BINDING_LIFETIME_S
    attempts: int | None = None
    deletion_attempts: int = 7
    refresh_fraction: float = 0.8
    update_twice: bool = False

    def lifetime_s(self, authorisation: Authorisation) -> int:
        """Return the lifetime (s) to ask for."""
        if not isinstance(authorisation, IpsecAuthorisation):
            return self.correspondent_lifetime_s
        if authorisation.home_registration:
            return self.home_lifetime_s
        return self.protected_lifetime_s


@dataclass(frozen=True, slots=True)
class CorrespondentSettings:
    """What bindings this node grants.

    `permitted` home addresses only, if given; at most `capacity` bindings; IPsec peers and those
    with a key of their own for at most `protected_lifetime_s`. With `request_refresh`, a binding
    that nears its end is asked for again.
    """

    permitted: frozenset[IPv6Address] | None = None
    capacity: int = 1024
    protected_lifetime_s: int = 3600
    request_refresh: bool = False
    request_refresh_fraction: float = 0.9


@dataclass(frozen=True, slots=True)
class HomeAgentSettings:
    """What bindings are granted: to whom (None: all of the prefix), how long, how many.

    With `detect_duplicates`, the acknowledgement of a first binding waits for the outcome of
    duplicate address detection.
    `refresh_advice_s` goes with each acknowledgement whose lifetime is longer.
    """

    served: frozenset[IPv6Address] | None = None
    longest_lifetime_s: int = 3600
    refresh_advice_s: int | None = None
    capacity: int = 1024
    detect_duplicates: bool = False
