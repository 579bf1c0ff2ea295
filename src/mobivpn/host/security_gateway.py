"""The security gateway's host [20]: bindings of the nodes outside, and who has to be told of them.

The detector, the gateway's other half, runs in the Ryu process; the two talk over a local socket.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address

from mobivpn.clock import earliest
from mobivpn.host.associations import Purpose
from mobivpn.host.effects import Apply, Record
from mobivpn.host.gateway_databases import GatewayDatabases
from mobivpn.host.held import Held
from mobivpn.host.mobility_input import MobilityInput
from mobivpn.host.plan import NodeIdentity
from mobivpn.ipsec.sa import Spi
from mobivpn.mip6.binding_errors import RefusedOption
from mobivpn.mip6.correspondent_node import CorrespondentNode
from mobivpn.mip6.effects import BindingChanged, CorrespondentEffect, SendMobility
from mobivpn.signalling.endpoint import SignallingEndpoint
from mobivpn.signalling.exchange import Delivered, SendSignal
from mobivpn.signalling.messages import NodeAbsent, NodePresent, PairWithdrawn, Request

UNDER_WAY_S = 2.0
"""So long after a node has returned, what it sent outside may still arrive (s).

Thirty times the longest way of the lab, which is from the cellular network by the home agent.
"""


@dataclass(frozen=True, slots=True)
class TellDetector:
    """Tell the detector that a node is outside, or (no external home address) inside again."""

    internal_home_address: IPv6Address
    external_home_address: IPv6Address | None
    care_of_address: IPv6Address | None = None


@dataclass(frozen=True, slots=True)
class TellDetectorOfPair:
    """Tell the detector that two nodes are not direct any more, as their pair was `idle` or not."""

    first: IPv6Address
    second: IPv6Address
    idle: bool


Effect = Apply | Record | SendMobility | SendSignal | TellDetector | TellDetectorOfPair


class SecurityGateway:
    """sg as a correspondent with associations, and as the one who tells r22 and the detector."""

    def __init__(
        self,
        databases: GatewayDatabases,
        correspondent: CorrespondentNode,
        signalling: SignallingEndpoint,
    ) -> None:
        self._databases = databases
        self._company = databases.company
        self._correspondent = correspondent
        self._signalling = signalling
        self._input = MobilityInput(correspondent.dropped)
        self._node_by_spi = {
            databases.associations[Purpose.NODE_GATEWAY, node.name].forward.spi: node
            for node in databases.company.nodes
        }
        self._outside: dict[str, IPv6Address | None] = {}
        self._inside: dict[str, IPv6Address] = {}
        """Care-of addresses of nodes inside, which have some in embodiment 2."""
        self._inside_at: dict[str, float] = {}
        """When a node last said that it is inside."""
        self._held = Held()

    @property
    def deadline(self) -> float | None:
        """The earliest deadline of all parts (s)."""
        parts = (self._correspondent, self._signalling, self._input)
        return earliest(part.deadline for part in parts)

    def started(self) -> list[Effect]:
        """The host is up: install what always stands."""
        return self._settle()

    def mobility_received(
        self,
        data: bytes,
        source: IPv6Address,
        destination: IPv6Address,
        care_of_address: IPv6Address | None,
        now: float,
    ) -> list[Effect]:
        """A mobility header for this host; a malformed one is dropped."""
        message = self._input.read(data)
        given: list[CorrespondentEffect] = []
        if message is not None:
            given = self._correspondent.message_received(
                message, source, destination, now, care_of_address
            )
        return [*self._carry_on(given, now), *self._input.drops(now)]

    def home_address_refused(self, option: RefusedOption, now: float) -> list[Effect]:
        """The kernel did not take data with a home address option."""
        given = self._correspondent.home_address_refused(option, now)
        return [*self._carry_on(given, now), *self._input.drops(now)]

    def associations_used(self, spis: Iterable[Spi], now: float) -> list[Effect]:
        """Packets have come under these associations (seed: "the inbound SPD receives packets").

        Without bindings, this is how sg hears that a node has left. What comes so soon after its
        return is from before (docs/adr/0021).
        """
        carried: list[Effect] = []
        for spi in spis:
            node = self._node_by_spi.get(spi)
            if node is None or node.name in self._outside:
                continue
            inside_at = self._inside_at.get(node.name)
            if inside_at is not None and now < inside_at + UNDER_WAY_S:
                continue
            # Its binding was of the inside, if any.
            self._correspondent.forget(node.external_home_address, now)
            used = Record("sg_association_used", details={"node": node.name})
            carried += [*self._left(node, None, now), used]
        return carried

    def datagram_received(self, source: IPv6Address, payload: bytes, now: float) -> list[Effect]:
        """A message of the VCM, or an answer of r22 or the VCM."""
        carried: list[Effect] = []
        for effect in self._signalling.datagram_received(source, payload):
            if isinstance(effect, SendSignal):
                carried.append(effect)
            elif isinstance(effect, Delivered) and isinstance(effect.message, PairWithdrawn):
                pair = effect.message
                carried.append(TellDetectorOfPair(pair.first, pair.second, pair.idle))
        return carried

    def notice_given(self, notice: Request, now: float) -> list[Effect]:
        """The detector has something to tell the VCM (202)."""
        return self._request(self._company.vcm, notice, now)

    def timer_expired(self, now: float) -> list[Effect]:
        """Bindings are over, requests have to be sent again, or drops to be told."""
        carried = self._carry_on(self._correspondent.timer_expired(now), now)
        again = self._signalling.timer_expired(now)
        return [
            *carried,
            *(effect for effect in again if isinstance(effect, SendSignal)),
            *self._input.drops(now),
        ]

    def _carry_on(self, given: list[CorrespondentEffect], now: float) -> list[Effect]:
        carried: list[Effect] = []
        for effect in given:
            if isinstance(effect, BindingChanged):
                carried += self._binding_changed(effect, now)
            else:
                carried.append(effect)
        return carried

    def _binding_changed(self, change: BindingChanged, now: float) -> list[Effect]:
        node = self._company.node_at(change.home_address)
        if node is None:
            return []
        if change.own_address == self._company.security_gateway_inside:
            return self._returned(node, now)
        if change.care_of_address is not None and self._company.is_inside(change.care_of_address):
            return self._bound_inside(node, change.care_of_address, now)
        if change.care_of_address is None and node.name in self._inside:
            # It has fallen silent, and is still where it was: nobody outside is to be told.
            return []
        changed = Record(
            "sg_binding_changed",
            details={"node": node.name, "care_of_address": str(change.care_of_address)},
        )
        return [*self._left(node, change.care_of_address, now), changed]

    def _left(
        self, node: NodeIdentity, care_of_address: IPv6Address | None, now: float
    ) -> list[Effect]:
        """A binding of an external home address; without one, the home agent knows the way."""
        message = NodeAbsent(node.internal_home_address)
        absent = [] if node.name in self._outside else self._tell_router(message, now)
        self._outside[node.name] = care_of_address
        self._inside.pop(node.name, None)
        return [
            *self._settle(),
            *absent,
            TellDetector(node.internal_home_address, node.external_home_address, care_of_address),
        ]

    def _bound_inside(
        self, node: NodeIdentity, care_of_address: IPv6Address, now: float
    ) -> list[Effect]:
        """A binding of a node inside (embodiment 2): r22 routes its home address there."""
        self._inside_at[node.name] = now
        if self._inside.get(node.name) == care_of_address:
            return []
        self._inside[node.name] = care_of_address
        if node.name in self._outside:
            return self._returned(node, now)
        return self._tell_router(self._present(node), now)

    def _present(self, node: NodeIdentity) -> NodePresent:
        return NodePresent(node.internal_home_address, self._inside.get(node.name))

    def _returned(self, node: NodeIdentity, now: float) -> list[Effect]:
        """A node has told us from inside that it is there; repeated, it changes nothing.

        That it has a binding no more is the correspondent's part: the two home addresses are one.
        """
        self._inside_at[node.name] = now
        if node.name not in self._outside:
            return []
        del self._outside[node.name]
        return [
            *self._settle(),
            *self._tell_router(self._present(node), now),
            TellDetector(node.internal_home_address, None),
            Record("sg_node_returned", details={"node": node.name}),
        ]

    def _tell_router(self, message: NodeAbsent | NodePresent, now: float) -> list[Effect]:
        return self._request(self._company.internal_router, message, now)

    def _request(self, peer: IPv6Address, message: Request, now: float) -> list[Effect]:
        given = self._signalling.request(peer, message, now)
        return [effect for effect in given if isinstance(effect, SendSignal)]

    def _settle(self) -> list[Effect]:
        return [*self._held.become(self._databases.at(self._outside))]
