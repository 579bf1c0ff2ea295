"""What the cores of Mobile IPv6 ask of their host; a list of effects is carried out in order."""

from dataclasses import dataclass
from ipaddress import IPv6Address

from mobivpn.mip6.messages import SentMessage
from mobivpn.mip6.registration import Authorisation, Phase


@dataclass(frozen=True, slots=True)
class SendMobility:
    """Send a mobility message from the address `source` of this host.

    `care_of_address` is the one that goes with a home address: in a binding update the sender's own
    (home address option), in what is sent to a mobile node the receiver's (type 2 routing header);
    None where neither is used. `via_home_agent` says that this host's own binding of `destination`
    must not be used: the packet goes to the home address, and the peer's home agent forwards it.
    """

    source: IPv6Address
    destination: IPv6Address
    message: SentMessage
    care_of_address: IPv6Address | None = None
    via_home_agent: bool = False


@dataclass(frozen=True, slots=True)
class RegistrationChanged:
    """At a mobile node, a registration is in another phase; before the message that goes with it.

    `source_address` is the care-of address that packets to the peer leave from: another one than
    `care_of_address` where the peer has not acknowledged that yet and the former link still works.
    `reason` is a short word where a registration failed or begins anew.
    """

    home_address: IPv6Address
    peer: IPv6Address
    authorisation: Authorisation
    phase: Phase
    care_of_address: IPv6Address | None
    source_address: IPv6Address | None
    reason: str | None = None

    @property
    def optimised(self) -> bool:
        """Tell whether data to the peer may carry the home address option.

        From the acknowledgement on, while a first registration is under way; after a movement, when
        the peer holds a binding anyway, from the moment the update for the new address is sent, or
        all along if the former link still works.
        """
        from_former = self.source_address != self.care_of_address
        return self.phase.optimised or (self.phase is Phase.MOVED and from_former)

    @property
    def announced(self) -> bool:
        """Tell whether updates to the peer carry the home address option."""
        return self.phase.announced and self.care_of_address is not None


@dataclass(frozen=True, slots=True)
class BindingChanged:
    """In a correspondent's or home agent's binding cache: None says that the binding is gone.

    `own_address` is the address of this host to which the update came. A deletion is told even
    where no binding stood, and a refreshed binding again with its new lifetime.
    """

    home_address: IPv6Address
    care_of_address: IPv6Address | None
    lifetime_s: int
    own_address: IPv6Address


@dataclass(frozen=True, slots=True)
class DetectDuplicate:
    """Ask on the home link whether anybody uses the home address (RFC 6275 section 10.3.1)."""

    home_address: IPv6Address


@dataclass(frozen=True, slots=True)
class AnnounceInterception:
    """Tell the home link that packets to the home address come here now (section 10.4.1)."""

    home_address: IPv6Address


MobileNodeEffect = SendMobility | RegistrationChanged
CorrespondentEffect = SendMobility | BindingChanged
HomeAgentEffect = SendMobility | BindingChanged | DetectDuplicate | AnnounceInterception
