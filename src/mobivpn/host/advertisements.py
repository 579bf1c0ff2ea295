"""Router advertisements of the inside under AH (seed: "authenticate ... Router Advertisements").

One association for the whole company, since one router multicasts to all nodes; its keys are given
as those of the other pre-existing associations are. It authenticates the inside to the nodes, and
no node to another: each of them has the key.
"""

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv6Address

from mobivpn.ipsec.databases import Entry
from mobivpn.ipsec.minting import RandomBytes, mint_spi
from mobivpn.ipsec.policy import AhTemplate, PolicyAction, Precedence, SecurityPolicy
from mobivpn.ipsec.sa import AhAlgorithm, AuthenticationAssociation
from mobivpn.ipsec.selector import (
    IPPROTO_ICMPV6,
    ROUTER_ADVERTISEMENT,
    Direction,
    TrafficSelector,
    host,
)

ALL_NODES = IPv6Address("ff02::1")
REQID = 70
VERIFIED_MARK = 2
"""Borne by packets on a node whose AH its kernel has verified (docs/adr/0015)."""


def mint_advertisements(
    router: IPv6Address, random_bytes: RandomBytes
) -> AuthenticationAssociation:
    """Return a fresh association for what `router`, a link-local address, tells all nodes."""
    algorithm = AhAlgorithm.SHA256_128
    return AuthenticationAssociation(
        name="router_advertisements",
        reqid=REQID,
        spi=mint_spi(random_bytes),
        source=router,
        destination=ALL_NODES,
        selector=TrafficSelector(
            host(ALL_NODES), host(router), IPPROTO_ICMPV6, icmp_type=ROUTER_ADVERTISEMENT
        ),
        algorithm=algorithm,
        key=random_bytes(algorithm.key_bytes),
    )


def sent_under(association: AuthenticationAssociation, device: str) -> Iterator[Entry]:
    """Yield what the router holds: whatever it advertises by `device` goes under AH."""
    yield association
    yield SecurityPolicy(
        name=f"{association.name}/out",
        direction=Direction.OUTBOUND,
        selector=replace(
            association.selector,
            local_prefix=host(association.source),
            remote_prefix=host(association.destination),
        ),
        action=PolicyAction.PROTECT,
        precedence=Precedence.SIGNALLING,
        templates=(AhTemplate(association.source, association.destination, association.reqid),),
        device=device,
    )


def heard_under(association: AuthenticationAssociation) -> AuthenticationAssociation:
    """Return what a node holds, in every place: no policy, since routers outside have no AH."""
    return replace(association, mark=VERIFIED_MARK)
