"""Fresh pairs of security associations: the VCM's secrets (seed 206, 210), a testbed's keys."""

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network

from mobivpn.ipsec.sa import LOWEST_SPI, EspAlgorithm, Mode, SecurityAssociation, Spi
from mobivpn.ipsec.selector import host

RandomBytes = Callable[[int], bytes]
"""Returns that many bytes of cryptographic randomness; the edge passes `os.urandom`."""


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
    """Return fresh associations `name`/forward (first to second) and `name`/backward.

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
    ) -> SecurityAssociation:
        return SecurityAssociation(
            name=f"{name}/{direction}",
            reqid=reqid,
            spi=mint_spi(random_bytes),
            source=source,
            destination=destination,
            mode=mode,
            algorithm=algorithm,
            key=random_bytes(algorithm.key_bytes),
            inner_source=inner_prefixes[0] if inner_prefixes else None,
            inner_destination=inner_prefixes[1] if inner_prefixes else None,
        )

    return SaPair(
        forward=one("forward", first, second, inner),
        backward=one("backward", second, first, (inner[1], inner[0]) if inner else None),
    )
