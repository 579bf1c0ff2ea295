"""A mobile node [18d-f] of plain Mobile IPv6 (`--system mip6`)."""

import os

from agents.driver import run_agent
from agents.edge import Edge, configuration_of
from agents.mobile_node import Links
from agents.mobility import speak_mobility
from mobivpn.host.plain_node import PlainDatabases, PlainNodeHost
from mobivpn.mip6.correspondent_node import CorrespondentNode
from mobivpn.mip6.mobile_node import MobileNode


def main(arguments: list[str]) -> None:
    """Run until SIGTERM."""
    configuration = configuration_of(arguments)
    company = configuration.company
    me = company.node(configuration.name)
    core = PlainNodeHost(
        PlainDatabases(me, company, configuration.link_mtu),
        MobileNode(me.external_home_address, os.urandom),
        CorrespondentNode(os.urandom),
        (node.external_home_address for node in company.nodes if node != me),
    )
    edge = Edge(configuration, core)
    speak_mobility(edge.driver, core)
    edge.driver.begin(core.started())
    Links(edge, core)
    edge.run([])


if __name__ == "__main__":
    run_agent(main)
