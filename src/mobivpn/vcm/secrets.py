"""The secrets of a pair, as each of its ends is told them (seed: "General"; 206, 210)."""

from mobivpn.ipsec.key_agreement import KeyPair
from mobivpn.ipsec.keying import GivenKeys, KeyAgreement, PairKeys, shared_key
from mobivpn.ipsec.minting import RandomBytes
from mobivpn.ipsec.sa import EspAlgorithm
from mobivpn.signalling.messages import SaProposal
from mobivpn.variants import KeyScheme


def make_secrets(
    scheme: KeyScheme,
    algorithm: EspAlgorithm,
    proposals: tuple[SaProposal, SaProposal],
    random_bytes: RandomBytes,
) -> tuple[PairKeys, PairKeys]:
    """Return the first's and the second's view of a generation's fresh secrets.

    Of nodes that make their own key pairs, `proposals` have the public keys, and this end has
    nothing but those.
    """
    match scheme:
        case KeyScheme.SHARED:
            return _given(*shared_key(algorithm, random_bytes))
        case KeyScheme.SEPARATE:
            return _given(random_bytes(algorithm.key_bytes), random_bytes(algorithm.key_bytes))
        case KeyScheme.ASYMMETRIC:
            one, other = KeyPair.fresh(random_bytes), KeyPair.fresh(random_bytes)
            return (
                KeyAgreement(one.public_key, other.public_key, one.private_key),
                KeyAgreement(other.public_key, one.public_key, other.private_key),
            )
        case _:
            assert scheme is KeyScheme.BLIND
            first, second = (proposal.public_key for proposal in proposals)
            assert first is not None
            assert second is not None
            return KeyAgreement(first, second), KeyAgreement(second, first)


def _given(forward: bytes, backward: bytes) -> tuple[PairKeys, PairKeys]:
    return (
        GivenKeys(inbound=backward, outbound=forward),
        GivenKeys(inbound=forward, outbound=backward),
    )
