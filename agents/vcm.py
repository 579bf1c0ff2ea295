"""The VPN connectivity manager: makes SA pairs, keeps the MN context database."""

import os
from pathlib import Path

from agents.context_store import ContextStore
from agents.driver import run_agent
from agents.edge import Edge, configuration_of, epoch, vcm_link
from mobivpn.errors import CallerError
from mobivpn.host.effects import Apply
from mobivpn.host.fixed_databases import ManagerDatabases
from mobivpn.ipsec.databases import difference
from mobivpn.vcm.context import RemoveContext, StoreContext
from mobivpn.vcm.manager import Manager


def main(arguments: list[str]) -> None:
    """Run until SIGTERM."""
    configuration = configuration_of(arguments)
    company = configuration.company
    if configuration.database is None:
        raise CallerError("configuration: the VCM needs a database")
    core = Manager(
        epoch=epoch(),
        security_gateway=company.security_gateway_inside,
        nodes=[node.internal_home_address for node in company.nodes],
        random_bytes=os.urandom,
        lifetime_s=int(configuration.pair_lifetime_s),
        binding_keys=configuration.binding_keys,
        keys=configuration.variants.keys,
        best_path=configuration.variants.best_path,
    )
    edge = Edge(configuration, core)
    store = ContextStore(Path(configuration.database))
    edge.driver.on_effect(StoreContext, lambda effect: store.store(effect.context))
    edge.driver.on_effect(RemoveContext, lambda effect: store.remove(effect.external_home_address))
    edge.speak(core, company.vcm, vcm_link(configuration))
    databases = ManagerDatabases(company, configuration.given).all()
    edge.run([Apply(difference((), databases))])


if __name__ == "__main__":
    run_agent(main)
