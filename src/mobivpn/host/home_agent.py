"""The home agent of the external home addresses (seed: external HA), as a host."""

from ipaddress import IPv6Address

from mobivpn.errors import MalformedError
from mobivpn.host.effects import Apply, Record
from mobivpn.host.fixed_databases import HomeAgentDatabases
from mobivpn.ipsec.databases import Databases, difference
from mobivpn.mip6 import codec
from mobivpn.mip6.effects import (
    BindingChanged,
    DetectDuplicate,
    HomeAgentEffect,
    SendMobility,
)
from mobivpn.mip6.home_agent import HomeAgent

Effect = Apply | DetectDuplicate | Record | SendMobility


class HomeAgentHost:
    """Bindings in the cache become tunnels in the kernel, before they are acknowledged."""

    def __init__(self, databases: HomeAgentDatabases, agent: HomeAgent) -> None:
        self._databases = databases
        self._agent = agent
        self._care_of_address_by_node: dict[str, IPv6Address] = {}
        self._held: Databases = ()

    @property
    def deadline(self) -> float | None:
        """When the next binding ends (s)."""
        return self._agent.deadline

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
        try:
            message = codec.decode(data)
        except MalformedError as error:
            return [Record("mobility_dropped", details={"reason": error.reason})]
        return self._carry_on(
            self._agent.message_received(message, source, destination, now, care_of_address)
        )

    def timer_expired(self, now: float) -> list[Effect]:
        """Bindings are over."""
        return self._carry_on(self._agent.timer_expired(now))

    def _carry_on(self, given: list[HomeAgentEffect]) -> list[Effect]:
        carried: list[Effect] = []
        for effect in given:
            if isinstance(effect, BindingChanged):
                carried += self._binding_changed(effect)
            else:
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
