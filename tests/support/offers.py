"""Offers (206, 210) of the VCM, as MN1 gets them for its pair with MN2."""

from ipaddress import IPv6Network

from mobivpn.ipsec.minting import SaPair, mint_pair
from mobivpn.ipsec.sa import EspAlgorithm, Mode
from mobivpn.ipsec.selector import host
from mobivpn.signalling.messages import BindingKeys, SaOffer
from tests.support.company import MN1, MN2, DifferentBytes

_RANDOM_BYTES = DifferentBytes()


def minted(
    generation: int = 1,
    pair: int = 1,
    algorithm: EspAlgorithm = EspAlgorithm.AES256GCM16,
    inner: tuple[IPv6Network, IPv6Network] | None = (
        host(MN1.internal_home_address),
        host(MN2.internal_home_address),
    ),
) -> SaPair:
    """Return a pair of associations; `forward` leaves MN1."""
    return mint_pair(
        name=f"pair{pair}.{generation}",
        reqid=1000 + 16 * pair + generation,
        first=MN1.external_home_address,
        second=MN2.external_home_address,
        mode=Mode.TUNNEL,
        algorithm=algorithm,
        random_bytes=_RANDOM_BYTES,
        inner=inner,
    )


def offer(
    generation: int = 1,
    pair: int = 1,
    lifetime_s: int = 3600,
    sas: SaPair | None = None,
    binding_keys: BindingKeys | None = None,
) -> SaOffer:
    """Return 210: MN1's offer."""
    sas = sas or minted(generation, pair)
    return SaOffer(
        pair=pair,
        generation=generation,
        peer_internal_home_address=MN2.internal_home_address,
        peer_external_home_address=MN2.external_home_address,
        inbound=sas.backward,
        outbound=sas.forward,
        lifetime_s=lifetime_s,
        binding_keys=binding_keys,
    )
