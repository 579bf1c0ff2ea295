"""The home agent of the external home addresses."""

from collections.abc import Iterable
from ipaddress import IPv6Network
from typing import Any

from agents.driver import run_agent
from agents.duplicate_detection import DuplicateDetection
from agents.edge import Edge, configuration_of
from agents.mobility import speak_mobility
from agents.neighbour_discovery import NeighbourDiscovery
from agents.neighbour_proxy import hardware_address, proxy_at_once
from mobivpn.host.effects import AnnounceAddress
from mobivpn.host.fixed_databases import HomeAgentDatabases
from mobivpn.host.home_agent import HomeAgentHost
from mobivpn.mip6.effects import DetectDuplicate
from mobivpn.mip6.home_agent import HomeAgent, HomeAgentSettings


def main(arguments: list[str]) -> None:
    """Run until SIGTERM."""
    configuration = configuration_of(arguments)
    company, home = configuration.company, configuration.devices["home"]
    served = frozenset(node.external_home_address for node in company.nodes)
    core = HomeAgentHost(
        HomeAgentDatabases(company, configuration.given, home, configuration.link_mtu),
        HomeAgent(
            company.home_agent,
            IPv6Network((company.home_agent, 64), strict=False),
            HomeAgentSettings(served=served, detect_duplicates=True),
        ),
    )
    edge = Edge(configuration, core)
    discovery, own = NeighbourDiscovery(), hardware_address(home)
    detection = DuplicateDetection(home)

    def neighbour_heard(now: float) -> Iterable[Any]:
        return [
            effect for address in detection.read() for effect in core.address_claimed(address, now)
        ]

    edge.driver.on_readable(detection.file, neighbour_heard)
    edge.driver.on_effect(DetectDuplicate, lambda effect: detection.ask(effect.home_address))
    edge.driver.on_effect(
        AnnounceAddress, lambda effect: discovery.announce(effect.address, effect.device, own)
    )
    speak_mobility(edge.driver, core)
    proxy_at_once(home)
    edge.run(core.started())


if __name__ == "__main__":
    run_agent(main)
