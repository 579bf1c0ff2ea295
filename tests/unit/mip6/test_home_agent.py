"""The home agent's decisions (mobivpn.mip6.home_agent)."""

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network

import pytest

from mobivpn.mip6.binding_errors import RefusedOption
from mobivpn.mip6.effects import (
    AnnounceInterception,
    BindingChanged,
    DetectDuplicate,
    HomeAgentEffect,
    SendMobility,
)
from mobivpn.mip6.home_agent import HomeAgent
from mobivpn.mip6.messages import (
    BindingAcknowledgement,
    BindingError,
    BindingRefreshRequest,
    BindingUpdate,
    ErrorStatus,
    Status,
    Unrecognised,
)
from mobivpn.mip6.settings import HomeAgentSettings

AGENT = IPv6Address("2001:db8:ee::1")
PREFIX = IPv6Network("2001:db8:ee::/64")
NODE = IPv6Address("2001:db8:ee::d1")
OTHER = IPv6Address("2001:db8:ee::d2")
HERE = IPv6Address("2001:db8:1::d1")
THERE = IPv6Address("2001:db8:2::d1")


def agent(**settings: object) -> HomeAgent:
    made = replace(HomeAgentSettings(), **settings)  # type: ignore[arg-type]
    return HomeAgent(AGENT, PREFIX, made)


def update(sequence: int, lifetime_s: int = 600, care_of: IPv6Address | None = HERE, **more: bool):
    made = BindingUpdate(
        sequence, lifetime_s, home_registration=True, alternate_care_of_address=care_of
    )
    return replace(made, **more)  # type: ignore[arg-type]


def receive(
    home_agent: HomeAgent,
    message: BindingUpdate,
    now: float = 0.0,
    *,
    home: IPv6Address = NODE,
    care_of: IPv6Address | None = HERE,
) -> list[HomeAgentEffect]:
    return home_agent.message_received(message, home, AGENT, now, care_of_address=care_of)


def answer(effects: Sequence[HomeAgentEffect]) -> BindingAcknowledgement:
    (sent,) = (effect for effect in effects if isinstance(effect, SendMobility))
    assert isinstance(sent.message, BindingAcknowledgement)
    return sent.message


def test_a_home_registration_binds_before_it_is_acknowledged():
    changed, announced, sent = receive(agent(), update(1))
    assert changed == BindingChanged(NODE, HERE, 600, AGENT)
    assert announced == AnnounceInterception(NODE)
    assert sent == SendMobility(AGENT, NODE, BindingAcknowledgement(0, 1, 600), HERE)


def test_a_lifetime_is_capped_and_refresh_advice_is_shorter_than_it():
    home_agent = agent(longest_lifetime_s=402, refresh_advice_s=200)
    acknowledgement = answer(receive(home_agent, update(1)))
    assert (acknowledgement.lifetime_s, acknowledgement.refresh_advice_s) == (400, 200)
    assert answer(receive(home_agent, update(2, 100))).refresh_advice_s is None


def test_a_home_registration_is_acknowledged_whether_it_asks_for_it_or_not():
    effects = receive(agent(), update(1, acknowledge=False))
    assert effects == receive(agent(), update(1))
    assert answer(effects).status == Status.ACCEPTED


def test_a_binding_expires():
    home_agent = agent()
    receive(home_agent, update(1))
    assert home_agent.deadline == 600.0
    assert home_agent.timer_expired(600.0) == [BindingChanged(NODE, None, 0, AGENT)]
    assert home_agent.binding(NODE) is None


def test_a_node_that_is_home_again_deletes_its_binding_from_its_home_address():
    home_agent = agent()
    receive(home_agent, update(1))
    changed, sent = receive(home_agent, update(2, 0, None), 1.0, care_of=None)
    assert changed == BindingChanged(NODE, None, 0, AGENT)
    assert sent == SendMobility(AGENT, NODE, BindingAcknowledgement(0, 2, 0), None)


def test_a_deletion_without_a_binding_is_refused():
    effects = receive(agent(), update(1, 0))
    assert answer(effects).status == Status.NOT_HOME_AGENT_FOR_THIS_NODE


@pytest.mark.parametrize(
    ("home", "care_of", "status"),
    [
        ("2001:db8:5::5", HERE, Status.NOT_HOME_SUBNET),
        (OTHER, HERE, Status.NOT_HOME_AGENT_FOR_THIS_NODE),
        (NODE, IPv6Address("ff02::1"), Status.INVALID_CARE_OF_ADDRESS),
        (NODE, IPv6Address("fe80::1"), Status.INVALID_CARE_OF_ADDRESS),
        (NODE, AGENT, Status.INVALID_CARE_OF_ADDRESS),
    ],
)
def test_what_this_home_agent_does_not_serve_is_refused_with_the_reason(
    home: str, care_of: IPv6Address, status: Status
):
    home_agent = agent(served=frozenset({NODE}))
    effects = receive(home_agent, update(1, care_of=care_of), home=IPv6Address(home))
    assert answer(effects).status == status
    assert len(effects) == 1


def test_another_nodes_home_address_is_no_care_of_address():
    home_agent = agent()
    receive(home_agent, update(1))
    effects = receive(home_agent, update(1, care_of=NODE), home=OTHER, care_of=NODE)
    assert answer(effects).status == Status.INVALID_CARE_OF_ADDRESS


def test_a_stale_update_is_answered_with_the_last_number_and_changes_nothing():
    home_agent = agent()
    receive(home_agent, update(9))
    effects = receive(home_agent, update(8, care_of=THERE))
    acknowledgement = answer(effects)
    assert (acknowledgement.status, acknowledgement.sequence) == (135, 9)
    assert len(effects) == 1
    binding = home_agent.binding(NODE)
    assert binding is not None
    assert binding.care_of_address == HERE


def test_a_home_registration_cannot_become_another_kind():
    home_agent = agent()
    receive(home_agent, update(1))
    effects = receive(home_agent, update(2, home_registration=False))
    assert answer(effects).status == Status.REGISTRATION_TYPE_CHANGE_DISALLOWED


def test_a_full_cache_refuses_new_nodes_only():
    home_agent = agent(capacity=1)
    receive(home_agent, update(1))
    effects = receive(home_agent, update(1, care_of=THERE), home=OTHER, care_of=THERE)
    assert answer(effects).status == Status.INSUFFICIENT_RESOURCES
    assert answer(receive(home_agent, update(2, care_of=THERE))).status == Status.ACCEPTED


def test_other_messages_are_dropped_and_counted():
    home_agent = agent()
    assert home_agent.message_received(BindingRefreshRequest(), NODE, AGENT, 0.0) == []
    assert home_agent.message_received(update(1), NODE, OTHER, 0.0) == []
    assert receive(home_agent, update(1), home=IPv6Address("ff02::1")) == []
    assert receive(home_agent, update(1, home_registration=False)) == []
    assert home_agent.dropped == {
        "not-for-a-home-agent": 1,
        "misdirected": 1,
        "bad-home-address": 1,
        "not-a-home-registration": 1,
    }


def test_a_message_of_unknown_type_is_answered_by_an_error():
    (sent,) = agent().message_received(Unrecognised(99), NODE, AGENT, 0.0, HERE)
    error = BindingError(ErrorStatus.UNRECOGNISED_MESSAGE_TYPE, NODE)
    assert sent == SendMobility(AGENT, HERE, error)


def test_data_with_a_home_address_that_is_not_bound_is_answered_by_an_error():
    home_agent = agent()
    receive(home_agent, update(1))
    assert home_agent.home_address_refused(RefusedOption(NODE, HERE, AGENT), 1.0) == []
    (sent,) = home_agent.home_address_refused(RefusedOption(NODE, THERE, AGENT), 1.0)
    assert sent == SendMobility(AGENT, THERE, BindingError(ErrorStatus.UNKNOWN_BINDING, NODE))


# Interception and duplicate address detection (sections 10.3.1 and 10.4.1)


def test_the_home_link_is_told_when_a_binding_begins_and_not_again():
    home_agent = agent()
    assert AnnounceInterception(NODE) in receive(home_agent, update(1))
    assert AnnounceInterception(NODE) not in receive(home_agent, update(2, care_of=THERE))
    receive(home_agent, update(3, 0, None), care_of=None)
    assert AnnounceInterception(NODE) in receive(home_agent, update(4))


def test_only_the_acknowledgement_waits_for_duplicate_address_detection():
    home_agent = agent(detect_duplicates=True)
    bound = BindingChanged(NODE, HERE, 600, AGENT)
    assert receive(home_agent, update(1)) == [bound, DetectDuplicate(NODE)]
    assert home_agent.deadline == 1.0
    assert home_agent.timer_expired(1.0) == [
        AnnounceInterception(NODE),
        SendMobility(AGENT, NODE, BindingAcknowledgement(0, 1, 600), HERE),
    ]
    # Neither a refresh nor a movement tries again.
    assert answer(receive(home_agent, update(2, care_of=THERE), 2.0)).status == Status.ACCEPTED


def test_a_movement_while_duplicates_are_looked_for_is_acknowledged_in_place_of_the_first():
    home_agent = agent(detect_duplicates=True)
    receive(home_agent, update(1))
    moved = BindingChanged(NODE, THERE, 600, AGENT)
    assert receive(home_agent, update(2, care_of=THERE), 0.5, care_of=THERE) == [moved]
    acknowledgement = BindingAcknowledgement(0, 2, 600)
    assert home_agent.timer_expired(1.0)[1:] == [SendMobility(AGENT, NODE, acknowledgement, THERE)]


def test_an_unacknowledged_registration_is_tried_for_duplicates_as_well():
    home_agent = agent(detect_duplicates=True)
    receive(home_agent, update(1, acknowledge=False))
    announced, sent = home_agent.timer_expired(1.0)
    assert announced == AnnounceInterception(NODE)
    assert answer([sent]).status == Status.ACCEPTED


def test_a_stale_update_while_duplicates_are_looked_for_is_refused_at_once():
    home_agent = agent(detect_duplicates=True)
    receive(home_agent, update(9))
    refusal = Status.SEQUENCE_NUMBER_OUT_OF_WINDOW
    assert answer(receive(home_agent, update(9), 0.5)).status == refusal


def test_a_duplicate_on_the_home_link_withdraws_the_binding_and_refuses_the_registration():
    home_agent = agent(detect_duplicates=True)
    receive(home_agent, update(1))
    changed, sent = home_agent.address_claimed(NODE, 0.3)
    assert changed == BindingChanged(NODE, None, 0, AGENT)
    assert answer([sent]).status == Status.DUPLICATE_ADDRESS_DETECTION_FAILED
    assert home_agent.binding(NODE) is None
    assert home_agent.deadline is None


def test_a_claim_to_an_address_whose_detection_is_over_or_never_was_changes_nothing():
    home_agent = agent(detect_duplicates=True)
    receive(home_agent, update(1))
    home_agent.timer_expired(1.0)
    assert home_agent.address_claimed(NODE, 1.1) == []
    assert home_agent.address_claimed(OTHER, 1.1) == []
    assert home_agent.binding(NODE) is not None


def test_a_deletion_ends_the_search_for_duplicates():
    home_agent = agent(detect_duplicates=True)
    receive(home_agent, update(1))
    assert answer(receive(home_agent, update(2, 0))).status == Status.ACCEPTED
    assert home_agent.deadline is None
    assert home_agent.address_claimed(NODE, 0.5) == []
