"""Bindings in the kernels' dumps against where the nodes really are."""

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv6Address, IPv6Network
from typing import NamedTuple

from experiments.databases import Database
from experiments.network_plan import NetworkPlan

LAST = "end"
"""The moment of the dumps that tell how a run ended."""


class WrongBinding(NamedTuple):
    """Somebody believes a node to be at `care_of_address` ("" for no binding), and it is not."""

    holder: str
    node: str
    care_of_address: str


def wrong_bindings(
    databases: Iterable[Database],
    places: dict[str, str],
    plan: NetworkPlan,
    *,
    direct: bool = True,
) -> Iterator[WrongBinding]:
    """Yield what is wrong at the end of a run.

    `places` are the access networks of the nodes that are outside and, if they are two, talk to
    each other directly, unless `direct` says that their session is over. The home agent, the
    gateway and the other nodes must hold a node's binding (the state of a routing header), and the
    node must say the same of itself to each of them (of a home address option).
    """
    last = {database.node: database for database in databases if database.moment == LAST}
    homes = {
        name: str(IPv6Address(plan.node_by_name[name].external_home_address)) for name in places
    }
    fixed = {
        "ha": str(IPv6Address(plan.home_agent)),
        "sg": str(IPv6Address(plan.security_gateway)),
    }
    for node, place in places.items():
        prefix = plan.prefix_by_network[place]
        others = {name: home for name, home in homes.items() if direct and name != node}
        peers = {**fixed, **others}
        for peer, address in peers.items():
            yield from _wrong_between((node, homes[node]), (peer, address), prefix, last)


def wrong_bindings_inside(
    databases: Iterable[Database], node: str, peers: Iterable[str], plan: NetworkPlan
) -> Iterator[WrongBinding]:
    """Yield what is wrong between a node inside and those outside with which it is in session.

    They must hold its binding to the LAN, and the node must say the same of itself to each of them.
    """
    last = {database.node: database for database in databases if database.moment == LAST}
    lan, *_ = plan.vpn_prefixes
    homes = {
        name: str(IPv6Address(own.external_home_address)) for name, own in plan.node_by_name.items()
    }
    for peer in peers:
        yield from _wrong_between((node, homes[node]), (peer, homes[peer]), lan, last)


def _wrong_between(
    bound: tuple[str, str],
    peer: tuple[str, str],
    prefix: IPv6Network,
    last: Mapping[str, Database],
) -> Iterator[WrongBinding]:
    """Yield what is wrong with one node's binding at one peer, both given as (name, address)."""
    (node, home), (name, address) = bound, peer
    for holder, protocol, ends in (
        (name, "route2", (address, home)),
        (node, "hao", (home, address)),
    ):
        told = _care_of_address(last.get(holder), protocol, ends)
        if not told or IPv6Address(told) not in prefix:
            yield WrongBinding(holder, node, told)


def direct_associations(
    databases: Iterable[Database], pair: tuple[str, str], plan: NetworkPlan
) -> int:
    """Count the direct associations that the two ends of a pair have at the end of a run."""
    homes = {str(IPv6Address(plan.node_by_name[name].external_home_address)) for name in pair}
    return sum(
        entry.protocol == "esp" and {entry.source, entry.destination} == homes
        for database in databases
        if database.moment == LAST and database.node in pair
        for entry in database.associations
    )


def _care_of_address(database: Database | None, protocol: str, ends: tuple[str, str]) -> str:
    return next(
        (
            entry.care_of_address
            for entry in (database.associations if database else ())
            if entry.protocol == protocol and (entry.source, entry.destination) == ends
        ),
        "",
    )
