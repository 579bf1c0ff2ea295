"""The table of a registration's phases (mobivpn.mip6.registration)."""

import pytest

from mobivpn.errors import IllegalTransition
from mobivpn.mip6.registration import (
    TRANSITIONS,
    Input,
    Phase,
    StaticAuthorisation,
    advance,
)


def test_the_table_says_where_a_registration_goes():
    assert advance(Phase.UPDATING, Input.ACCEPTED) is Phase.REGISTERED


def test_a_pair_that_is_not_in_the_table_is_an_error():
    with pytest.raises(IllegalTransition, match="accepted while registered"):
        advance(Phase.REGISTERED, Input.ACCEPTED)


def test_every_phase_but_the_first_can_be_reached_and_idle_is_the_end():
    assert set(TRANSITIONS.values()) == set(Phase)
    assert not [phase for phase, _ in TRANSITIONS if phase is Phase.IDLE]


def test_a_movement_is_taken_in_every_phase_of_a_live_registration():
    for phase in set(Phase) - {Phase.IDLE}:
        for given in (Input.ATTACHED, Input.ATTACHED_BOUND, Input.DETACHED):
            assert (phase, given) in TRANSITIONS


def test_a_peer_is_optimised_from_the_first_acknowledgement_or_the_update_after_a_movement():
    assert {phase for phase in Phase if phase.optimised} == {
        Phase.REGISTERED,
        Phase.RENEWING,
        Phase.REFRESHING,
        Phase.MOVING,
    }


def test_an_update_is_announced_before_it_is_acknowledged():
    announced = {phase for phase in Phase if phase.announced and not phase.optimised}
    assert announced == {Phase.UPDATING, Phase.DEREGISTERING}


def test_a_given_key_does_not_show_when_printed():
    assert "secret" not in repr(StaticAuthorisation(b"secret"))
