"""r22 [22]: stands in for the mobile nodes that are absent from the LAN."""

from pathlib import Path

from agents.driver import run_agent
from agents.edge import Edge, configuration_of, epoch
from agents.neighbour_discovery import NeighbourDiscovery
from mobivpn.host.effects import AnnounceAddress
from mobivpn.host.fixed_databases import RouterDatabases
from mobivpn.host.internal_router import InternalRouter
from mobivpn.signalling.endpoint import SignallingEndpoint


def proxy_at_once(device: str) -> None:
    """Let the kernel answer for absent nodes, and without the random delay of RFC 4861 7.2.8."""
    Path(f"/proc/sys/net/ipv6/conf/{device}/proxy_ndp").write_text("1")
    Path(f"/proc/sys/net/ipv6/neigh/{device}/proxy_delay").write_text("0")


def hardware_address(device: str) -> bytes:
    """Return the link-layer address of a device."""
    text = Path(f"/sys/class/net/{device}/address").read_text()
    return bytes.fromhex(text.strip().replace(":", ""))


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
