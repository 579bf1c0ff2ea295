"""A mobile node [18d-f]."""

import os
import time
from collections.abc import Iterable
from typing import Any

from agents.driver import run_agent
from agents.edge import Edge, configuration_of, epoch
from agents.link_monitor import (
    AddressDuplicate,
    AddressUsable,
    LinkFound,
    LinkLost,
    LinkMonitor,
)
from agents.mobility import speak_mobility
from agents.neighbour_discovery import NeighbourDiscovery
from mobivpn.host.advertisements import VERIFIED_MARK
from mobivpn.host.effects import AnnounceAddress
from mobivpn.host.idleness import ReadUse
from mobivpn.host.keyring import Keyring
from mobivpn.host.mobile_node import MobileNodeHost
from mobivpn.host.movement import SolicitRouters
from mobivpn.host.network import DuplicateDetection
from mobivpn.host.node_databases import NodeDatabases
from mobivpn.host.roaming import Roaming
from mobivpn.host.sa_endpoint import SaEndpoint
from mobivpn.mip6.correspondent_node import CorrespondentNode
from mobivpn.mip6.mobile_node import MobileNode
from mobivpn.signalling.endpoint import SignallingEndpoint
from mobivpn.variants import KeyScheme


class Links:
    """Link events and neighbour discovery of one node."""

    def __init__(self, edge: Edge, core: Roaming[Any]) -> None:
        self._core = core
        self._monitor = LinkMonitor(edge.configuration.devices["links"])
        authenticates = edge.configuration.advertisements is not None
        self._discovery = NeighbourDiscovery(VERIFIED_MARK if authenticates else 0)
        self._hardware_address: dict[str, bytes] = {}
        edge.driver.on_readable(self._monitor.file, self._link_changed)
        edge.driver.on_readable(self._discovery.file, self._router_heard)
        edge.driver.on_effect(SolicitRouters, self._solicit)
        edge.driver.on_effect(AnnounceAddress, self._announce)

    def _link_changed(self, now: float) -> Iterable[Any]:
        effects: list[Any] = []
        for change in self._monitor.read():
            match change:
                case LinkFound(device, hardware_address):
                    self._hardware_address[device] = hardware_address
                    effects += self._core.link_found(device, hardware_address, now)
                case LinkLost(device):
                    effects += self._core.link_lost(device, now)
                case AddressUsable(device, address):
                    effects += self._core.address_usable(device, address, now)
                case AddressDuplicate(device, address):
                    effects += self._core.address_duplicate(device, address, now)
        return effects

    def _router_heard(self, now: float) -> Iterable[Any]:
        return [
            effect
            for heard in self._discovery.read()
            for effect in self._core.router_heard(
                heard.device,
                heard.router,
                heard.prefixes,
                heard.lifetime_s,
                now,
                verified=heard.verified,
            )
        ]

    def _solicit(self, effect: SolicitRouters) -> None:
        self._discovery.solicit(effect.device)

    def _announce(self, effect: AnnounceAddress) -> None:
        self._discovery.announce(
            effect.address,
            effect.device,
            self._hardware_address[effect.device],
            effect.router,
        )


def main(arguments: list[str]) -> None:
    """Run until SIGTERM."""
    configuration = configuration_of(arguments)
    company = configuration.company
    me = company.node(configuration.name)
    core = MobileNodeHost(
        NodeDatabases(
            me,
            company,
            configuration.given,
            configuration.link_mtu,
            DuplicateDetection.CLASSIC if configuration.classic else DuplicateDetection.OPTIMISTIC,
            configuration.advertisements,
        ),
        MobileNode(me.external_home_address, os.urandom),
        CorrespondentNode(os.urandom),
        SaEndpoint(
            me,
            company,
            SignallingEndpoint(epoch(), [company.vcm]),
            Keyring(
                configuration.algorithms,
                os.urandom if configuration.variants.keys is KeyScheme.BLIND else None,
            ),
        ),
        configuration.pair_idle_s,
        solicits=not configuration.classic,
        best_path=configuration.variants.best_path,
    )
    edge = Edge(configuration, core)
    edge.on_applied(core.applied)
    edge.driver.on_effect(
        ReadUse, lambda effect: core.use_read(edge.packets_by_carrier(), time.monotonic())
    )
    edge.speak(core, me.internal_home_address)
    speak_mobility(edge.driver, core)
    edge.driver.begin(core.started())
    Links(edge, core)
    edge.run([])


if __name__ == "__main__":
    run_agent(main)
