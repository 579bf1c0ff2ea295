"""One pair on its two ends (mobivpn.vcm.provisioning)."""

from collections.abc import Callable

import hypothesis
import pytest
from hypothesis import strategies as st

from mobivpn.errors import IllegalTransition
from mobivpn.host.plan import NodeIdentity
from mobivpn.signalling.messages import PeerReady, Release, SaOffer, Withdraw
from mobivpn.vcm.provisioning import (
    END_TRANSITIONS,
    CancelRequests,
    Effect,
    EndInput,
    EndReason,
    EndState,
    PairEnd,
    PairState,
    Provisioning,
    Send,
)
from tests.support.company import MN1, MN2
from tests.support.offers import given, minted, planned

A, B = MN1.internal_home_address, MN2.internal_home_address


def end(node: NodeIdentity) -> PairEnd:
    return PairEnd(node.internal_home_address, node.external_home_address)


def offered() -> Provisioning:
    pair = Provisioning(1, end(MN1), end(MN2), lifetime_s=3600)
    make_offers(pair, 1)
    return pair


def make_offers(pair: Provisioning, generation: int) -> list[Effect]:
    sas = minted(generation)
    return pair.offered(planned(sas), given(sas))


def protected() -> Provisioning:
    pair = offered()
    for node in (A, B):
        pair.offer_accepted(node)
    for node in (A, B):
        pair.outbound_switched(node)
    return pair


def withdrawing() -> Provisioning:
    pair = protected()
    pair.ordered_back(EndReason.IDLE)
    return pair


def ordered(effects: list[Effect]) -> list[object]:
    return [effect.to for effect in effects if isinstance(effect, Send)]


def test_both_ends_are_offered_the_pair_at_once():
    sas = minted(1)
    pair = Provisioning(1, end(MN1), end(MN2), lifetime_s=3600)
    # mn2 <-- SaOffer (206) -- vcm, mn1 <-- SaOffer (210) -- vcm
    plan, (first, second) = planned(sas), given(sas)
    to_second, to_first = pair.offered(plan, (first, second))
    one, other = MN1.external_home_address, MN2.external_home_address
    assert to_second == Send(B, SaOffer(1, 1, A, one, plan.forward, plan.backward, second, 3600))
    assert to_first == Send(A, SaOffer(1, 1, B, other, plan.backward, plan.forward, first, 3600))
    assert pair.state is PairState.OFFERED


def test_each_acceptance_is_forwarded_to_the_other_end_at_once():
    pair = offered()
    # mn1 -- SaAccept (212) --> vcm -- PeerReady --> mn2
    assert pair.offer_accepted(A) == [Send(B, PeerReady(1, 1))]
    assert pair.state is PairState.OFFERED
    # mn2 -- SaAccept (208) --> vcm -- PeerReady --> mn1
    assert pair.offer_accepted(B) == [Send(A, PeerReady(1, 1))]
    assert pair.state is PairState.ACCEPTED


def test_a_pair_is_protected_when_both_ends_have_switched():
    pair = offered()
    for node in (A, B):
        pair.offer_accepted(node)
    assert pair.outbound_switched(A) == []
    assert pair.state is PairState.ACCEPTED
    assert pair.outbound_switched(B) == []
    assert pair.state is PairState.PROTECTED


def test_an_end_that_has_switched_has_accepted_even_if_that_was_lost():
    pair = offered()
    pair.offer_accepted(B)
    # mn1 -- Acknowledge --> vcm, before its SaAccept
    assert pair.outbound_switched(A) == [CancelRequests(A, 1), Send(B, PeerReady(1, 1))]


def test_a_renewal_offers_the_next_generation_and_releases_the_old_one_last():
    pair = protected()
    assert [
        (e.message.generation, e.to)
        for e in make_offers(pair, 2)
        if isinstance(e, Send) and isinstance(e.message, SaOffer)
    ] == [(2, B), (2, A)]
    assert pair.state is PairState.OFFERED
    for node in (A, B):
        pair.offer_accepted(node)
    assert pair.outbound_switched(A) == []
    assert pair.outbound_switched(B) == [Send(A, Release(1, 1)), Send(B, Release(1, 1))]


@pytest.mark.parametrize("make", [offered, protected])
def test_the_order_back_goes_to_both_ends_in_place_of_all_else(make: Callable[[], Provisioning]):
    pair = make()
    assert pair.ordered_back(EndReason.GIVEN_UP) == [
        CancelRequests(A, 1),
        Send(A, Withdraw(1, "no answer")),
        CancelRequests(B, 1),
        Send(B, Withdraw(1, "no answer")),
    ]
    assert pair.state is PairState.WITHDRAWING


def test_the_order_back_is_given_once():
    assert withdrawing().ordered_back(EndReason.REFUSED) == []


def test_the_reason_is_the_first_one():
    pair = withdrawing()
    pair.ordered_back(EndReason.REFUSED)
    assert pair.ended_because is EndReason.IDLE


def test_what_decrypts_goes_when_both_ends_have_ceased_to_encrypt():
    pair = withdrawing()
    assert pair.went_back(A) == []
    assert pair.state is PairState.WITHDRAWING
    assert pair.went_back(B) == [Send(A, Release(1, 1)), Send(B, Release(1, 1))]
    assert pair.state is PairState.WITHDRAWN


def test_the_return_of_one_end_orders_the_other_one_back():
    pair = protected()
    assert ordered(pair.returned_home(B, EndReason.RETURNED)) == [A]
    assert pair.went_back(A) == [Send(A, Release(1, 1))]
    assert pair.state is PairState.WITHDRAWN


def test_the_return_of_both_ends_leaves_nobody_to_order():
    pair = protected()
    pair.returned_home(B, EndReason.RETURNED)
    assert pair.returned_home(A, EndReason.RETURNED) == [CancelRequests(A, 1)]
    assert pair.state is PairState.WITHDRAWN


def test_an_expired_pair_asks_nothing_of_anybody():
    pair = protected()
    assert pair.expired() == [CancelRequests(A, 1), CancelRequests(B, 1)]
    assert pair.state is PairState.WITHDRAWN
    assert pair.ended_because is EndReason.EXPIRED


def test_an_order_that_nobody_obeyed_keeps_its_reason_when_it_expires():
    pair = withdrawing()
    pair.expired()
    assert pair.ended_because is EndReason.IDLE


def test_an_input_that_the_table_does_not_have_is_an_error():
    with pytest.raises(IllegalTransition):
        protected().offer_accepted(A)


def test_withdrawing_is_never_undone():
    over = {EndState.LEAVING, EndState.BACK, EndState.HOME}
    assert all(after in over for (before, _), after in END_TRANSITIONS.items() if before in over)


@hypothesis.given(
    st.lists(st.tuples(st.sampled_from([A, B]), st.sampled_from(EndInput)), max_size=20)
)
def test_a_pair_is_protected_only_while_both_ends_are(steps: list[tuple[object, EndInput]]):
    pair = offered()
    for node, happened in steps:
        before = pair.state
        causes: dict[EndInput, Callable[[], object]] = {
            EndInput.OFFER_ACCEPTED: lambda n=node: pair.offer_accepted(n),  # type: ignore[misc]
            EndInput.OUTBOUND_SWITCHED: lambda n=node: pair.outbound_switched(n),  # type: ignore[misc]
            EndInput.RENEWED: lambda: make_offers(pair, 9),
            EndInput.ORDERED_BACK: lambda: pair.ordered_back(EndReason.IDLE),
            EndInput.WENT_BACK: lambda n=node: pair.went_back(n),  # type: ignore[misc]
            EndInput.RETURNED_HOME: lambda n=node: pair.returned_home(n, EndReason.RETURNED),  # type: ignore[misc]
        }
        try:
            causes[happened]()
        except IllegalTransition:
            continue
        if before in (PairState.WITHDRAWING, PairState.WITHDRAWN):
            assert pair.state in (PairState.WITHDRAWING, PairState.WITHDRAWN)
