"""The mobile node's decisions (mobivpn.mip6.mobile_node)."""

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv6Address
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobivpn.mip6 import codec, keygen
from mobivpn.mip6.effects import MobileNodeEffect, RegistrationChanged, SendMobility
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
    SentMessage,
    Status,
    Unrecognised,
)
from mobivpn.mip6.mobile_node import MobileNode
from mobivpn.mip6.registration import (
    CORRESPONDENT,
    HOME,
    PROTECTED,
    Authorisation,
    Phase,
    StaticAuthorisation,
)
from mobivpn.mip6.sequence import is_newer, successor
from mobivpn.mip6.settings import MobileNodeSettings
from tests.support.company import DifferentBytes

ME = IPv6Address("2001:db8:ee::d1")
INSIDE = IPv6Address("fd00:10::d1")
HERE = IPv6Address("2001:db8:1::d1")
THERE = IPv6Address("2001:db8:2::d1")
HOME_AGENT = IPv6Address("2001:db8:ee::1")
GATEWAY = IPv6Address("2001:db8:5::5")
GATEWAY_INSIDE = IPv6Address("fd00:5::5")
PEER = IPv6Address("2001:db8:ee::d2")
STRANGER = IPv6Address("2001:db8:bad::1")
HOME_TOKEN, CARE_OF_TOKEN = b"homehome", b"careofco"
STATIC = StaticAuthorisation(b"k" * 20)


def node(**settings: object) -> MobileNode:
    made = MobileNodeSettings()
    return MobileNode(ME, DifferentBytes(), replace(made, **settings))  # type: ignore[arg-type]


def node_outside(**settings: object) -> MobileNode:
    mobile = node(**settings)
    assert mobile.care_of_address_changed(HERE, 0.0) == []
    return mobile


def sends(effects: Sequence[MobileNodeEffect]) -> list[SendMobility]:
    return [effect for effect in effects if isinstance(effect, SendMobility)]


def messages(effects: Sequence[MobileNodeEffect]) -> list[SentMessage]:
    return [effect.message for effect in sends(effects)]


def changes(effects: Sequence[MobileNodeEffect]) -> list[Phase]:
    return [effect.phase for effect in effects if isinstance(effect, RegistrationChanged)]


def updates(effects: Sequence[MobileNodeEffect]) -> list[BindingUpdate]:
    return [message for message in messages(effects) if isinstance(message, BindingUpdate)]


def answer(
    mobile: MobileNode,
    effects: Sequence[MobileNodeEffect],
    now: float,
    test: type[HomeTestInit | CareOfTestInit],
    index: int = 1,
) -> list[MobileNodeEffect]:
    """Answer the last test of a kind that is among the effects."""
    (*_, sent) = (effect for effect in sends(effects) if isinstance(effect.message, test))
    assert isinstance(sent.message, HomeTestInit | CareOfTestInit)
    reply = (
        HomeTest(index, sent.message.cookie, HOME_TOKEN)
        if test is HomeTestInit
        else CareOfTest(index + 1, sent.message.cookie, CARE_OF_TOKEN)
    )
    return mobile.message_received(reply, sent.destination, sent.source, now)


def pass_tests(
    mobile: MobileNode, effects: Sequence[MobileNodeEffect], now: float
) -> list[MobileNodeEffect]:
    answer(mobile, effects, now, HomeTestInit)
    return answer(mobile, effects, now, CareOfTestInit)


def acknowledge(
    mobile: MobileNode,
    update: BindingUpdate,
    now: float,
    *,
    peer: IPv6Address = PEER,
    home: IPv6Address = ME,
    care_of: IPv6Address = HERE,
    key: bytes | None = None,
    **fields: object,
) -> list[MobileNodeEffect]:
    """Answer an update as the peer would, with `key` made into an authenticator."""
    message = BindingAcknowledgement(Status.ACCEPTED, update.sequence, update.lifetime_s)
    message = replace(message, **fields)  # type: ignore[arg-type]
    if key is not None:
        message = codec.authorise(message, key, care_of, peer)
    return mobile.message_received(message, peer, home, now)


KBM = keygen.binding_management_key(HOME_TOKEN, CARE_OF_TOKEN)
KBM_DELETION = keygen.binding_management_key(HOME_TOKEN, None)


def registered(authorisation: Authorisation, peer: IPv6Address, **settings: object) -> MobileNode:
    """Return a node that is registered at `peer` since 0.0."""
    mobile = node_outside(**settings)
    effects = mobile.register(peer, authorisation, 0.0)
    key = None
    if authorisation is CORRESPONDENT:
        effects, key = pass_tests(mobile, effects, 0.0), KBM
    elif authorisation is STATIC:
        key = STATIC.binding_management_key
    (update,) = updates(effects)
    assert changes(acknowledge(mobile, update, 0.0, peer=peer, key=key)) == [Phase.REGISTERED]
    return mobile


# Registration at a home agent and at peers with IPsec


def test_no_update_is_built_before_a_care_of_address_is_settled():
    mobile = node()
    effects = mobile.register(HOME_AGENT, HOME, 0.0)
    assert (changes(effects), sends(effects)) == ([Phase.DETACHED], [])
    assert mobile.deadline is None


def test_a_home_registration_asks_for_acknowledgement_with_the_alternate_care_of_address():
    mobile = node_outside(home_lifetime_s=601)
    changed, sent = mobile.register(HOME_AGENT, HOME, 0.0)
    assert isinstance(changed, RegistrationChanged)
    assert (changed.phase, changed.optimised, changed.announced) == (Phase.UPDATING, False, True)
    assert isinstance(sent, SendMobility)
    update = sent.message
    assert isinstance(update, BindingUpdate)
    assert update.acknowledge
    assert update.home_registration
    assert (update.lifetime_s, update.alternate_care_of_address) == (600, HERE)
    assert (sent.source, sent.destination, sent.care_of_address) == (ME, HOME_AGENT, HERE)


def test_a_protected_registration_is_no_home_registration_and_needs_no_test():
    (update,) = updates(node_outside().register(GATEWAY, PROTECTED, 0.0))
    assert (update.home_registration, update.alternate_care_of_address) == (False, HERE)
    assert update.authorization is None


def test_the_home_agent_is_told_first_then_ipsec_peers_then_correspondents():
    mobile = node()
    for peer, kind in ((PEER, CORRESPONDENT), (GATEWAY, PROTECTED), (HOME_AGENT, HOME)):
        mobile.register(peer, kind, 0.0)
    effects = mobile.care_of_address_changed(HERE, 1.0)
    assert [sent.destination for sent in sends(effects)] == [HOME_AGENT, GATEWAY, PEER, PEER]


def test_registering_twice_does_nothing_the_second_time():
    mobile = node_outside()
    mobile.register(HOME_AGENT, HOME, 0.0)
    assert mobile.register(HOME_AGENT, HOME, 0.1) == []


def test_the_same_care_of_address_again_is_no_movement():
    mobile = registered(HOME, HOME_AGENT)
    assert mobile.care_of_address_changed(HERE, 1.0) == []


def test_a_first_home_registration_waits_longer_and_each_repetition_twice_as_long():
    mobile = node_outside()
    mobile.register(HOME_AGENT, HOME, 0.0)
    due: list[float] = []
    for _ in range(8):
        assert mobile.deadline is not None
        due.append(mobile.deadline)
        mobile.timer_expired(mobile.deadline)
    waited = [later - earlier for earlier, later in pairwise([0.0, *due])]
    assert waited == [1.5, 3.0, 6.0, 12.0, 24.0, 32.0, 32.0, 32.0]


def test_a_repeated_update_has_a_greater_sequence_number():
    mobile = node_outside()
    (first,) = updates(mobile.register(HOME_AGENT, HOME, 0.0))
    (second,) = updates(mobile.timer_expired(1.5))
    assert is_newer(second.sequence, first.sequence)


def test_a_timer_that_is_not_due_does_nothing():
    mobile = node_outside()
    mobile.register(HOME_AGENT, HOME, 0.0)
    assert mobile.timer_expired(1.4) == []


def test_an_acknowledgement_of_an_earlier_sending_is_as_good():
    mobile = node_outside()
    (first,) = updates(mobile.register(HOME_AGENT, HOME, 0.0))
    mobile.timer_expired(1.5)
    effects = acknowledge(mobile, first, 1.6, peer=HOME_AGENT)
    assert changes(effects) == [Phase.REGISTERED]


def test_only_the_last_few_updates_can_still_be_acknowledged():
    mobile = node_outside()
    (first,) = updates(mobile.register(HOME_AGENT, HOME, 0.0))
    for now in (1.5, 4.5, 10.5, 22.5):
        mobile.timer_expired(now)
    assert acknowledge(mobile, first, 23.0, peer=HOME_AGENT) == []
    assert mobile.dropped == {"unexpected-sequence": 1}


def test_a_binding_is_refreshed_before_it_expires():
    mobile = registered(HOME, HOME_AGENT, home_lifetime_s=400)
    assert mobile.deadline == 320.0
    effects = mobile.timer_expired(320.0)
    assert changes(effects) == [Phase.REFRESHING]
    assert len(updates(effects)) == 1
    assert mobile.optimised(HOME_AGENT)


def test_a_granted_lifetime_is_counted_from_the_sending_of_the_update():
    mobile = node_outside()
    (update,) = updates(mobile.register(HOME_AGENT, HOME, 10.0))
    acknowledge(mobile, update, 11.0, peer=HOME_AGENT, lifetime_s=100)
    assert mobile.deadline == 90.0


def test_refresh_advice_brings_the_refresh_forward_only():
    mobile = node_outside()
    (update,) = updates(mobile.register(HOME_AGENT, HOME, 0.0))
    acknowledge(mobile, update, 0.1, peer=HOME_AGENT, refresh_advice_s=40)
    assert mobile.deadline == 40.0


def test_a_binding_that_expires_while_it_is_refreshed_becomes_a_first_registration():
    mobile = registered(HOME, HOME_AGENT, home_lifetime_s=20)
    mobile.timer_expired(16.0)
    effects = mobile.timer_expired(20.0)
    assert Phase.UPDATING in changes(effects)
    assert not mobile.optimised(HOME_AGENT)
    assert effects[-1] == RegistrationChanged(
        ME, HOME_AGENT, HOME, Phase.UPDATING, HERE, HERE, "expired"
    )


def test_a_binding_that_expires_while_the_node_is_detached_is_forgotten():
    mobile = registered(HOME, HOME_AGENT, home_lifetime_s=20)
    mobile.care_of_address_changed(None, 1.0)
    assert mobile.timer_expired(20.0) == []
    assert changes(mobile.care_of_address_changed(THERE, 21.0)) == [Phase.UPDATING]


@pytest.mark.parametrize(
    "status",
    [
        Status.REASON_UNSPECIFIED,
        Status.ADMINISTRATIVELY_PROHIBITED,
        Status.NOT_HOME_SUBNET,
        Status.DUPLICATE_ADDRESS_DETECTION_FAILED,
        Status.EXPIRED_NONCES,
        200,
    ],
)
def test_a_refused_registration_has_failed_until_the_node_moves(status: int):
    mobile = node_outside()
    (update,) = updates(mobile.register(HOME_AGENT, HOME, 0.0))
    (changed,) = acknowledge(mobile, update, 0.1, peer=HOME_AGENT, status=status)
    assert changed == RegistrationChanged(
        ME, HOME_AGENT, HOME, Phase.FAILED, HERE, HERE, f"status-{status}"
    )
    assert mobile.deadline is None
    assert changes(mobile.care_of_address_changed(THERE, 5.0)) == [Phase.UPDATING]


def test_what_has_failed_can_be_registered_again():
    mobile = node_outside()
    (update,) = updates(mobile.register(HOME_AGENT, HOME, 0.0))
    acknowledge(mobile, update, 0.1, peer=HOME_AGENT, status=130)
    assert changes(mobile.register(HOME_AGENT, HOME, 9.0)) == [Phase.UPDATING]


def test_an_acceptance_without_a_lifetime_is_a_refusal():
    mobile = node_outside()
    (update,) = updates(mobile.register(HOME_AGENT, HOME, 0.0))
    assert changes(acknowledge(mobile, update, 0.1, peer=HOME_AGENT, lifetime_s=0)) == [
        Phase.FAILED
    ]


def test_after_a_restart_the_sequence_number_goes_on_from_the_peers():
    mobile = node_outside()
    (update,) = updates(mobile.register(HOME_AGENT, HOME, 0.0))
    last = (update.sequence + 1000) % 2**16
    effects = acknowledge(mobile, update, 0.1, peer=HOME_AGENT, status=135, sequence=last)
    assert [again.sequence for again in updates(effects)] == [(last + 1) % 2**16]


def test_a_sequence_number_never_goes_back():
    mobile = node_outside()
    (update,) = updates(mobile.register(HOME_AGENT, HOME, 0.0))
    last = (update.sequence - 1000) % 2**16
    (again,) = updates(acknowledge(mobile, update, 0.1, peer=HOME_AGENT, status=135, sequence=last))
    assert again.sequence == (update.sequence + 1) % 2**16


def test_a_copy_that_was_overtaken_changes_nothing():
    mobile = node_outside()
    (update,) = updates(mobile.register(HOME_AGENT, HOME, 0.0))
    assert acknowledge(mobile, update, 0.1, peer=HOME_AGENT, status=135) == []
    assert mobile.dropped == {"overtaken": 1}


# Correspondents: return routability


def test_both_tests_start_at_once_each_from_its_own_address():
    effects = node_outside().register(PEER, CORRESPONDENT, 0.0)
    assert changes(effects) == [Phase.ROUTABILITY]
    home, care_of = sends(effects)
    assert isinstance(home.message, HomeTestInit)
    assert isinstance(care_of.message, CareOfTestInit)
    assert (home.source, care_of.source) == (ME, HERE)
    assert home.destination == care_of.destination == PEER
    assert home.via_home_agent
    assert care_of.via_home_agent


def test_a_binding_needs_both_tokens():
    mobile = node_outside()
    effects = mobile.register(PEER, CORRESPONDENT, 0.0)
    assert answer(mobile, effects, 0.1, HomeTestInit) == []
    changed, sent = answer(mobile, effects, 0.2, CareOfTestInit)
    assert isinstance(changed, RegistrationChanged)
    assert (changed.phase, changed.optimised) == (Phase.UPDATING, False)
    assert isinstance(sent, SendMobility)
    update = sent.message
    assert isinstance(update, BindingUpdate)
    assert update.nonce_indices == NonceIndices(1, 2)
    assert (update.lifetime_s, update.alternate_care_of_address) == (420, None)
    assert codec.is_authentic(update, KBM, HERE, PEER)
    assert not sent.via_home_agent


def test_an_update_that_is_sent_again_goes_by_the_peers_home_agent():
    mobile = node_outside()
    pass_tests(mobile, mobile.register(PEER, CORRESPONDENT, 0.0), 0.1)
    (sent,) = sends(mobile.timer_expired(1.1))
    assert isinstance(sent.message, BindingUpdate)
    assert sent.via_home_agent


def test_a_token_that_aged_while_the_other_was_missing_is_asked_for_again():
    mobile = node_outside(attempts=99)
    effects = mobile.register(PEER, CORRESPONDENT, 0.0)
    answer(mobile, effects, 0.1, HomeTestInit)
    effects = mobile.timer_expired(1.0)
    assert [type(message) for message in messages(effects)] == [CareOfTestInit]
    effects = answer(mobile, effects, 215.0, CareOfTestInit)
    assert [type(message) for message in messages(effects)] == [HomeTestInit, CareOfTestInit]


def test_tokens_that_expire_before_the_acknowledgement_are_asked_for_again():
    mobile = node_outside(attempts=99)
    pass_tests(mobile, mobile.register(PEER, CORRESPONDENT, 0.0), 0.1)
    seen: list[Phase] = []
    while Phase.ROUTABILITY not in seen:
        assert mobile.deadline is not None
        seen += changes(mobile.timer_expired(mobile.deadline))
        now = mobile.deadline
        assert now is not None
        assert now < 300


def test_a_lost_test_is_repeated_with_a_new_cookie_and_either_answer_is_good():
    mobile = node_outside()
    effects = mobile.register(PEER, CORRESPONDENT, 0.0)
    answer(mobile, effects, 0.1, HomeTestInit)
    again = mobile.timer_expired(1.0)
    assert messages(again)[0] != messages(effects)[1]
    assert changes(answer(mobile, effects, 1.1, CareOfTestInit)) == [Phase.UPDATING]
    assert answer(mobile, again, 1.2, CareOfTestInit) == []
    assert mobile.dropped == {"unknown-cookie": 1}


def test_an_answer_with_a_strange_cookie_or_from_a_stranger_is_dropped():
    mobile = node_outside()
    mobile.register(PEER, CORRESPONDENT, 0.0)
    test = HomeTest(0, b"whatever", HOME_TOKEN)
    assert mobile.message_received(test, PEER, ME, 0.1) == []
    assert mobile.message_received(test, STRANGER, ME, 0.1) == []
    assert mobile.message_received(test, PEER, HERE, 0.1) == []
    assert mobile.dropped == {"unknown-cookie": 1, "unknown-peer": 2}


def test_the_answer_to_a_repeated_test_that_is_not_needed_any_more_keeps_the_token():
    mobile = registered(CORRESPONDENT, PEER)
    mobile.care_of_address_changed(None, 1.0)
    mobile.register(HOME_AGENT, HOME, 1.0)
    effects = mobile.care_of_address_changed(THERE, 2.0)
    assert [type(m) for m in messages(effects)] == [BindingUpdate, CareOfTestInit]


def test_an_answer_after_the_end_of_the_tests_does_no_harm():
    mobile = node_outside(attempts=1)
    effects = mobile.register(PEER, CORRESPONDENT, 0.0)
    assert changes(mobile.timer_expired(1.0)) == [Phase.FAILED]
    assert answer(mobile, effects, 1.1, HomeTestInit) == []


def test_a_correspondent_that_never_answers_is_given_up():
    mobile = node_outside(attempts=3)
    mobile.register(PEER, CORRESPONDENT, 0.0)
    seen: list[Phase] = []
    while mobile.deadline is not None:
        seen += changes(mobile.timer_expired(mobile.deadline))
    assert seen == [Phase.FAILED]


def test_an_acknowledgement_without_the_right_authenticator_is_dropped():
    mobile = node_outside()
    (update,) = updates(pass_tests(mobile, mobile.register(PEER, CORRESPONDENT, 0.0), 0.1))
    assert acknowledge(mobile, update, 0.2) == []
    assert acknowledge(mobile, update, 0.2, key=b"wrong") == []
    assert acknowledge(mobile, update, 0.2, key=KBM, care_of=THERE) == []
    assert acknowledge(mobile, update, 0.2, key=b"wrong", status=135, sequence=9) == []
    assert mobile.dropped == {"bad-authenticator": 4}
    assert changes(acknowledge(mobile, update, 0.2, key=KBM)) == [Phase.REGISTERED]


@pytest.mark.parametrize(
    ("status", "asked"),
    [
        (Status.EXPIRED_HOME_NONCE_INDEX, [HomeTestInit]),
        (Status.EXPIRED_CARE_OF_NONCE_INDEX, [CareOfTestInit]),
        (Status.EXPIRED_NONCES, [HomeTestInit, CareOfTestInit]),
    ],
)
def test_expired_nonces_are_replaced(status: Status, asked: list[type]):
    mobile = node_outside()
    (update,) = updates(pass_tests(mobile, mobile.register(PEER, CORRESPONDENT, 0.0), 0.1))
    effects = acknowledge(mobile, update, 0.2, status=status)
    assert changes(effects) == [Phase.ROUTABILITY]
    assert [type(message) for message in messages(effects)] == asked


def test_a_deletion_has_no_care_of_nonce_to_expire():
    mobile = registered(CORRESPONDENT, PEER)
    (deletion,) = updates(mobile.deregister(PEER, 1.0))
    assert acknowledge(mobile, deletion, 1.1, status=137) == []
    assert mobile.dropped == {"unexpected-status": 1}
    effects = acknowledge(mobile, deletion, 1.1, status=136)
    assert changes(effects) == [Phase.LEAVING]
    assert [type(message) for message in messages(effects)] == [HomeTestInit]


def test_a_movement_reuses_a_fresh_home_token_and_asks_for_a_new_care_of_token():
    mobile = registered(CORRESPONDENT, PEER)
    effects = mobile.care_of_address_changed(THERE, 200.0)
    assert changes(effects) == [Phase.MOVED]
    assert [type(message) for message in messages(effects)] == [CareOfTestInit]
    changed, sent = answer(mobile, effects, 200.1, CareOfTestInit)
    assert isinstance(changed, RegistrationChanged)
    assert (changed.phase, changed.optimised) == (Phase.MOVING, True)
    assert changed.care_of_address == THERE
    assert isinstance(sent, SendMobility)
    assert not sent.via_home_agent


def test_an_update_can_go_both_ways_at_once_after_a_movement():
    mobile = registered(CORRESPONDENT, PEER, update_twice=True)
    effects = mobile.care_of_address_changed(THERE, 5.0)
    both = sends(answer(mobile, effects, 5.1, CareOfTestInit))
    assert [sent.via_home_agent for sent in both] == [False, True]
    first, second = (sent.message for sent in both)
    assert isinstance(first, BindingUpdate)
    assert isinstance(second, BindingUpdate)
    assert is_newer(second.sequence, first.sequence)


def test_an_ipsec_peer_is_never_told_twice_nor_by_a_home_agent():
    mobile = registered(PROTECTED, GATEWAY, update_twice=True)
    (first,) = sends(mobile.care_of_address_changed(THERE, 5.0))
    (second,) = sends(mobile.timer_expired(6.0))
    assert not first.via_home_agent
    assert not second.via_home_agent


def test_an_acknowledgement_of_an_update_for_the_previous_address_is_dropped():
    mobile = node_outside()
    (update,) = updates(mobile.register(GATEWAY, PROTECTED, 0.0))
    mobile.care_of_address_changed(THERE, 0.1)
    assert acknowledge(mobile, update, 0.2, peer=GATEWAY) == []
    assert mobile.dropped == {"unexpected-sequence": 1}


def test_a_movement_of_the_peer_sends_again_at_once_by_the_direct_path():
    mobile = node_outside()
    pass_tests(mobile, mobile.register(PEER, CORRESPONDENT, 0.0), 0.1)
    (sent,) = sends(mobile.peer_moved(PEER, 0.5))
    assert isinstance(sent.message, BindingUpdate)
    assert not sent.via_home_agent
    assert mobile.deadline == 1.5


def test_a_peer_that_is_found_is_sent_again_only_what_was_sent_in_vain():
    mobile = node_outside()
    pass_tests(mobile, mobile.register(PEER, CORRESPONDENT, 0.0), 0.1)
    assert mobile.peer_moved(PEER, 0.5, found=True) == []
    assert len(updates(mobile.timer_expired(1.1))) == 1
    (sent,) = sends(mobile.peer_moved(PEER, 1.5, found=True))
    assert isinstance(sent.message, BindingUpdate)


def test_a_movement_of_a_peer_to_whom_nothing_is_under_way_sends_nothing():
    mobile = registered(CORRESPONDENT, PEER)
    assert mobile.peer_moved(PEER, 1.0) == []
    assert mobile.peer_moved(STRANGER, 1.0) == []


def test_a_stranger_who_asks_and_asks_stretches_no_backoff():
    mobile = registered(CORRESPONDENT, PEER)
    mobile.care_of_address_changed(THERE, 1.0)
    sent_at = list[float]()
    for sixteenth in range(16, 16 * 2000):
        now = sixteenth / 16
        sent = sends(mobile.somebody_moved(now))
        sent_at += [now] * len(sent)
        assert all(effect.via_home_agent for effect in sent)
    # As often as one may send, and no later than a second sending's back-off when it is over.
    assert max(b - a for a, b in pairwise(sent_at)) <= 1.0
    assert mobile.deadline is not None
    assert mobile.deadline <= sent_at[-1] + 2.0


def test_home_tests_are_sent_again_when_the_home_agent_knows_the_care_of_address():
    mobile = node_outside()
    (update,) = updates(mobile.register(HOME_AGENT, HOME, 0.0))
    first = mobile.register(PEER, CORRESPONDENT, 0.0)
    effects = acknowledge(mobile, update, 0.1, peer=HOME_AGENT)
    assert [type(message) for message in messages(effects)] == [HomeTestInit]
    answer(mobile, first, 0.2, CareOfTestInit)
    assert changes(answer(mobile, effects, 0.3, HomeTestInit)) == [Phase.UPDATING]


def test_no_more_than_three_updates_a_second_go_to_one_node():
    mobile = registered(PROTECTED, GATEWAY)
    for number in range(2):
        place = IPv6Address(f"2001:db8:{number + 2}::d1")
        assert len(updates(mobile.care_of_address_changed(place, 0.1 * (number + 1)))) == 1
    effects = mobile.care_of_address_changed(IPv6Address("2001:db8:9::d1"), 0.5)
    assert (changes(effects), sends(effects)) == ([Phase.MOVING], [])
    assert mobile.deadline == 1.0
    (update,) = updates(mobile.timer_expired(1.0))
    assert update.alternate_care_of_address == IPv6Address("2001:db8:9::d1")


@given(
    st.lists(
        st.tuples(st.sampled_from(["move", "timer", "nudge"]), st.floats(0.001, 3.0)),
        max_size=40,
    )
)
def test_sequence_numbers_only_move_forward_and_the_rate_is_kept(
    steps: list[tuple[str, float]],
):
    mobile = node_outside()
    now, sent = 0.0, [(0.0, m) for m in updates(mobile.register(GATEWAY, PROTECTED, 0.0))]
    for number, (step, wait_s) in enumerate(steps):
        now += wait_s
        if step == "move":
            effects = mobile.care_of_address_changed(IPv6Address(0x20010DB8 << 96 | number), now)
        elif step == "timer":
            effects = mobile.timer_expired(now)
        else:
            effects = mobile.peer_moved(GATEWAY, now)
        sent += [(now, update) for update in updates(effects)]
    for (_, before), (_, after) in pairwise(sent):
        assert is_newer(after.sequence, before.sequence)
    for (early, _), (late, _) in zip(sent, sent[3:], strict=False):
        assert late - early >= 1.0 - 1e-9


# A key that both ends were given


def test_with_a_given_key_the_update_is_the_first_message():
    mobile = node_outside()
    effects = mobile.register(PEER, STATIC, 0.0)
    (update,) = updates(effects)
    assert update.nonce_indices is None
    assert codec.is_authentic(update, STATIC.binding_management_key, HERE, PEER)


def test_with_a_given_key_a_movement_is_told_by_one_message():
    mobile = registered(STATIC, PEER)
    effects = mobile.care_of_address_changed(THERE, 1.0)
    assert changes(effects) == [Phase.MOVING]
    assert len(sends(effects)) == 1


def test_another_kind_of_authorisation_takes_the_place_of_the_first():
    mobile = registered(CORRESPONDENT, PEER)
    effects = mobile.register(PEER, STATIC, 1.0)
    assert changes(effects) == [Phase.MOVING]
    assert mobile.optimised(PEER)


# Ends


def test_a_deletion_comes_from_the_home_address_with_lifetime_0_until_it_is_acknowledged():
    mobile = registered(HOME, HOME_AGENT)
    mobile.care_of_address_changed(None, 1.0)
    effects = mobile.deregister(HOME_AGENT, 2.0)
    assert changes(effects) == [Phase.DEREGISTERING]
    (sent,) = sends(effects)
    assert isinstance(sent.message, BindingUpdate)
    assert (sent.message.lifetime_s, sent.care_of_address) == (0, None)
    assert sent.message.home_registration
    (again,) = updates(mobile.timer_expired(3.0))
    assert changes(acknowledge(mobile, again, 3.1, peer=HOME_AGENT)) == [Phase.IDLE]
    assert mobile.deadline is None
    assert mobile.phase(HOME_AGENT) is Phase.IDLE


def test_a_deletion_that_the_home_agent_has_carried_out_before_is_done():
    mobile = registered(HOME, HOME_AGENT)
    (update,) = updates(mobile.deregister(HOME_AGENT, 2.0))
    status = Status.NOT_HOME_AGENT_FOR_THIS_NODE
    effects = acknowledge(mobile, update, 2.1, peer=HOME_AGENT, status=status)
    assert changes(effects) == [Phase.IDLE]


def test_a_deletion_that_is_never_answered_is_given_up():
    mobile = registered(PROTECTED, GATEWAY, deletion_attempts=2)
    mobile.deregister(GATEWAY, 1.0)
    mobile.timer_expired(2.0)
    assert changes(mobile.timer_expired(4.0)) == [Phase.IDLE]


def test_a_deletion_at_a_correspondent_is_authorised_by_the_home_token_alone():
    mobile = registered(CORRESPONDENT, PEER)
    (sent,) = sends(mobile.deregister(PEER, 1.0))
    update = sent.message
    assert isinstance(update, BindingUpdate)
    assert update.nonce_indices == NonceIndices(1, 0)
    assert codec.is_authentic(update, KBM_DELETION, ME, PEER)
    assert sent.care_of_address == HERE
    done = acknowledge(mobile, update, 1.1, key=KBM_DELETION, care_of=ME)
    assert changes(done) == [Phase.IDLE]


def test_a_deletion_without_a_fresh_home_token_tests_first():
    mobile = registered(CORRESPONDENT, PEER)
    effects = mobile.deregister(PEER, 250.0)
    assert changes(effects) == [Phase.LEAVING]
    assert [type(message) for message in messages(effects)] == [HomeTestInit]
    assert changes(answer(mobile, effects, 250.1, HomeTestInit)) == [Phase.DEREGISTERING]


def test_deregistering_is_idempotent():
    mobile = registered(HOME, HOME_AGENT)
    mobile.deregister(HOME_AGENT, 1.0)
    assert mobile.deregister(HOME_AGENT, 1.1) == []
    assert mobile.deregister(STRANGER, 1.1) == []


def test_what_was_never_told_to_the_peer_ends_without_a_word():
    mobile = node_outside()
    mobile.register(PEER, CORRESPONDENT, 0.0)
    effects = mobile.deregister(PEER, 0.1)
    assert (changes(effects), sends(effects), mobile.deadline) == ([Phase.IDLE], [], None)


def test_a_deletion_goes_on_across_a_movement():
    mobile = registered(PROTECTED, GATEWAY)
    mobile.deregister(GATEWAY, 1.0)
    effects = mobile.care_of_address_changed(THERE, 1.1)
    assert changes(effects) == [Phase.DEREGISTERING]
    (sent,) = sends(effects)
    assert sent.care_of_address == THERE


def test_forgetting_is_silent_and_idempotent():
    mobile = registered(PROTECTED, GATEWAY)
    effects = mobile.forget(GATEWAY)
    assert (changes(effects), sends(effects), mobile.deadline) == ([Phase.IDLE], [], None)
    assert mobile.forget(GATEWAY) == []


def test_sequence_numbers_outlive_the_registration():
    mobile = node_outside()
    (first,) = updates(mobile.register(GATEWAY, PROTECTED, 0.0))
    mobile.forget(GATEWAY)
    (second,) = updates(mobile.register(GATEWAY, PROTECTED, 5.0))
    assert is_newer(second.sequence, first.sequence)


def test_a_deletion_can_be_taken_back():
    mobile = registered(HOME, HOME_AGENT)
    mobile.deregister(HOME_AGENT, 1.0)
    effects = mobile.register(HOME_AGENT, HOME, 1.5)
    assert changes(effects) == [Phase.MOVING]
    (update,) = updates(effects)
    assert update.lifetime_s == 600


def test_a_node_that_is_home_tells_the_gateways_inside_address_over_its_internal_address():
    mobile = registered(PROTECTED, GATEWAY)
    mobile.care_of_address_changed(None, 1.0)
    effects = mobile.deregister_inside(GATEWAY_INSIDE, INSIDE, GATEWAY, 2.0)
    (sent,) = sends(effects)
    update = sent.message
    assert isinstance(update, BindingUpdate)
    assert (sent.source, sent.destination, sent.care_of_address) == (INSIDE, GATEWAY_INSIDE, None)
    assert (update.lifetime_s, update.home_registration) == (0, False)
    assert mobile.deregister_inside(GATEWAY_INSIDE, INSIDE, GATEWAY, 2.1) == []
    (again,) = updates(mobile.timer_expired(3.0))
    done = acknowledge(mobile, again, 3.1, peer=GATEWAY_INSIDE, home=INSIDE)
    assert changes(done) == [Phase.IDLE]


def test_what_is_told_from_inside_is_numbered_with_what_was_told_from_outside():
    mobile = node()
    mobile.care_of_address_changed(HERE, 0.0)
    numbers = [update.sequence for update in updates(mobile.register(GATEWAY, PROTECTED, 0.0))]
    mobile.forget(GATEWAY)
    mobile.care_of_address_changed(None, 0.1)
    home = updates(mobile.deregister_inside(GATEWAY_INSIDE, INSIDE, GATEWAY, 0.1))
    numbers += [update.sequence for update in home]
    mobile.forget(GATEWAY_INSIDE, INSIDE)
    mobile.care_of_address_changed(THERE, 0.2)
    numbers += [update.sequence for update in updates(mobile.register(GATEWAY, PROTECTED, 0.2))]
    first = numbers[0]
    assert numbers == [first, successor(first), successor(successor(first))]


def test_a_movement_does_not_touch_what_is_told_from_the_internal_address():
    mobile = node()
    mobile.deregister_inside(GATEWAY_INSIDE, INSIDE, GATEWAY, 0.0)
    assert mobile.care_of_address_changed(HERE, 0.1) == []
    assert changes(mobile.forget(GATEWAY_INSIDE, INSIDE)) == [Phase.IDLE]


# What peers say unasked


def test_a_refresh_request_starts_a_refresh():
    mobile = registered(CORRESPONDENT, PEER)
    effects = mobile.message_received(BindingRefreshRequest(), PEER, ME, 300.0)
    assert changes(effects) == [Phase.RENEWING]
    assert mobile.optimised(PEER)


def test_refresh_requests_out_of_season_are_dropped():
    mobile = node_outside()
    mobile.register(PEER, CORRESPONDENT, 0.0)
    assert mobile.message_received(BindingRefreshRequest(), PEER, ME, 0.1) == []
    assert mobile.message_received(BindingRefreshRequest(), STRANGER, ME, 0.1) == []
    assert mobile.dropped == {"unexpected-refresh-request": 1, "unknown-peer": 1}


def test_acknowledgements_out_of_season_are_dropped():
    mobile = registered(PROTECTED, GATEWAY)
    stray = BindingAcknowledgement(0, 1, 0)
    assert mobile.message_received(stray, GATEWAY, ME, 1.0) == []
    assert mobile.message_received(stray, STRANGER, ME, 1.0) == []
    assert mobile.dropped == {"unexpected-acknowledgement": 1, "unknown-peer": 1}


def test_an_unknown_binding_begins_anew_as_a_first_registration():
    mobile = registered(CORRESPONDENT, PEER)
    error = BindingError(ErrorStatus.UNKNOWN_BINDING, ME)
    effects = mobile.message_received(error, PEER, HERE, 1.0)
    # The tokens are still fresh.
    assert changes(effects) == [Phase.UPDATING]
    assert not mobile.optimised(PEER)


def test_an_unknown_binding_during_the_tests_of_a_refresh_leaves_them_running():
    mobile = registered(CORRESPONDENT, PEER)
    mobile.timer_expired(336.0)
    error = BindingError(ErrorStatus.UNKNOWN_BINDING, ME)
    effects = mobile.message_received(error, PEER, HERE, 336.1)
    assert (changes(effects), sends(effects)) == ([Phase.ROUTABILITY], [])


@pytest.mark.parametrize(
    ("status", "home"),
    [
        (ErrorStatus.UNKNOWN_BINDING, PEER),
        (ErrorStatus.UNRECOGNISED_MESSAGE_TYPE, ME),
        (77, ME),
    ],
)
def test_an_error_that_does_not_fit_ends_nothing(status: int, home: IPv6Address):
    mobile = registered(CORRESPONDENT, PEER)
    assert mobile.message_received(BindingError(status, home), PEER, HERE, 1.0) == []
    assert mobile.dropped == {"unexpected-error": 1}


def test_errors_of_strangers_or_to_other_addresses_are_dropped():
    mobile = registered(CORRESPONDENT, PEER)
    error = BindingError(ErrorStatus.UNKNOWN_BINDING, ME)
    assert mobile.message_received(error, STRANGER, HERE, 1.0) == []
    assert mobile.message_received(error, PEER, THERE, 1.0) == []
    assert mobile.dropped == {"unknown-peer": 2}


def test_a_peer_that_does_not_know_mobility_is_given_up():
    mobile = node_outside()
    mobile.register(PEER, CORRESPONDENT, 0.0)
    error = BindingError(ErrorStatus.UNRECOGNISED_MESSAGE_TYPE, IPv6Address("::"))
    effects = mobile.message_received(error, PEER, HERE, 0.1)
    assert changes(effects) == [Phase.FAILED]


def test_messages_for_other_roles_are_counted():
    mobile = node_outside()
    assert mobile.message_received(BindingUpdate(0, 0), PEER, ME, 0.0) == []
    assert mobile.dropped == {"not-for-a-mobile-node": 1}


strange_messages = st.one_of(
    st.builds(HomeTest, st.just(1), st.just(b"whatever"), st.just(HOME_TOKEN)),
    st.builds(
        BindingAcknowledgement,
        st.sampled_from([0, 1, 128, 133, 135, 136, 137, 138, 174]),
        st.integers(0, 3),
        st.sampled_from([0, 4, 600]),
        refresh_advice_s=st.sampled_from([None, 0, 4]),
    ),
    st.just(BindingRefreshRequest()),
    st.builds(BindingError, st.integers(0, 3), st.sampled_from([ME, PEER])),
    st.builds(Unrecognised, st.integers(8, 255)),
)


def cause(mobile: MobileNode, now: float, data: st.DataObject) -> list[MobileNodeEffect]:
    """Let anything happen to the node."""
    peer = data.draw(st.sampled_from([HOME_AGENT, GATEWAY, PEER, STRANGER]))
    match data.draw(
        st.sampled_from(["register", "deregister", "forget", "peer", "place", "message"])
    ):
        case "register":
            kind = data.draw(st.sampled_from([HOME, PROTECTED, CORRESPONDENT, STATIC]))
            return mobile.register(peer, kind, now)
        case "deregister":
            return mobile.deregister(peer, now)
        case "forget":
            return mobile.forget(peer)
        case "peer":
            return mobile.peer_moved(peer, now)
        case "place":
            place = data.draw(st.sampled_from([None, HERE, THERE]))
            return mobile.care_of_address_changed(place, now)
        case _:
            own = data.draw(st.sampled_from([ME, HERE, THERE]))
            return mobile.message_received(data.draw(strange_messages), peer, own, now)


def answer_tests(
    mobile: MobileNode, effects: Sequence[MobileNodeEffect], now: float
) -> list[MobileNodeEffect]:
    answers: list[MobileNodeEffect] = []
    for sent in sends(effects):
        if isinstance(sent.message, HomeTestInit | CareOfTestInit):
            kind = HomeTest if isinstance(sent.message, HomeTestInit) else CareOfTest
            test = kind(1, sent.message.cookie, HOME_TOKEN)
            answers += mobile.message_received(test, sent.destination, sent.source, now)
    return answers


@given(st.data())
def test_no_order_of_causes_and_messages_breaks_the_node(data: st.DataObject):
    mobile = MobileNode(ME, bytes)
    now = 0.0
    for _ in range(data.draw(st.integers(0, 25))):
        now += data.draw(st.floats(0, 50))
        effects = cause(mobile, now, data)
        if data.draw(st.booleans()):
            effects += answer_tests(mobile, effects, now)
        if mobile.deadline is not None and data.draw(st.booleans()):
            now = max(now, mobile.deadline)
            effects += mobile.timer_expired(now)
            assert mobile.deadline is None or mobile.deadline > now
        for update in sends(effects):
            if isinstance(update.message, BindingUpdate) and update.message.lifetime_s:
                assert update.care_of_address == mobile.care_of_address


KINDS = ((HOME, HOME_AGENT), (PROTECTED, GATEWAY), (CORRESPONDENT, PEER), (STATIC, PEER))


def softly(
    authorisation: Authorisation, peer: IPv6Address, **settings: object
) -> tuple[MobileNode, SendMobility]:
    """Return a registered node that has moved and kept its former link, and its update."""
    mobile = registered(authorisation, peer, **settings)
    effects = mobile.care_of_address_changed(THERE, 10.0, [HERE])
    if authorisation is CORRESPONDENT:
        effects = answer(mobile, effects, 10.0, CareOfTestInit)
    (sent,) = (e for e in sends(effects) if isinstance(e.message, BindingUpdate))
    return mobile, sent


def sources(effects: Sequence[MobileNodeEffect]) -> list[IPv6Address | None]:
    return [e.source_address for e in effects if isinstance(e, RegistrationChanged)]


@pytest.mark.parametrize(("authorisation", "peer"), KINDS)
def test_while_the_former_link_works_the_update_leaves_from_there_and_names_the_new_address(
    authorisation: Authorisation, peer: IPv6Address
):
    _, sent = softly(authorisation, peer)
    assert sent.care_of_address == HERE
    assert isinstance(sent.message, BindingUpdate)
    assert sent.message.alternate_care_of_address == THERE


def test_the_authenticator_covers_the_new_care_of_address():
    for authorisation, key in ((CORRESPONDENT, KBM), (STATIC, STATIC.binding_management_key)):
        _, sent = softly(authorisation, PEER)
        assert isinstance(sent.message, BindingUpdate)
        assert codec.is_authentic(sent.message, key, THERE, PEER)


def test_the_care_of_test_is_made_from_the_new_address():
    mobile = registered(CORRESPONDENT, PEER)
    (sent,) = sends(mobile.care_of_address_changed(THERE, 10.0, [HERE]))
    assert isinstance(sent.message, CareOfTestInit)
    assert sent.source == THERE


def test_data_stays_optimised_on_the_former_link_until_the_peer_knows_the_new_one():
    mobile = registered(CORRESPONDENT, PEER)
    effects = mobile.care_of_address_changed(THERE, 10.0, [HERE])
    (moved,) = (e for e in effects if isinstance(e, RegistrationChanged))
    assert (moved.phase, moved.optimised, moved.source_address) == (Phase.MOVED, True, HERE)
    effects = answer(mobile, effects, 10.0, CareOfTestInit)
    (update,) = updates(effects)
    assert sources(effects) == [HERE]
    accepted = acknowledge(mobile, update, 10.1, care_of=THERE, key=KBM)
    assert sources(accepted) == [THERE]


@pytest.mark.parametrize(("authorisation", "peer"), KINDS)
def test_when_the_former_link_goes_an_unanswered_update_is_sent_at_once_from_the_new_one(
    authorisation: Authorisation, peer: IPv6Address
):
    mobile, first = softly(authorisation, peer)
    effects = mobile.care_of_address_changed(THERE, 11.0)
    assert sources(effects) == [THERE]
    (again,) = sends(effects)
    assert isinstance(again.message, BindingUpdate)
    assert isinstance(first.message, BindingUpdate)
    assert again.care_of_address == THERE
    assert not again.via_home_agent
    assert is_newer(again.message.sequence, first.message.sequence)


def test_when_the_former_link_goes_during_the_tests_data_is_not_optimised_any_more():
    mobile = registered(CORRESPONDENT, PEER)
    mobile.care_of_address_changed(THERE, 10.0, [HERE])
    (changed,) = mobile.care_of_address_changed(THERE, 10.1)
    assert isinstance(changed, RegistrationChanged)
    assert (changed.phase, changed.optimised) == (Phase.MOVED, False)


def test_when_the_former_link_goes_after_the_acknowledgement_nothing_happens():
    mobile, sent = softly(HOME, HOME_AGENT)
    assert isinstance(sent.message, BindingUpdate)
    acknowledge(mobile, sent.message, 10.1, peer=HOME_AGENT)
    assert mobile.care_of_address_changed(THERE, 10.5) == []


def test_a_peer_without_a_binding_is_told_from_the_new_address():
    mobile = node_outside()
    mobile.register(GATEWAY, PROTECTED, 0.0)
    effects = mobile.care_of_address_changed(THERE, 10.0, [HERE])
    assert sources(effects) == [THERE]
    assert [e.care_of_address for e in sends(effects)] == [THERE]


def test_a_registration_with_another_key_goes_on_from_the_former_address():
    mobile, _ = softly(STATIC, PEER)
    other = StaticAuthorisation(b"o" * 20)
    (sent,) = sends(mobile.register(PEER, other, 11.0))
    assert sent.care_of_address == HERE


def test_a_node_may_move_again_before_the_peer_knows_of_the_last_move():
    mobile, _ = softly(HOME, HOME_AGENT)
    further = IPv6Address("2001:db8:3::d1")
    effects = mobile.care_of_address_changed(further, 11.0, [HERE, THERE])
    assert sources(effects) == [HERE]
    assert [u.alternate_care_of_address for u in updates(effects)] == [further]
