"""The home agent of the external home addresses (seed: external HA), as a host."""

from ipaddress import IPv6Address

from mobivpn.clock import earliest
from mobivpn.host.effects import AnnounceAddress, Apply, Record
from mobivpn.host.fixed_databases import HomeAgentDatabases
from mobivpn.host.mobility_input import MobilityInput
from mobivpn.ipsec.databases import Databases, difference
from mobivpn.mip6.effects import (
    AnnounceInterception,
    BindingChanged,
    DetectDuplicate,
    HomeAgentEffect,
    SendMobility,
)
from mobivpn.mip6.home_agent import HomeAgent

Effect = AnnounceAddress | Apply | DetectDuplicate | Record | SendMobility


class HomeAgentHost:
    """Bindings in the cache become tunnels in the kernel, before they are acknowledged."""

    def __init__(self, databases: HomeAgentDatabases, agent: HomeAgent) -> None:
        self._databases = databases
        self._agent = agent
        self._input = MobilityInput(agent.dropped)
        self._care_of_address_by_node: dict[str, IPv6Address] = {}
        self._held: Databases = ()

    @property
    def deadline(self) -> float | None:
        """The earliest deadline of all parts (s)."""
        return earliest((self._agent.deadline, self._input.deadline))

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
        given: list[HomeAgentEffect] = []
        if message is not None:
            given = self._agent.message_received(message, source, destination, now, care_of_address)
        return [*self._carry_on(given), *self._input.drops(now)]

    def home_address_refused(
        self,
        home_address: IPv6Address,
        care_of_address: IPv6Address,
        own_address: IPv6Address,
        now: float,
    ) -> list[Effect]:
        """The kernel did not take data with a home address option."""
        given = self._agent.home_address_refused(home_address, care_of_address, own_address, now)
        return [*self._carry_on(given), *self._input.drops(now)]

    def address_claimed(self, address: IPv6Address, now: float) -> list[Effect]:
        """A neighbour on the home link has, or wants, this address."""
        return self._carry_on(self._agent.address_claimed(address, now))

    def timer_expired(self, now: float) -> list[Effect]:
        """Bindings are over, addresses have turned out unique, or drops have to be told."""
        return [*self._carry_on(self._agent.timer_expired(now)), *self._input.drops(now)]

    def _carry_on(self, given: list[HomeAgentEffect]) -> list[Effect]:
        carried: list[Effect] = []
        for effect in given:
            match effect:
                case BindingChanged():
                    carried += self._binding_changed(effect)
                case AnnounceInterception(home_address):
                    device = self._databases.home_device
                    carried.append(AnnounceAddress(home_address, device))
                case _:
                    carried.append(effect)
        return carried

    def _binding_changed(self, change: BindingChanged) -> list[Effect]:
        node = self._databases.company.node_at(change.home_address)
        if node is None:
            return []
        if change.care_of_address is None:
            self._care_of_address_by_node.pop(node.name, None)
        else:
            self._care_of_address_by_node[node.name] = change.care_of_address
        details = {"node": node.name, "care_of_address": str(change.care_of_address)}
        return [*self._settle(), Record("home_binding_changed", details=details)]

    def _settle(self) -> list[Effect]:
        wanted = self._databases.at(self._care_of_address_by_node)
        changes = difference(self._held, wanted)
        self._held = wanted
        return [Apply(changes)] if changes else []
