"""The security gateway's host [20]; its session detector is `controllers.gateway_app`."""

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from agents.driver import run_agent
from agents.edge import Edge, configuration_of, epoch, vcm_link
from agents.kernel_reports import hear_of_used_associations
from agents.mobility import speak_mobility
from controllers import gateway_link
from controllers.gateway_link import GatewayLink, NodeOutside, PairOver
from mobivpn.errors import CallerError
from mobivpn.host.gateway_databases import GatewayDatabases
from mobivpn.host.security_gateway import SecurityGateway, TellDetector, TellDetectorOfPair
from mobivpn.mip6.correspondent_node import CorrespondentNode
from mobivpn.signalling.endpoint import SignallingEndpoint

DETECTOR_WITHIN_S = 30.0


def link_to_detector(path: Path) -> GatewayLink:
    """Return this end of the link, as soon as the application's end is there."""
    deadline = time.monotonic() + DETECTOR_WITHIN_S
    while not gateway_link.application_path(path).exists():
        if time.monotonic() > deadline:
            raise CallerError(f"{path}: no detector within {DETECTOR_WITHIN_S:g} s")
        time.sleep(0.01)
    return GatewayLink(gateway_link.agent_path(path), gateway_link.application_path(path))


def main(arguments: list[str]) -> None:
    """Run until SIGTERM."""
    configuration = configuration_of(arguments)
    company = configuration.company
    if configuration.outside_router is None or configuration.gateway_socket is None:
        raise CallerError("configuration: sg needs outside_router and gateway_socket")
    core = SecurityGateway(
        GatewayDatabases(
            company,
            configuration.given,
            configuration.devices["inside"],
            configuration.devices["outside"],
            configuration.outside_router,
            configuration.link_mtu,
        ),
        CorrespondentNode(
            os.urandom,
            protected=frozenset(
                address
                for node in company.nodes
                for address in (node.external_home_address, node.internal_home_address)
            ),
            other_names={n.internal_home_address: n.external_home_address for n in company.nodes},
        ),
        SignallingEndpoint(epoch(), [company.vcm, company.internal_router]),
    )
    edge = Edge(configuration, core)
    link = link_to_detector(Path(configuration.gateway_socket))

    def notices(now: float) -> Iterable[Any]:
        return core.notice_given(gateway_link.decode_notice(link.receive()), now)

    edge.driver.on_readable(link.file, notices)
    edge.driver.on_effect(
        TellDetector,
        lambda e: link.send(
            gateway_link.encode(
                NodeOutside(e.internal_home_address, e.external_home_address, e.care_of_address)
            )
        ),
    )
    edge.driver.on_effect(
        TellDetectorOfPair,
        lambda e: link.send(gateway_link.encode(PairOver(e.first, e.second, e.idle))),
    )
    edge.speak(core, company.security_gateway_inside, vcm_link(configuration))
    speak_mobility(edge.driver, core)
    if not company.binds_at_gateway:
        used = hear_of_used_associations()
        edge.driver.on_readable(used.file, lambda now: core.associations_used(used.read(), now))
    edge.run(core.started())


if __name__ == "__main__":
    run_agent(main)
