"""The home agent of the external home addresses."""

from ipaddress import IPv6Network

from agents.driver import run_agent
from agents.edge import Edge, configuration_of
from agents.mobility import speak_mobility
from mobivpn.host.fixed_databases import HomeAgentDatabases
from mobivpn.host.home_agent import HomeAgentHost
from mobivpn.mip6.home_agent import HomeAgent, HomeAgentSettings


def main(arguments: list[str]) -> None:
    """Run until SIGTERM."""
    configuration = configuration_of(arguments)
    company = configuration.company
    served = frozenset(node.external_home_address for node in company.nodes)
    core = HomeAgentHost(
        HomeAgentDatabases(company, configuration.given, configuration.link_mtu),
        HomeAgent(
            company.home_agent,
            IPv6Network((company.home_agent, 64), strict=False),
            HomeAgentSettings(served=served),
        ),
    )
    edge = Edge(configuration, core)
    speak_mobility(edge.driver, core)
    edge.run(core.started())


if __name__ == "__main__":
    run_agent(main)
