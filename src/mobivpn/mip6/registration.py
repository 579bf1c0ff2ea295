"""The life of one registration at a mobile node (RFC 6275 sections 11.5 to 11.7).

How a binding is authorised is a value: by IPsec, by return routability, by a key given beforehand.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv6Address

from mobivpn.errors import IllegalTransition


@dataclass(frozen=True, slots=True)
class IpsecAuthorisation:
    """An association protects update and acknowledgement; at home agents by RFC 4877."""

    home_registration: bool


@dataclass(frozen=True, slots=True)
class RoutabilityAuthorisation:
    """The return routability procedure (RFC 6275 section 5.2.5; seed 218)."""


@dataclass(frozen=True, slots=True)
class StaticAuthorisation:
    """A binding management key that both ends were given (RFC 4449)."""

    binding_management_key: bytes = field(repr=False)


Authorisation = IpsecAuthorisation | RoutabilityAuthorisation | StaticAuthorisation

HOME = IpsecAuthorisation(home_registration=True)
"""At the home agent."""
PROTECTED = IpsecAuthorisation(home_registration=False)
"""At a correspondent with which an association stood before: the security gateway."""
CORRESPONDENT = RoutabilityAuthorisation()
"""At any other correspondent."""


@dataclass(frozen=True, slots=True)
class RegistrationKey:
    """Which binding it is: sequence numbers are counted by these two addresses."""

    home_address: IPv6Address
    peer: IPv6Address


class Phase(Enum):
    """Where a registration stands."""

    DETACHED = "detached"
    """There is no care-of address."""
    ROUTABILITY = "routability"
    """The first return routability tests; the peer holds no binding."""
    UPDATING = "updating"
    """A first update is not acknowledged yet."""
    REGISTERED = "registered"
    RENEWING = "renewing"
    """The tests before a refresh; the peer's binding is right."""
    REFRESHING = "refreshing"
    """An update for the same care-of address is not acknowledged yet."""
    MOVED = "moved"
    """The tests after a movement; the peer may hold the previous care-of address."""
    MOVING = "moving"
    """The update for a new care-of address is not acknowledged yet."""
    LEAVING = "leaving"
    """The home test before a deletion."""
    DEREGISTERING = "deregistering"
    """An update of lifetime 0 is not acknowledged yet."""
    IDLE = "idle"
    """Over, and asked for."""
    FAILED = "failed"
    """Over, refused or never answered; a movement begins it anew."""

    @property
    def optimised(self) -> bool:
        """Tell whether data to the peer may carry the home address option."""
        return self in _OPTIMISED

    @property
    def announced(self) -> bool:
        """Tell whether an update may be under way to the peer."""
        return self in _OPTIMISED or self in (Phase.UPDATING, Phase.DEREGISTERING)


_OPTIMISED = frozenset({Phase.REGISTERED, Phase.RENEWING, Phase.REFRESHING, Phase.MOVING})


class Input(Enum):
    """What happens to a registration."""

    ATTACHED = "attached"
    """A care-of address is settled; the peer holds no binding."""
    ATTACHED_BOUND = "attached_bound"
    """A care-of address is settled; the peer may hold a binding of the previous one."""
    DETACHED = "detached"
    AUTHORISED = "authorised"
    """The tests are passed, or none are needed."""
    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNAUTHORISED = "unauthorised"
    """The tokens are too old, by our clock or the peer's (status 136 to 138)."""
    UNANSWERED = "unanswered"
    REFRESH_DUE = "refresh_due"
    UNBOUND = "unbound"
    """The peer's binding has expired, or it says that it has none (binding error)."""
    WITHDRAWN = "withdrawn"


def _rows(phases: Iterable[Phase], given: Input, after: Phase) -> dict[tuple[Phase, Input], Phase]:
    return {(phase, given): after for phase in phases}


_TESTING = (Phase.ROUTABILITY, Phase.RENEWING, Phase.MOVED)
_UPDATING = (Phase.UPDATING, Phase.REFRESHING, Phase.MOVING)
_LIVE = (Phase.DETACHED, *_TESTING, *_UPDATING, Phase.REGISTERED, Phase.FAILED)
_ENDING = (Phase.LEAVING, Phase.DEREGISTERING)

TRANSITIONS: Mapping[tuple[Phase, Input], Phase] = {
    # Section 11.7.2: all correspondents in the list are told of a new care-of address.
    **_rows(_LIVE, Input.ATTACHED, Phase.ROUTABILITY),
    **_rows(_LIVE, Input.ATTACHED_BOUND, Phase.MOVED),
    **_rows(_LIVE, Input.DETACHED, Phase.DETACHED),
    # A deletion goes on from wherever the node is.
    **_rows(_ENDING, Input.ATTACHED, Phase.LEAVING),
    **_rows(_ENDING, Input.ATTACHED_BOUND, Phase.LEAVING),
    **_rows(_ENDING, Input.DETACHED, Phase.LEAVING),
    # Section 11.7.2: an update is sent when both tokens are there.
    (Phase.ROUTABILITY, Input.AUTHORISED): Phase.UPDATING,
    (Phase.RENEWING, Input.AUTHORISED): Phase.REFRESHING,
    (Phase.MOVED, Input.AUTHORISED): Phase.MOVING,
    (Phase.LEAVING, Input.AUTHORISED): Phase.DEREGISTERING,
    # Section 11.7.3: acknowledgements.
    **_rows(_UPDATING, Input.ACCEPTED, Phase.REGISTERED),
    (Phase.DEREGISTERING, Input.ACCEPTED): Phase.IDLE,
    **_rows(_UPDATING, Input.REFUSED, Phase.FAILED),
    (Phase.DEREGISTERING, Input.REFUSED): Phase.IDLE,
    (Phase.UPDATING, Input.UNAUTHORISED): Phase.ROUTABILITY,
    (Phase.REFRESHING, Input.UNAUTHORISED): Phase.RENEWING,
    (Phase.MOVING, Input.UNAUTHORISED): Phase.MOVED,
    (Phase.DEREGISTERING, Input.UNAUTHORISED): Phase.LEAVING,
    # Section 11.8: sent as often as is sensible, and no answer.
    **_rows((*_TESTING, *_UPDATING), Input.UNANSWERED, Phase.FAILED),
    **_rows(_ENDING, Input.UNANSWERED, Phase.IDLE),
    # Sections 11.7.4 and 11.6.1: refreshed on request or in time.
    (Phase.REGISTERED, Input.REFRESH_DUE): Phase.RENEWING,
    # Section 11.3.6: the peer has no binding; what runs goes on as a first registration.
    (Phase.REGISTERED, Input.UNBOUND): Phase.ROUTABILITY,
    (Phase.RENEWING, Input.UNBOUND): Phase.ROUTABILITY,
    (Phase.MOVED, Input.UNBOUND): Phase.ROUTABILITY,
    (Phase.REFRESHING, Input.UNBOUND): Phase.UPDATING,
    (Phase.MOVING, Input.UNBOUND): Phase.UPDATING,
    # Section 11.5.5: lifetime 0.
    **_rows(_LIVE, Input.WITHDRAWN, Phase.LEAVING),
}


def advance(phase: Phase, given: Input) -> Phase:
    """Return the next phase; raise IllegalTransition for a pair that the table does not have."""
    try:
        return TRANSITIONS[phase, given]
    except KeyError:
        raise IllegalTransition(f"registration: {given.value} while {phase.value}") from None
