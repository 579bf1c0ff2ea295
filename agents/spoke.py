"""A mobile node [18d-f] whose VPN is another system's (`experiments.systems`)."""

from agents.driver import run_agent
from agents.edge import Edge, configuration_of
from agents.mobile_node import Links
from mobivpn.host.spoke import SpokeDatabases, SpokeHost


def main(arguments: list[str]) -> None:
    """Run until SIGTERM."""
    configuration = configuration_of(arguments)
    company = configuration.company
    me = company.node(configuration.name)
    has_policies = configuration.variants.system.has_policies
    core = SpokeHost(SpokeDatabases(me, company, configuration.link_mtu, has_policies))
    edge = Edge(configuration, core)
    edge.driver.begin(core.started())
    Links(edge, core)
    edge.run([])


if __name__ == "__main__":
    run_agent(main)
