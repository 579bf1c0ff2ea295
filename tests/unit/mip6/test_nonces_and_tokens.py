"""Nonces, tokens and the rate limit (mobivpn.mip6.nonces, .return_routability, .rate_limit)."""

from hypothesis import given
from hypothesis import strategies as st

from mobivpn.mip6.messages import CareOfTest, HomeTest, NonceIndices
from mobivpn.mip6.nonces import Nonces
from mobivpn.mip6.rate_limit import RateLimit
from mobivpn.mip6.return_routability import ReturnRoutability, Test
from mobivpn.mip6.sequence import is_newer, successor
from tests.support.company import DifferentBytes

TOKEN = b"token..."


def routability_with(*tests: Test, asked_at: float = 0.0) -> ReturnRoutability:
    routability = ReturnRoutability(DifferentBytes())
    for index, test in enumerate(tests):
        cookie = routability.init(test, asked_at).cookie
        answer = HomeTest if test is Test.HOME else CareOfTest
        assert routability.accept(answer(index, cookie, TOKEN))
    return routability


def test_a_nonce_is_given_out_for_thirty_seconds():
    nonces = Nonces(DifferentBytes())
    first = nonces.current(100.0)
    assert nonces.current(129.9) is first
    second = nonces.current(130.0)
    assert (second.index, second.value != first.value) == (first.index + 1, True)
    assert second.key != first.key


def test_a_nonce_is_honoured_until_max_nonce_lifetime_and_no_longer():
    nonces = Nonces(DifferentBytes())
    nonce = nonces.current(0.0)
    assert nonces.find(nonce.index, 239.9) is nonce
    assert nonces.find(nonce.index, 240.0) is None


def test_nonces_that_nobody_comes_back_for_are_forgotten():
    nonces = Nonces(DifferentBytes())
    indices = {nonces.current(31.0 * number).index for number in range(100)}
    assert sum(index in nonces._nonces for index in indices) == 8


def test_an_index_that_was_never_given_out_is_unknown():
    assert Nonces(DifferentBytes()).find(3, 0.0) is None


@given(st.floats(0, 1e6), st.floats(0, 29.9))
def test_a_token_is_honoured_for_at_least_max_token_lifetime(start: float, later: float):
    nonces = Nonces(DifferentBytes())
    nonces.current(start)
    used = nonces.current(start + later)
    assert nonces.find(used.index, start + later + 209.9) is used


def test_a_binding_needs_two_fresh_tokens():
    both = (Test.HOME, Test.CARE_OF)
    assert routability_with().missing(0.0, deletion=False) == both
    assert routability_with(Test.HOME).missing(0.0, deletion=False) == (Test.CARE_OF,)
    assert routability_with(*both).missing(209.9, deletion=False) == ()
    assert routability_with(*both).missing(210.0, deletion=False) == both


def test_a_deletion_needs_the_home_token_only():
    routability = routability_with(Test.HOME)
    assert routability.missing(0.0, deletion=True) == ()
    assert routability.authorisation(deletion=True).nonce_indices == NonceIndices(0, 0)


def test_both_indices_go_with_the_key_of_both_tokens():
    routability = routability_with(Test.HOME, Test.CARE_OF)
    assert routability.authorisation(deletion=False).nonce_indices == NonceIndices(0, 1)


def test_the_answer_to_a_repeated_request_is_welcome_whichever_it_answers():
    routability = ReturnRoutability(DifferentBytes())
    first = routability.init(Test.HOME, 0.0)
    second = routability.init(Test.HOME, 1.0)
    assert first.cookie != second.cookie
    assert routability.accept(HomeTest(0, first.cookie, TOKEN))
    assert not routability.accept(HomeTest(0, second.cookie, TOKEN))


def test_only_the_last_few_cookies_are_good():
    routability = ReturnRoutability(DifferentBytes())
    first = routability.init(Test.CARE_OF, 0.0)
    for at in range(1, 5):
        routability.init(Test.CARE_OF, float(at))
    assert not routability.accept(CareOfTest(0, first.cookie, TOKEN))


def test_a_cookie_of_one_test_is_no_cookie_of_the_other():
    routability = ReturnRoutability(DifferentBytes())
    cookie = routability.init(Test.HOME, 0.0).cookie
    assert not routability.accept(CareOfTest(0, cookie, TOKEN))


def test_a_forgotten_token_is_missing_and_forgetting_is_idempotent():
    routability = routability_with(Test.HOME, Test.CARE_OF)
    routability.forget(Test.CARE_OF)
    routability.forget(Test.CARE_OF)
    assert routability.missing(0.0, deletion=False) == (Test.CARE_OF,)


def test_three_messages_of_a_kind_may_be_sent_within_a_second():
    limit = RateLimit()
    for at in (0.0, 0.1, 0.2):
        assert limit.allowed_at("update", at) == at
        limit.sent("update", at)
    assert limit.allowed_at("update", 0.3) == 1.0
    assert limit.allowed_at("test", 0.3) == 0.3
    assert limit.allowed_at("update", 1.5) == 1.5


def test_the_rate_limit_forgets_whom_it_does_not_limit_any_more():
    limit = RateLimit(rate=1)
    limit.sent("old", 0.0)
    limit.sent("new", 5.0)
    assert limit.allowed_at("old", 5.0) == 5.0
    assert limit.allowed_at("new", 5.0) == 6.0


@given(st.integers(0, 2**16 - 1), st.integers(1, 2**15 - 1))
def test_a_sequence_number_is_newer_for_half_of_the_circle(last: int, steps: int):
    ahead = (last + steps) % 2**16
    assert is_newer(ahead, last)
    assert not is_newer(last, ahead)


@given(st.integers(0, 2**16 - 1))
def test_the_same_number_and_the_one_opposite_are_not_newer(last: int):
    assert not is_newer(last, last)
    assert not is_newer((last + 2**15) % 2**16, last)
    assert is_newer(successor(last), last)
