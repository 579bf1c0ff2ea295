"""A mobile node's side of return routability with one correspondent (RFC 6275 section 11.6).

A token is good for MAX_TOKEN_LIFETIME from the sending of the request that brought it. Each request
has a new cookie (section 11.8), and the answer to any one of the last few is welcome.
"""

from dataclasses import dataclass, field
from enum import Enum

from mobivpn.ipsec.minting import RandomBytes
from mobivpn.mip6 import keygen
from mobivpn.mip6.constants import MAX_TOKEN_LIFETIME_S
from mobivpn.mip6.messages import (
    COOKIE_BYTES,
    CareOfTest,
    CareOfTestInit,
    HomeTest,
    HomeTestInit,
    NonceIndices,
)

COOKIES_KEPT = 4


class Test(Enum):
    """The two tests: does mail reach the node at this address?"""

    __test__ = False  # Not one of pytest's.

    HOME = "home"
    CARE_OF = "care_of"


@dataclass(frozen=True, slots=True)
class Token:
    """A keygen token, asked for at `asked_at` (s)."""

    nonce_index: int
    asked_at: float
    value: bytes = field(repr=False)

    def is_fresh(self, now: float) -> bool:
        """Tell whether the correspondent is bound to honour it (section 5.2.7)."""
        return now < self.asked_at + MAX_TOKEN_LIFETIME_S


@dataclass(frozen=True, slots=True)
class TokenAuthorisation:
    """A binding management key with the indices by which the correspondent finds it again."""

    nonce_indices: NonceIndices
    binding_management_key: bytes = field(repr=False)


@dataclass(slots=True)
class ReturnRoutability:
    """Cookies that are out and tokens that came back, for one care-of address at a time."""

    random_bytes: RandomBytes
    _cookies: dict[Test, dict[bytes, float]] = field(
        default_factory=lambda: {test: dict[bytes, float]() for test in Test}
    )
    _tokens: dict[Test, Token] = field(default_factory=dict[Test, Token])

    def init(self, test: Test, now: float) -> HomeTestInit | CareOfTestInit:
        """Return a request with a new cookie."""
        cookie = self.random_bytes(COOKIE_BYTES)
        cookies = self._cookies[test]
        cookies[cookie] = now
        while len(cookies) > COOKIES_KEPT:
            del cookies[next(iter(cookies))]
        return HomeTestInit(cookie) if test is Test.HOME else CareOfTestInit(cookie)

    def accept(self, message: HomeTest | CareOfTest) -> bool:
        """Take the answer to a request of ours; tell whether it was one."""
        test = Test.HOME if isinstance(message, HomeTest) else Test.CARE_OF
        asked_at = self._cookies[test].get(message.cookie)
        if asked_at is None:
            return False
        self._cookies[test].clear()
        self._tokens[test] = Token(message.nonce_index, asked_at, message.keygen_token)
        return True

    def forget(self, test: Test) -> None:
        """Drop a token and what was asked: the address or the correspondent's nonce is another."""
        self._tokens.pop(test, None)
        self._cookies[test].clear()

    def missing(self, now: float, *, deletion: bool) -> tuple[Test, ...]:
        """Return the tests without a fresh token; a deletion needs the home test only."""
        return tuple(
            test
            for test in ((Test.HOME,) if deletion else (Test.HOME, Test.CARE_OF))
            if test not in self._tokens or not self._tokens[test].is_fresh(now)
        )

    def authorisation(self, *, deletion: bool) -> TokenAuthorisation:
        """Return the key that the tokens make (section 5.2.5); none may be `missing`."""
        home = self._tokens[Test.HOME]
        if deletion:
            return TokenAuthorisation(
                NonceIndices(home.nonce_index, 0), keygen.binding_management_key(home.value, None)
            )
        care_of = self._tokens[Test.CARE_OF]
        return TokenAuthorisation(
            NonceIndices(home.nonce_index, care_of.nonce_index),
            keygen.binding_management_key(home.value, care_of.value),
        )
