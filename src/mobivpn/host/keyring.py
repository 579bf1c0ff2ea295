"""What a node brings along to its pairs: the algorithms it offers, and key pairs of its own."""

from collections.abc import Sequence

from mobivpn.clock import Timers
from mobivpn.errors import PeerError
from mobivpn.ipsec.key_agreement import Derivation, KeyPair, agreed_secret
from mobivpn.ipsec.keying import GivenKeys
from mobivpn.ipsec.minting import RandomBytes
from mobivpn.ipsec.sa import EspAlgorithm, SecurityAssociation
from mobivpn.signalling.messages import SaOffer, SaProposal

RETIRED_S = 60.0
"""How long a private key outlives its successor's proposal: offers with it may be under way."""


class Keyring:
    """One node's algorithms and keys.

    With `own_keys`, a source of randomness, the node makes its key pairs itself, and takes no
    secret of anybody else's: who has made it could read along.
    """

    def __init__(
        self,
        algorithms: Sequence[EspAlgorithm] = tuple(EspAlgorithm),
        own_keys: RandomBytes | None = None,
    ) -> None:
        self._algorithms = tuple(algorithms)
        self._random_bytes = own_keys
        self._newest: KeyPair | None = None
        self._private_keys: dict[bytes, bytes] = {}
        self._retired = Timers[bytes]()

    @property
    def deadline(self) -> float | None:
        """When a private key is to be forgotten (s)."""
        return self._retired.deadline

    def proposal(self, now: float) -> SaProposal:
        """Return what to tell the VCM, with a fresh public key."""
        if self._random_bytes is None:
            return SaProposal(self._algorithms)
        if self._newest is not None:
            self._retired.set(self._newest.public_key, now + RETIRED_S)
        self._newest = KeyPair.fresh(self._random_bytes)
        self._private_keys[self._newest.public_key] = self._newest.private_key
        return SaProposal(self._algorithms, self._newest.public_key)

    def is_used_up(self, offer: SaOffer) -> bool:
        """Tell whether the next generation needs a new key pair: an offer has used the newest."""
        return (
            self._newest is not None
            and not isinstance(offer.keys, GivenKeys)
            and (offer.keys.own_public_key == self._newest.public_key)
        )

    def associations(self, offer: SaOffer) -> tuple[SecurityAssociation, SecurityAssociation]:
        """Return the inbound and the outbound association of an offer, with their keys.

        Raises PeerError for an offer that this node should not have been made.
        """
        if offer.inbound.algorithm not in self._algorithms:
            raise PeerError("algorithm not proposed")
        keys = offer.keys
        if isinstance(keys, GivenKeys):
            if self._random_bytes is not None:
                raise PeerError("somebody else's keys")
            return offer.inbound.keyed(keys.inbound), offer.outbound.keyed(keys.outbound)
        private_key = keys.own_private_key
        if self._random_bytes is not None:
            private_key = self._private_keys.get(keys.own_public_key)
        if private_key is None:
            raise PeerError("no private key for that")
        secret = agreed_secret(private_key, keys.peer_public_key)
        derivation = Derivation(keys, secret, offer.pair, offer.generation)
        return derivation.inbound(offer.inbound), derivation.outbound(offer.outbound)

    def timer_expired(self, now: float) -> None:
        """Forget the private keys that are due."""
        for public_key in self._retired.pop_due(now):
            del self._private_keys[public_key]
