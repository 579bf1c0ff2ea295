"""The correspondent node's decisions (mobivpn.mip6.correspondent_node, .binding_cache)."""

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobivpn.mip6 import codec, keygen
from mobivpn.mip6.binding_errors import RefusedOption
from mobivpn.mip6.constants import MAX_NONCE_LIFETIME_S
from mobivpn.mip6.correspondent_node import CorrespondentNode
from mobivpn.mip6.effects import BindingChanged, CorrespondentEffect, SendMobility
from mobivpn.mip6.messages import (
    BindingAcknowledgement,
    BindingError,
    BindingRefreshRequest,
    BindingUpdate,
    CareOfTest,
    CareOfTestInit,
    ErrorStatus,
    HomeTest,
    HomeTestInit,
    NonceIndices,
    Status,
    Unrecognised,
)
from mobivpn.mip6.sequence import is_newer
from mobivpn.mip6.settings import CorrespondentSettings
from tests.support.company import DifferentBytes

ME = IPv6Address("2001:db8:ee::d2")
PEER = IPv6Address("2001:db8:ee::d1")
HERE = IPv6Address("2001:db8:1::d1")
THERE = IPv6Address("2001:db8:2::d1")
OTHER = IPv6Address("2001:db8:ee::d3")
COOKIE = b"cookie.."
KEY = b"k" * 20


def correspondent(*, protected: bool = False, **settings: object) -> CorrespondentNode:
    made = replace(CorrespondentSettings(), **settings)  # type: ignore[arg-type]
    return CorrespondentNode(DifferentBytes(), {PEER} if protected else frozenset(), made)


def test_answer(
    node: CorrespondentNode, message: HomeTestInit | CareOfTestInit, source: IPv6Address, now: float
) -> HomeTest | CareOfTest:
    (sent,) = node.message_received(message, source, ME, now)
    assert isinstance(sent, SendMobility)
    assert isinstance(sent.message, HomeTest | CareOfTest)
    return sent.message


test_answer.__test__ = False  # type: ignore[attr-defined]


def authorised(
    node: CorrespondentNode,
    sequence: int,
    now: float,
    *,
    home: IPv6Address = PEER,
    care_of: IPv6Address = HERE,
    lifetime_s: int = 420,
) -> tuple[BindingUpdate, bytes]:
    """Return an update with what two tests gave, and its key."""
    home_test = test_answer(node, HomeTestInit(COOKIE), home, now)
    care_of_test = test_answer(node, CareOfTestInit(COOKIE), care_of, now)
    key = keygen.binding_management_key(
        home_test.keygen_token, care_of_test.keygen_token if lifetime_s else None
    )
    indices = NonceIndices(home_test.nonce_index, care_of_test.nonce_index)
    update = BindingUpdate(sequence, lifetime_s, nonce_indices=indices)
    return codec.authorise(update, key, care_of if lifetime_s else home, ME), key


def receive(
    node: CorrespondentNode,
    update: BindingUpdate,
    now: float,
    *,
    home: IPv6Address = PEER,
    care_of: IPv6Address | None = HERE,
) -> list[CorrespondentEffect]:
    return node.message_received(update, home, ME, now, care_of_address=care_of)


def status_of(effects: Sequence[CorrespondentEffect]) -> int | None:
    for effect in effects:
        if isinstance(effect, SendMobility) and isinstance(effect.message, BindingAcknowledgement):
            return effect.message.status
    return None


def bound(node: CorrespondentNode, now: float = 0.0, sequence: int = 1) -> CorrespondentNode:
    update, _ = authorised(node, sequence, now)
    assert status_of(receive(node, update, now)) == Status.ACCEPTED
    return node


# Tests


def test_a_home_test_is_answered_at_the_home_address_by_the_home_agent():
    (sent,) = correspondent().message_received(HomeTestInit(COOKIE), PEER, ME, 0.0)
    assert isinstance(sent, SendMobility)
    assert isinstance(sent.message, HomeTest)
    assert (sent.source, sent.destination, sent.message.cookie) == (ME, PEER, COOKIE)
    assert sent.via_home_agent


def test_a_care_of_test_is_answered_at_the_care_of_address():
    (sent,) = correspondent().message_received(CareOfTestInit(COOKIE), HERE, ME, 0.0)
    assert isinstance(sent, SendMobility)
    assert isinstance(sent.message, CareOfTest)
    assert (sent.destination, sent.message.cookie) == (HERE, COOKIE)


def test_tests_leave_no_state_behind():
    node = correspondent()
    test_answer(node, HomeTestInit(COOKIE), PEER, 0.0)
    assert node.deadline is None
    assert test_answer(node, HomeTestInit(COOKIE), PEER, 1.0) == test_answer(
        node, HomeTestInit(COOKIE), PEER, 1.0
    )


def test_a_test_with_a_home_address_option_is_dropped():
    node = correspondent()
    assert node.message_received(HomeTestInit(COOKIE), PEER, ME, 0.0, HERE) == []
    assert node.dropped == {"home-address-option": 1}


# Updates that are proved by tests


def test_an_authorised_update_binds_and_is_acknowledged_with_the_same_key():
    node = correspondent()
    update, key = authorised(node, 7, 0.0)
    changed, sent = receive(node, update, 0.1)
    assert changed == BindingChanged(PEER, HERE, 420, ME)
    assert isinstance(sent, SendMobility)
    assert (sent.source, sent.destination, sent.care_of_address) == (ME, PEER, HERE)
    assert isinstance(sent.message, BindingAcknowledgement)
    assert (sent.message.sequence, sent.message.lifetime_s) == (7, 420)
    assert codec.is_authentic(sent.message, key, HERE, ME)
    binding = node.binding(PEER)
    assert binding is not None
    assert binding.care_of_address == HERE


def test_the_lifetime_of_a_binding_by_return_routability_is_capped():
    node = correspondent()
    update, _ = authorised(node, 1, 0.0, lifetime_s=4000)
    changed, *_ = receive(node, update, 0.0)
    assert changed == BindingChanged(PEER, HERE, 420, ME)
    assert node.deadline == 420.0


def test_an_update_that_wants_no_acknowledgement_gets_none():
    node = correspondent(protected=True)
    effects = receive(node, BindingUpdate(1, 400, acknowledge=False), 0.0)
    assert effects == [BindingChanged(PEER, HERE, 400, ME)]


def test_a_binding_expires():
    node = bound(correspondent())
    assert node.timer_expired(419.0) == []
    assert node.timer_expired(420.0) == [BindingChanged(PEER, None, 0, ME)]
    assert node.deadline is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"authorization": None}, "no-authorization"),
        ({"nonce_indices": None}, "no-nonce-indices"),
    ],
)
def test_what_proves_nothing_is_dropped_in_silence(change: dict[str, None], reason: str):
    node = correspondent()
    update, _ = authorised(node, 1, 0.0)
    assert receive(node, replace(update, **change), 0.0) == []
    assert node.dropped == {reason: 1}
    assert node.binding(PEER) is None


def test_tokens_of_another_care_of_address_prove_nothing():
    node = correspondent()
    update, _ = authorised(node, 1, 0.0)
    assert receive(node, update, 0.0, care_of=THERE) == []
    assert node.dropped == {"bad-authenticator": 1}


def test_tokens_of_another_home_address_prove_nothing():
    node = correspondent()
    update, _ = authorised(node, 1, 0.0)
    assert receive(node, update, 0.0, home=OTHER) == []
    assert node.dropped == {"bad-authenticator": 1}


@pytest.mark.parametrize(
    ("home", "care_of", "reason"),
    [
        ("ff02::1", HERE, "bad-home-address"),
        ("::", HERE, "bad-home-address"),
        ("fe80::1", HERE, "bad-home-address"),
        (PEER, "::1", "bad-care-of-address"),
        (PEER, "fe80::1", "bad-care-of-address"),
    ],
)
def test_addresses_that_cannot_be_reached_from_elsewhere_are_not_bound(
    home: str, care_of: str, reason: str
):
    node = correspondent(protected=True)
    update = BindingUpdate(1, 400)
    effects = receive(node, update, 0.0, home=IPv6Address(home), care_of=IPv6Address(care_of))
    assert effects == []
    assert node.dropped == {reason: 1}


@pytest.mark.parametrize(
    ("asked_home_at", "asked_care_of_at", "status"),
    [
        (0.0, 100.0, Status.EXPIRED_HOME_NONCE_INDEX),
        (100.0, 0.0, Status.EXPIRED_CARE_OF_NONCE_INDEX),
        (0.0, 0.0, Status.EXPIRED_NONCES),
    ],
)
def test_expired_nonces_are_told_without_an_authenticator(
    asked_home_at: float, asked_care_of_at: float, status: Status
):
    node = correspondent()
    indices: dict[bool, int] = {}
    for is_home, at in sorted(
        ((True, asked_home_at), (False, asked_care_of_at)), key=lambda item: item[1]
    ):
        message = HomeTestInit(COOKIE) if is_home else CareOfTestInit(COOKIE)
        indices[is_home] = test_answer(node, message, PEER if is_home else HERE, at).nonce_index
    update = BindingUpdate(1, 400, nonce_indices=NonceIndices(indices[True], indices[False]))
    (sent,) = receive(node, codec.authorise(update, KEY, HERE, ME), 250.0)
    assert isinstance(sent, SendMobility)
    assert isinstance(sent.message, BindingAcknowledgement)
    assert (sent.message.status, sent.message.authorization) == (status, None)


def test_a_deletion_needs_the_home_nonce_only():
    node = bound(correspondent())
    update, key = authorised(node, 2, 1.0, lifetime_s=0)
    changed, sent = receive(node, update, 1.0)
    assert changed == BindingChanged(PEER, None, 0, ME)
    assert isinstance(sent, SendMobility)
    assert sent.care_of_address == HERE
    assert isinstance(sent.message, BindingAcknowledgement)
    assert codec.is_authentic(sent.message, key, PEER, ME)
    assert node.deadline is None


def test_a_deletion_with_an_expired_home_nonce_is_told_so():
    node = correspondent()
    update, _ = authorised(node, 2, 0.0, lifetime_s=0)
    assert status_of(receive(node, update, 250.0)) == Status.EXPIRED_HOME_NONCE_INDEX


def test_a_stale_or_replayed_update_is_answered_with_the_last_number_and_changes_nothing():
    node = correspondent()
    old, _ = authorised(node, 5, 0.0, care_of=THERE)
    new, key = authorised(node, 6, 0.0)
    receive(node, new, 0.1)
    for stale, care_of in ((old, THERE), (new, HERE)):
        (sent,) = receive(node, stale, 0.2, care_of=care_of)
        assert isinstance(sent, SendMobility)
        assert isinstance(sent.message, BindingAcknowledgement)
        assert (sent.message.status, sent.message.sequence) == (135, 6)
    assert codec.is_authentic(sent.message, key, HERE, ME)
    binding = node.binding(PEER)
    assert binding is not None
    assert binding.care_of_address == HERE


def test_a_replayed_update_does_not_bring_a_deleted_binding_back():
    node = correspondent()
    binding, _ = authorised(node, 1, 0.0)
    receive(node, binding, 0.0)
    deletion, _ = authorised(node, 2, 1.0, lifetime_s=0)
    receive(node, deletion, 1.0)
    assert status_of(receive(node, binding, 2.0)) == Status.SEQUENCE_NUMBER_OUT_OF_WINDOW
    assert node.binding(PEER) is None


def test_the_number_of_a_deleted_binding_is_forgotten_when_its_nonces_have_expired():
    node = bound(correspondent(), sequence=100)
    node.forget(PEER, 1.0)
    update, _ = authorised(node, 3, 241.0)
    assert status_of(receive(node, update, 241.0)) == Status.ACCEPTED


@given(st.lists(st.integers(0, 2**16 - 1), max_size=30))
def test_the_accepted_sequence_numbers_only_move_forward(numbers: list[int]):
    node = correspondent(protected=True)
    accepted: list[int] = []
    for number in numbers:
        update = BindingUpdate(number, 400 if number % 3 else 0)
        if status_of(receive(node, update, 0.0)) == Status.ACCEPTED:
            accepted.append(number)
    for before, after in zip(accepted, accepted[1:], strict=False):  # noqa: RUF007
        assert is_newer(after, before)


def test_home_registrations_are_for_home_agents():
    node = correspondent(protected=True)
    effects = receive(node, BindingUpdate(1, 400, home_registration=True), 0.0)
    assert status_of(effects) == Status.HOME_REGISTRATION_NOT_SUPPORTED
    assert len(effects) == 1


def test_only_permitted_home_addresses_are_bound():
    node = correspondent(permitted=frozenset({OTHER}))
    update, _ = authorised(node, 1, 0.0)
    assert status_of(receive(node, update, 0.0)) == Status.ADMINISTRATIVELY_PROHIBITED


def test_a_full_cache_refuses_new_home_addresses_only():
    node = bound(correspondent(capacity=1))
    other, _ = authorised(node, 1, 0.0, home=OTHER, care_of=THERE)
    effects = receive(node, other, 0.0, home=OTHER, care_of=THERE)
    assert status_of(effects) == Status.INSUFFICIENT_RESOURCES
    again, _ = authorised(node, 2, 0.0, care_of=THERE)
    assert status_of(receive(node, again, 0.0, care_of=THERE)) == Status.ACCEPTED


# Updates that are proved otherwise


def test_a_protected_peer_needs_no_authenticator_and_its_alternate_address_counts():
    node = correspondent(protected=True)
    update = BindingUpdate(1, 600, alternate_care_of_address=THERE)
    changed, sent = receive(node, update, 0.0)
    assert changed == BindingChanged(PEER, THERE, 600, ME)
    assert isinstance(sent, SendMobility)
    assert isinstance(sent.message, BindingAcknowledgement)
    assert sent.message.authorization is None


def test_a_protected_peer_may_delete_from_its_home_address_even_where_nothing_stands():
    node = correspondent(protected=True)
    changed, sent = receive(node, BindingUpdate(1, 0), 0.0, care_of=None)
    assert changed == BindingChanged(PEER, None, 0, ME)
    assert isinstance(sent, SendMobility)
    assert sent.care_of_address is None


def test_an_update_for_the_home_address_itself_is_a_deletion():
    node = correspondent(protected=True)
    update = BindingUpdate(1, 600, alternate_care_of_address=PEER)
    changed, sent = receive(node, update, 0.0)
    assert changed == BindingChanged(PEER, None, 0, ME)
    assert isinstance(sent, SendMobility)
    assert isinstance(sent.message, BindingAcknowledgement)
    assert sent.message.lifetime_s == 0


def test_a_given_key_proves_an_update_without_nonces():
    node = correspondent()
    node.keys_given(PEER, [KEY])
    update = codec.authorise(BindingUpdate(1, 600), KEY, HERE, ME)
    changed, sent = receive(node, update, 0.0)
    assert changed == BindingChanged(PEER, HERE, 600, ME)
    assert isinstance(sent, SendMobility)
    assert isinstance(sent.message, BindingAcknowledgement)
    assert codec.is_authentic(sent.message, KEY, HERE, ME)


def test_any_of_the_given_keys_proves_an_update_and_answers_it():
    node = correspondent()
    node.keys_given(PEER, [bytes(20), KEY])
    for sequence, key in ((1, KEY), (2, bytes(20))):
        update = codec.authorise(BindingUpdate(sequence, 600), key, HERE, ME)
        _, sent = receive(node, update, 0.0)
        assert isinstance(sent, SendMobility)
        assert isinstance(sent.message, BindingAcknowledgement)
        assert codec.is_authentic(sent.message, key, HERE, ME)


def test_with_given_keys_no_other_key_proves_anything():
    node = correspondent()
    node.keys_given(PEER, [bytes(20)])
    update = codec.authorise(BindingUpdate(1, 600), KEY, HERE, ME)
    assert receive(node, update, 0.0) == []
    assert node.dropped == {"bad-authenticator": 1}


@pytest.mark.parametrize("withdrawn", [False, True])
def test_a_given_key_that_outlives_a_binding_brings_no_old_update_back(withdrawn: bool):
    node = correspondent()
    node.keys_given(PEER, [KEY])
    first, second, later = (
        codec.authorise(BindingUpdate(sequence, 600), KEY, HERE, ME) for sequence in (5, 6, 7)
    )
    receive(node, first, 0.0)
    receive(node, second, 1.0)
    assert node.timer_expired(601.0) == [BindingChanged(PEER, None, 0, ME)]
    much_later = 601.0 + MAX_NONCE_LIFETIME_S + 1
    if withdrawn:
        # Nothing can be proved by it any more: nothing needs to be remembered.
        node.keys_given(PEER, [])
        update, _ = authorised(node, 1, much_later)
        assert status_of(receive(node, update, much_later)) == Status.ACCEPTED
        return
    for old in (first, second):
        refused = receive(node, old, much_later)
        assert status_of(refused) == Status.SEQUENCE_NUMBER_OUT_OF_WINDOW
    assert node.binding(PEER) is None
    assert status_of(receive(node, later, much_later)) == Status.ACCEPTED


@pytest.mark.parametrize(
    ("source", "destination"),
    [("fe80::1", "fe80::2"), ("::", ME), ("ff02::1", ME), (HERE, "ff02::1")],
)
@pytest.mark.parametrize("message", [HomeTestInit(COOKIE), CareOfTestInit(COOKIE)])
def test_a_test_that_no_answer_could_reach_is_dropped(
    message: HomeTestInit | CareOfTestInit, source: str, destination: str
):
    node = correspondent()
    ends = IPv6Address(source), IPv6Address(destination)
    assert node.message_received(message, *ends, 0.0) == []
    assert node.dropped == {"misdirected": 1}


def test_a_withdrawn_key_proves_nothing_any_more():
    node = correspondent()
    node.keys_given(PEER, [KEY])
    node.keys_given(PEER, [])
    update = codec.authorise(BindingUpdate(1, 600), KEY, HERE, ME)
    assert receive(node, update, 0.0) == []
    assert node.dropped == {"no-nonce-indices": 1}


# Refresh, forgetting, errors


def test_a_binding_that_nears_its_end_is_asked_for_again():
    node = bound(correspondent(request_refresh=True))
    assert node.deadline == 378.0
    # By the home agent, without a routing header (section 6.1.1).
    asked = SendMobility(ME, PEER, BindingRefreshRequest(), via_home_agent=True)
    assert node.timer_expired(378.0) == [asked]
    assert node.timer_expired(420.0) == [BindingChanged(PEER, None, 0, ME)]


def test_forgetting_a_binding_is_idempotent():
    node = bound(correspondent(request_refresh=True))
    assert node.forget(PEER, 1.0) == [BindingChanged(PEER, None, 0, ME)]
    assert node.forget(PEER, 1.0) == []
    assert node.deadline is None


def test_data_with_an_unknown_home_address_is_answered_by_an_error_at_the_care_of_address():
    (sent,) = correspondent().home_address_refused(RefusedOption(PEER, HERE, ME), 0.0)
    assert sent == SendMobility(ME, HERE, BindingError(ErrorStatus.UNKNOWN_BINDING, PEER))


def test_data_that_a_binding_allows_and_a_policy_does_not_is_no_binding_error():
    node = bound(correspondent())
    assert node.home_address_refused(RefusedOption(PEER, HERE, ME), 0.0) == []
    assert node.dropped == {"refused-by-policy": 1}
    assert len(node.home_address_refused(RefusedOption(PEER, THERE, ME), 0.0)) == 1


def test_a_message_of_unknown_type_is_answered_by_an_error():
    node = correspondent()
    unspecified = IPv6Address("::")
    for care_of, to, home in ((None, PEER, unspecified), (HERE, HERE, PEER)):
        (sent,) = node.message_received(Unrecognised(99), PEER, ME, 0.0, care_of)
        error = BindingError(ErrorStatus.UNRECOGNISED_MESSAGE_TYPE, home)
        assert sent == SendMobility(ME, to, error)


def test_errors_are_limited_and_never_sent_to_a_group():
    node = correspondent()
    assert node.home_address_refused(RefusedOption(PEER, IPv6Address("ff02::1"), ME), 0.0) == []
    sent = [
        node.home_address_refused(RefusedOption(PEER, HERE, ME), 0.01 * number)
        for number in range(20)
    ]
    assert len([effects for effects in sent if effects]) == 10
    assert node.dropped == {"error-not-sent": 11}


def test_messages_for_other_roles_are_counted():
    node = correspondent()
    assert node.message_received(BindingRefreshRequest(), PEER, ME, 0.0) == []
    assert node.dropped == {"not-for-a-correspondent": 1}


# A node that is known by two home addresses

INSIDE = IPv6Address("fd00:10::d1")


def known_by_two_names() -> CorrespondentNode:
    names = {PEER, INSIDE}
    return CorrespondentNode(DifferentBytes(), names, other_names={INSIDE: PEER})


def told(
    node: CorrespondentNode, sequence: int, *, inside: bool = False
) -> tuple[int, IPv6Address | None]:
    """Return the answer to an update from outside, or a deletion from inside, and the binding."""
    update = BindingUpdate(sequence, 0 if inside else 400)
    home, here = (INSIDE, None) if inside else (PEER, HERE)
    *_, answer = node.message_received(update, home, ME, 1.0, here)
    assert isinstance(answer, SendMobility)
    assert isinstance(answer.message, BindingAcknowledgement)
    binding = node.binding(PEER)
    return answer.message.status, None if binding is None else binding.care_of_address


def test_a_deletion_under_the_other_name_is_of_the_same_binding():
    node = known_by_two_names()
    assert told(node, 7) == (Status.ACCEPTED, HERE)
    assert told(node, 8, inside=True) == (Status.ACCEPTED, None)
    assert node.deadline is None


@pytest.mark.parametrize("known", [False, True])
def test_an_update_that_a_deletion_under_the_other_name_has_overtaken_brings_nothing_back(
    known: bool,
):
    node = known_by_two_names()
    if known:
        told(node, 6)
    assert told(node, 8, inside=True) == (Status.ACCEPTED, None)
    assert told(node, 7) == (Status.SEQUENCE_NUMBER_OUT_OF_WINDOW, None)
    assert told(node, 9) == (Status.ACCEPTED, HERE)


def test_nothing_is_bound_to_the_other_name():
    node = known_by_two_names()
    effects = node.message_received(BindingUpdate(1, 400), INSIDE, ME, 1.0, HERE)
    assert status_of(effects) == Status.ADMINISTRATIVELY_PROHIBITED
    assert len(effects) == 1
    assert node.binding(INSIDE) is node.binding(PEER) is None


def test_a_deletion_under_the_other_name_that_an_update_has_overtaken_ends_nothing():
    node = known_by_two_names()
    assert told(node, 9) == (Status.ACCEPTED, HERE)
    assert told(node, 8, inside=True) == (Status.SEQUENCE_NUMBER_OUT_OF_WINDOW, HERE)
