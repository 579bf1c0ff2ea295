"""sg [20] or r22 [22] where the VPN is another system's (`experiments.systems`)."""

from collections.abc import Iterable
from typing import Any

from agents.driver import run_agent
from agents.edge import Edge, configuration_of
from agents.neighbour_discovery import NeighbourDiscovery
from agents.neighbour_proxy import hardware_address, proxy_at_once
from agents.source_watch import SourceWatch
from mobivpn.host.effects import AnnounceAddress
from mobivpn.host.learning_router import LearningRouter, RouterSides, Side


def main(arguments: list[str]) -> None:
    """Run until SIGTERM."""
    configuration = configuration_of(arguments)
    devices, is_hub = configuration.devices, configuration.name == "sg"
    core = LearningRouter(
        RouterSides(
            configuration.company,
            outside_device=devices[Side.OUTSIDE.value],
            inside_device=devices[Side.INSIDE.value],
            outside_router=configuration.outside_router,
            tells_outwards=not is_hub,
            link_mtu=configuration.link_mtu,
            has_policies=is_hub and configuration.variants.system.has_policies,
        )
    )
    edge = Edge(configuration, core)
    discovery = NeighbourDiscovery()

    def announce(effect: AnnounceAddress) -> None:
        discovery.announce(effect.address, effect.device, hardware_address(effect.device))

    edge.driver.on_effect(AnnounceAddress, announce)
    proxy_at_once(devices[Side.INSIDE.value])
    for side in Side:
        watch = SourceWatch(devices[side.value])

        def heard(now: float, side: Side = side, watch: SourceWatch = watch) -> Iterable[Any]:
            return [e for address in watch.read() for e in core.heard(address, side, now)]

        edge.driver.on_readable(watch.file, heard)
    edge.run(core.started())


if __name__ == "__main__":
    run_agent(main)
