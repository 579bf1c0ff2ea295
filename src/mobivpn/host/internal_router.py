"""r22 [22]: home agent of the internal home addresses; stands in for the nodes that are absent."""

from collections.abc import Sequence
from ipaddress import IPv6Address

from mobivpn.host.effects import AnnounceAddress, Apply, Record
from mobivpn.host.fixed_databases import RouterDatabases
from mobivpn.host.held import Held
from mobivpn.host.plan import NodeIdentity
from mobivpn.signalling.endpoint import SignallingEndpoint
from mobivpn.signalling.exchange import Delivered, SendSignal
from mobivpn.signalling.messages import NodeAbsent, NodePresent

Effect = Apply | AnnounceAddress | SendSignal | Record


class InternalRouter:
    """Which nodes are absent is what sg says last; nothing here has a state of its own."""

    def __init__(self, databases: RouterDatabases, signalling: SignallingEndpoint) -> None:
        self._databases = databases
        self._signalling = signalling
        self._absent: dict[IPv6Address, NodeIdentity] = {}
        self._present: dict[IPv6Address, IPv6Address] = {}
        """Where home addresses are routed to: those of nodes inside, in embodiment 2."""
        self._held = Held()

    @property
    def deadline(self) -> float | None:
        """None: r22 asks nothing, it only answers."""
        return self._signalling.deadline

    def started(self) -> Sequence[Effect]:
        """The host is up: install what always stands."""
        return self._settle()

    def datagram_received(
        self, source: IPv6Address, payload: bytes, now: float
    ) -> Sequence[Effect]:
        """A message of sg: a node is absent or present."""
        effects: list[Effect] = []
        for effect in self._signalling.datagram_received(source, payload):
            if isinstance(effect, SendSignal):
                effects.append(effect)
            elif isinstance(effect, Delivered):
                effects += self._obey(effect.message)
        return effects

    def timer_expired(self, now: float) -> Sequence[Effect]:
        """Nothing of r22 ever falls due."""
        return []

    def _obey(self, message: object) -> list[Effect]:
        company = self._databases.company
        if isinstance(message, NodeAbsent):
            node = company.node_at(message.internal_home_address)
            if node is None:
                return []
            self._absent[node.internal_home_address] = node
            self._present.pop(node.internal_home_address, None)
            record = Record("node_absent", details={"node": node.name})
            if company.is_public:
                return [*self._settle(), record]
            # RFC 6275 10.4.1: the neighbours have to forget the node's own link-layer address.
            announced = AnnounceAddress(node.internal_home_address, self._databases.lan_device)
            return [*self._settle(), announced, record]
        if isinstance(message, NodePresent):
            return self._is_present(message)
        return []

    def _is_present(self, message: NodePresent) -> list[Effect]:
        company = self._databases.company
        node = self._absent.pop(message.internal_home_address, None)
        if company.is_public and message.care_of_address is not None:
            node = company.node_at(message.internal_home_address)
        if node is None:
            return []
        if message.care_of_address is not None:
            self._present[node.internal_home_address] = message.care_of_address
        return [*self._settle(), Record("node_present", details={"node": node.name})]

    def _settle(self) -> list[Effect]:
        return [*self._held.become(self._databases.at(self._absent.values(), self._present))]
