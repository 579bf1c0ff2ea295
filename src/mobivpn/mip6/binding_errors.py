"""Binding errors (RFC 6275 section 9.3.3): what every node owes to whom it cannot understand."""

from collections import Counter
from dataclasses import dataclass, field
from ipaddress import IPv6Address

from mobivpn.mip6.binding_cache import Binding
from mobivpn.mip6.effects import SendMobility
from mobivpn.mip6.messages import BindingError, ErrorStatus
from mobivpn.mip6.rate_limit import RateLimit
from mobivpn.mip6.received_update import is_unicast_routable

UNSPECIFIED = IPv6Address("::")
ERRORS_PER_SECOND = 10
"""To all nodes together: section 9.3.3 asks for a limit."""


@dataclass(frozen=True, slots=True)
class RefusedOption:
    """A packet in the name of `home_address` came from `care_of_address`; the host dropped it."""

    home_address: IPv6Address
    care_of_address: IPv6Address
    own_address: IPv6Address


@dataclass(slots=True)
class BindingErrors:
    """The errors that one node sends; `dropped` counts those that it does not."""

    dropped: Counter[str]
    _limit: RateLimit = field(default_factory=lambda: RateLimit(ERRORS_PER_SECOND))

    def home_address_refused(
        self, binding: Binding | None, option: RefusedOption, now: float
    ) -> list[SendMobility]:
        """Answer data whose home address option the host did not take (section 9.3.1).

        Where `binding` allows the option, policies refused the packet for another reason.
        """
        if binding is not None and binding.care_of_address == option.care_of_address:
            self.dropped["refused-by-policy"] += 1
            return []
        error = BindingError(ErrorStatus.UNKNOWN_BINDING, option.home_address)
        return self._send(error, option.own_address, option.care_of_address, now)

    def unrecognised(
        self,
        source: IPv6Address,
        destination: IPv6Address,
        care_of_address: IPv6Address | None,
        now: float,
    ) -> list[SendMobility]:
        """Answer a message of a type that nobody here knows (section 9.2)."""
        home_address = UNSPECIFIED if care_of_address is None else source
        error = BindingError(ErrorStatus.UNRECOGNISED_MESSAGE_TYPE, home_address)
        return self._send(error, destination, care_of_address or source, now)

    def _send(
        self, error: BindingError, source: IPv6Address, destination: IPv6Address, now: float
    ) -> list[SendMobility]:
        if not is_unicast_routable(destination) or self._limit.allowed_at("error", now) > now:
            self.dropped["error-not-sent"] += 1
            return []
        self._limit.sent("error", now)
        return [SendMobility(source, destination, error)]
