"""The home agent of the external home addresses (seed: external HA), as a host."""

from ipaddress import IPv6Address

from mobivpn.clock import Timers, earliest
from mobivpn.host.effects import AnnounceAddress, Apply, Record
from mobivpn.host.fixed_databases import HomeAgentDatabases
from mobivpn.host.held import Held
from mobivpn.host.mobility_input import MobilityInput
from mobivpn.mip6.binding_errors import RefusedOption
from mobivpn.mip6.effects import (
    AnnounceInterception,
    BindingChanged,
    DetectDuplicate,
    HomeAgentEffect,
    SendMobility,
)
from mobivpn.mip6.home_agent import HomeAgent

Effect = AnnounceAddress | Apply | DetectDuplicate | Record | SendMobility


FORMER_FOR_S = 4.0
"""How long a node's packets are taken from its former care-of address (docs/adr/0014)."""


class HomeAgentHost:
    """Bindings in the cache become tunnels in the kernel, before they are acknowledged."""

    def __init__(self, databases: HomeAgentDatabases, agent: HomeAgent) -> None:
        self._databases = databases
        self._agent = agent
        self._input = MobilityInput(agent.dropped)
        self._care_of_address_by_node: dict[str, IPv6Address] = {}
        self._former = Timers[tuple[str, IPv6Address]]()
        self._held = Held()

    @property
    def deadline(self) -> float | None:
        """The earliest deadline of all parts (s)."""
        return earliest((self._agent.deadline, self._input.deadline, self._former.deadline))

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
        return [*self._carry_on(given, now), *self._input.drops(now)]

    def home_address_refused(self, option: RefusedOption, now: float) -> list[Effect]:
        """The kernel did not take data with a home address option."""
        given = self._agent.home_address_refused(option, now)
        return [*self._carry_on(given, now), *self._input.drops(now)]

    def address_claimed(self, address: IPv6Address, now: float) -> list[Effect]:
        """A neighbour on the home link has, or wants, this address."""
        return self._carry_on(self._agent.address_claimed(address, now), now)

    def timer_expired(self, now: float) -> list[Effect]:
        """Bindings or tunnels are over, addresses have turned out unique, drops are to be told."""
        carried = self._carry_on(self._agent.timer_expired(now), now)
        if self._former.pop_due(now):
            carried += self._settle()
        return [*carried, *self._input.drops(now)]

    def _carry_on(self, given: list[HomeAgentEffect], now: float) -> list[Effect]:
        carried: list[Effect] = []
        for effect in given:
            match effect:
                case BindingChanged():
                    carried += self._binding_changed(effect, now)
                case AnnounceInterception(home_address):
                    device = self._databases.home_device
                    carried.append(AnnounceAddress(home_address, device))
                case _:
                    carried.append(effect)
        return carried

    def _binding_changed(self, change: BindingChanged, now: float) -> list[Effect]:
        node = self._databases.company.node_at(change.home_address)
        if node is None:
            return []
        before = self._care_of_address_by_node.pop(node.name, None)
        here = change.care_of_address
        if here is not None:
            self._care_of_address_by_node[node.name] = here
            if before is not None and before != here:
                self._former.set((node.name, before), now + FORMER_FOR_S)
            self._former.cancel((node.name, here))
        details = {"node": node.name, "care_of_address": str(here)}
        return [*self._settle(), Record("home_binding_changed", details=details)]

    def _settle(self) -> list[Effect]:
        return [*self._held.become(self._databases.at(self._care_of_address_by_node, self._former))]
