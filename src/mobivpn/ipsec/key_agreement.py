"""Keys that both ends of a pair derive: X25519 (RFC 7748), then HKDF with SHA-256 (RFC 5869)."""

from dataclasses import dataclass, field

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mobivpn.errors import PeerError
from mobivpn.ipsec.keying import X25519_BYTES, KeyAgreement
from mobivpn.ipsec.minting import RandomBytes
from mobivpn.ipsec.sa import AssociationPlan, SecurityAssociation


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A private key and its public one."""

    private_key: bytes = field(repr=False)
    public_key: bytes

    @classmethod
    def fresh(cls, random_bytes: RandomBytes) -> "KeyPair":
        """Return a new pair."""
        private_key = random_bytes(X25519_BYTES)
        public_key = X25519PrivateKey.from_private_bytes(private_key).public_key()
        return cls(private_key, public_key.public_bytes(Encoding.Raw, PublicFormat.Raw))


def agreed_secret(private_key: bytes, peer_public_key: bytes) -> bytes:
    """Return what both ends have in common; raise PeerError for a key that leaves nothing to share.

    RFC 7748 section 6.1: with a point of small order it would be all zeros, whoever asks.
    """
    try:
        return X25519PrivateKey.from_private_bytes(private_key).exchange(
            X25519PublicKey.from_public_bytes(peer_public_key)
        )
    except ValueError:
        raise PeerError("bad-public-key") from None


@dataclass(frozen=True, slots=True)
class Derivation:
    """Keys out of one agreed secret, for one generation of one pair, as one end sees it."""

    agreement: KeyAgreement
    secret: bytes = field(repr=False)
    pair: int
    generation: int

    def inbound(self, plan: AssociationPlan) -> SecurityAssociation:
        """Return what the peer sends by."""
        return self._keyed(plan, self.agreement.peer_public_key + self.agreement.own_public_key)

    def outbound(self, plan: AssociationPlan) -> SecurityAssociation:
        """Return what this end sends by."""
        return self._keyed(plan, self.agreement.own_public_key + self.agreement.peer_public_key)

    def _keyed(self, plan: AssociationPlan, public_keys: bytes) -> SecurityAssociation:
        """Return an association with the key that nothing but its own `info` leads to.

        `public_keys` are its sender's, then its receiver's.
        """
        info = b"".join(
            (
                b"mobivpn SA",
                self.pair.to_bytes(8, "big"),
                self.generation.to_bytes(8, "big"),
                plan.spi.to_bytes(4, "big"),
                plan.source.packed,
                plan.destination.packed,
                public_keys,
                plan.algorithm.value.encode(),
            )
        )
        derivation = HKDF(hashes.SHA256(), plan.algorithm.key_bytes, salt=None, info=info)
        return plan.keyed(derivation.derive(self.secret))
