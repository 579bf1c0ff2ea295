"""Fresh pairs of security associations: the VCM's (seed 206, 210), and a testbed's."""

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network

from mobivpn.ipsec.sa import (
    LOWEST_SPI,
    AssociationPlan,
    EspAlgorithm,
    Mode,
    SecurityAssociation,
    Spi,
)
from mobivpn.ipsec.selector import host

RandomBytes = Callable[[int], bytes]
"""Returns that many bytes of cryptographic randomness; the edge passes `os.urandom`."""


@dataclass(frozen=True, slots=True)
class PairPlan:
    """A pair between `first` and `second` without its secrets."""

    forward: AssociationPlan
    backward: AssociationPlan


@dataclass(frozen=True, slots=True)
class SaPair:
    """The two simplex associations between `first` and `second` (seed: "an SA pair")."""

    forward: SecurityAssociation
    backward: SecurityAssociation


def mint_spi(random_bytes: RandomBytes) -> Spi:
    """Return a random SPI outside the reserved range."""
    while (value := int.from_bytes(random_bytes(4), "big")) < LOWEST_SPI:
        pass
    return Spi(value)


def plan_pair(
    name: str,
    reqid: int,
    first: IPv6Address,
    second: IPv6Address,
    mode: Mode,
    algorithm: EspAlgorithm,
    random_bytes: RandomBytes,
    inner: tuple[IPv6Network, IPv6Network] | None = None,
) -> PairPlan:
    """Return plans of `name`/forward (first to second) and `name`/backward, with fresh SPIs.

    `inner` is (first's, second's) inner prefix: the selector of the SAs themselves. In transport
    mode it is the ends, whatever is asked: an SA's policy does not look at who uses it, and its
    selector keeps one node from speaking for another (RFC 4877 section 4.1).
    """
    if mode is Mode.TRANSPORT:
        inner = (host(first), host(second))

    def one(
        direction: str,
        source: IPv6Address,
        destination: IPv6Address,
        inner_prefixes: tuple[IPv6Network, IPv6Network] | None,
    ) -> AssociationPlan:
        return AssociationPlan(
            name=f"{name}/{direction}",
            reqid=reqid,
            spi=mint_spi(random_bytes),
            source=source,
            destination=destination,
            mode=mode,
            algorithm=algorithm,
            inner_source=inner_prefixes[0] if inner_prefixes else None,
            inner_destination=inner_prefixes[1] if inner_prefixes else None,
        )

    return PairPlan(
        forward=one("forward", first, second, inner),
        backward=one("backward", second, first, (inner[1], inner[0]) if inner else None),
    )


def mint_pair(
    name: str,
    reqid: int,
    first: IPv6Address,
    second: IPv6Address,
    mode: Mode,
    algorithm: EspAlgorithm,
    random_bytes: RandomBytes,
    inner: tuple[IPv6Network, IPv6Network] | None = None,
) -> SaPair:
    """Return a planned pair with a key for each direction."""
    plan = plan_pair(name, reqid, first, second, mode, algorithm, random_bytes, inner)
    return SaPair(
        forward=plan.forward.keyed(random_bytes(algorithm.key_bytes)),
        backward=plan.backward.keyed(random_bytes(algorithm.key_bytes)),
    )
