"""r22 [22]: stands in for the mobile nodes that are absent from the LAN."""

from agents.driver import run_agent
from agents.edge import Edge, configuration_of, epoch
from agents.neighbour_discovery import NeighbourDiscovery
from agents.neighbour_proxy import hardware_address, proxy_at_once
from mobivpn.host.effects import AnnounceAddress
from mobivpn.host.fixed_databases import RouterDatabases
from mobivpn.host.internal_router import InternalRouter
from mobivpn.signalling.endpoint import SignallingEndpoint


def main(arguments: list[str]) -> None:
    """Run until SIGTERM."""
    configuration = configuration_of(arguments)
    company, lan = configuration.company, configuration.devices["lan"]
    core = InternalRouter(
        RouterDatabases(
            company,
            configuration.given,
            lan,
            configuration.devices["gateway"],
            configuration.link_mtu,
            configuration.advertisements,
        ),
        SignallingEndpoint(epoch(), [company.security_gateway_inside]),
    )
    edge = Edge(configuration, core)
    discovery, own = NeighbourDiscovery(), hardware_address(lan)
    edge.driver.on_effect(
        AnnounceAddress, lambda effect: discovery.announce(effect.address, effect.device, own)
    )
    edge.speak(core, company.internal_router)
    proxy_at_once(lan)
    edge.run(core.started())


if __name__ == "__main__":
    run_agent(main)
