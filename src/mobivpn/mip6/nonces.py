"""A correspondent node's nonces and keys (RFC 6275 sections 5.2.1 and 5.2.2).

Each nonce comes with its own Kcn, so that both rotate together. A nonce is given out for 30 s and
honoured for 240 s: a token made with it is good for at least MAX_TOKEN_LIFETIME, and no nonce lives
longer than MAX_NONCE_LIFETIME.
"""

from dataclasses import dataclass, field

from mobivpn.ipsec.minting import RandomBytes
from mobivpn.mip6.constants import MAX_NONCE_LIFETIME_S, MAX_TOKEN_LIFETIME_S

NONCE_BYTES = 8
KEY_BYTES = 20
GIVEN_OUT_S = MAX_NONCE_LIFETIME_S - MAX_TOKEN_LIFETIME_S


@dataclass(frozen=True, slots=True)
class Nonce:
    """A nonce with the node key (Kcn) that goes with it, born at `created_at` (s)."""

    index: int
    created_at: float
    value: bytes = field(repr=False)
    key: bytes = field(repr=False)


@dataclass(slots=True)
class Nonces:
    """The nonces that are still honoured, made when they are asked for."""

    random_bytes: RandomBytes
    _nonces: dict[int, Nonce] = field(default_factory=dict[int, Nonce])
    _index: int = field(init=False)

    def __post_init__(self) -> None:
        # After a restart, an index of the former life shall hardly ever name another nonce.
        self._index = int.from_bytes(self.random_bytes(2), "big")

    def current(self, now: float) -> Nonce:
        """Return the nonce for tokens that are made now."""
        self._drop_old(now)
        latest = self._nonces.get(self._index)
        if latest is None or now >= latest.created_at + GIVEN_OUT_S:
            self._index = (self._index + 1) % 2**16
            latest = Nonce(
                self._index, now, self.random_bytes(NONCE_BYTES), self.random_bytes(KEY_BYTES)
            )
            self._nonces[self._index] = latest
        return latest

    def find(self, index: int, now: float) -> Nonce | None:
        """Return the nonce of that index, None where it has expired or never was."""
        self._drop_old(now)
        return self._nonces.get(index)

    def _drop_old(self, now: float) -> None:
        for old in [n for n in self._nonces.values() if now >= n.created_at + MAX_NONCE_LIFETIME_S]:
            del self._nonces[old.index]
