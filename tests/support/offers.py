"""Offers (206, 210) of the VCM, as MN1 gets them for its pair with MN2."""

from dataclasses import fields
from ipaddress import IPv6Network

from mobivpn.ipsec.keying import GivenKeys, PairKeys
from mobivpn.ipsec.minting import PairPlan, SaPair, mint_pair
from mobivpn.ipsec.sa import AssociationPlan, EspAlgorithm, Mode, SecurityAssociation
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


def plan_of(sa: SecurityAssociation) -> AssociationPlan:
    """Return all of an association but its key."""
    return AssociationPlan(**{f.name: getattr(sa, f.name) for f in fields(AssociationPlan)})


def planned(sas: SaPair) -> PairPlan:
    """Return all of a pair but its keys."""
    return PairPlan(plan_of(sas.forward), plan_of(sas.backward))


def given(sas: SaPair) -> tuple[GivenKeys, GivenKeys]:
    """Return the keys of a pair as MN1 and as MN2 get them."""
    forward, backward = sas.forward.key, sas.backward.key
    return GivenKeys(backward, forward), GivenKeys(forward, backward)


def offer(
    generation: int = 1,
    pair: int = 1,
    lifetime_s: int = 3600,
    sas: SaPair | None = None,
    binding_keys: BindingKeys | None = None,
    keys: PairKeys | None = None,
) -> SaOffer:
    """Return 210: MN1's offer."""
    sas = sas or minted(generation, pair)
    plan = planned(sas)
    return SaOffer(
        pair=pair,
        generation=generation,
        peer_internal_home_address=MN2.internal_home_address,
        peer_external_home_address=MN2.external_home_address,
        inbound=plan.backward,
        outbound=plan.forward,
        keys=keys or given(sas)[0],
        lifetime_s=lifetime_s,
        binding_keys=binding_keys,
    )
