"""What proves a binding update to a correspondent: IPsec, two fresh tests, or a given key.

Tests leave no state behind (RFC 6275 section 5.2.5): a token is made again from the nonce that the
update names, and is right only for the addresses that passed the tests.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from ipaddress import IPv6Address

from mobivpn.ipsec.minting import RandomBytes
from mobivpn.mip6 import codec, keygen
from mobivpn.mip6.constants import MAX_RR_BINDING_LIFETIME_S
from mobivpn.mip6.messages import (
    CareOfTest,
    CareOfTestInit,
    HomeTest,
    HomeTestInit,
    Status,
)
from mobivpn.mip6.nonces import Nonce, Nonces
from mobivpn.mip6.received_update import ReceivedUpdate


@dataclass(frozen=True, slots=True)
class Proof:
    """An update is authorised: by a key, by which it is also answered, or by IPsec alone."""

    longest_lifetime_s: int
    binding_management_key: bytes | None = field(default=None, repr=False)


@dataclass(slots=True)
class Proofs:
    """What this correspondent takes for a proof.

    Updates for `protected` home addresses come under IPsec, as the host's policies see to.
    """

    random_bytes: RandomBytes
    protected: Collection[IPv6Address]
    protected_lifetime_s: int
    _nonces: Nonces = field(init=False)
    _keys: dict[IPv6Address, Collection[bytes]] = field(
        default_factory=dict[IPv6Address, Collection[bytes]], repr=False
    )

    def __post_init__(self) -> None:
        self._nonces = Nonces(self.random_bytes)

    def keys_given(self, home_address: IPv6Address, keys: Collection[bytes]) -> None:
        """Take updates for a home address with one of these keys, and, if there are any, no others.

        More than one while a pair is renewed: the peer may not have its newest offer yet.
        """
        self._keys[home_address] = keys

    def test(
        self, message: HomeTestInit | CareOfTestInit, source: IPv6Address, now: float
    ) -> HomeTest | CareOfTest:
        """Return a token that only who gets mail at `source` will see."""
        nonce = self._nonces.current(now)
        if isinstance(message, HomeTestInit):
            token = _token(nonce, source, keygen.TokenKind.HOME)
            return HomeTest(nonce.index, message.cookie, token)
        token = _token(nonce, source, keygen.TokenKind.CARE_OF)
        return CareOfTest(nonce.index, message.cookie, token)

    def prove(self, update: ReceivedUpdate, now: float) -> Proof | Status | str:
        """Return the proof, the status that tells why there is none, or a reason for silence."""
        message = update.message
        if update.home_address in self.protected:
            return Proof(self.protected_lifetime_s)
        if message.authorization is None:
            return "no-authorization"
        keys, longest_s = self._keys.get(update.home_address, ()), self.protected_lifetime_s
        if not keys:
            tokens_key = self._key_of_tokens(update, now)
            if isinstance(tokens_key, Status | str):
                return tokens_key
            keys, longest_s = [tokens_key], MAX_RR_BINDING_LIFETIME_S
        for key in keys:
            if codec.is_authentic(message, key, update.authorised_address, update.own_address):
                return Proof(longest_s, key)
        return "bad-authenticator"

    def _key_of_tokens(self, update: ReceivedUpdate, now: float) -> bytes | Status | str:
        """Make Kbm again from the nonces that the update names (section 9.5.1)."""
        indices = update.message.nonce_indices
        if indices is None:
            return "no-nonce-indices"
        home = self._nonces.find(indices.home, now)
        if update.wanted is None:
            if home is None:
                return Status.EXPIRED_HOME_NONCE_INDEX
            token = _token(home, update.home_address, keygen.TokenKind.HOME)
            return keygen.binding_management_key(token, None)
        care_of = self._nonces.find(indices.care_of, now)
        if home is None or care_of is None:
            if home is not None:
                return Status.EXPIRED_CARE_OF_NONCE_INDEX
            if care_of is not None:
                return Status.EXPIRED_HOME_NONCE_INDEX
            return Status.EXPIRED_NONCES
        return keygen.binding_management_key(
            _token(home, update.home_address, keygen.TokenKind.HOME),
            _token(care_of, update.wanted, keygen.TokenKind.CARE_OF),
        )


def _token(nonce: Nonce, address: IPv6Address, kind: keygen.TokenKind) -> bytes:
    return keygen.keygen_token(nonce.key, address, nonce.value, kind)
