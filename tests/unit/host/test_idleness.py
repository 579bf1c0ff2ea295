"""A session that carries nothing is idle (mobivpn.host.idleness)."""

from collections.abc import Hashable

import pytest

from mobivpn.host.associations import Purpose
from mobivpn.host.idleness import Idleness, ReadUse
from tests.support.company import MN2, associations

SAS = associations()[Purpose.NODE_GATEWAY, "mn2"]
PEER = MN2.internal_home_address
PAIR = {PEER: (SAS.forward.spi, SAS.backward.spi)}


def counters(forward: int, backward: int = 7) -> dict[Hashable, int]:
    return {SAS.forward.spi: forward, SAS.backward.spi: backward}


def test_without_pairs_nobody_looks():
    idleness = Idleness(60.0)
    idleness.carriers_changed({}, 0.0)
    assert idleness.deadline is None
    assert idleness.timer_expired(100.0) == []


def test_pairs_are_looked_at_four_times_within_the_idle_time():
    idleness = Idleness(60.0)
    idleness.carriers_changed(PAIR, 0.0)
    assert idleness.deadline == 15.0
    assert idleness.timer_expired(14.9) == []
    assert idleness.timer_expired(15.0) == [ReadUse()]
    idleness.carriers_changed(PAIR, 20.0)
    assert idleness.deadline == 30.0


def test_a_pair_is_idle_when_its_counters_have_stood_still_long_enough():
    idleness = Idleness(60.0)
    assert idleness.use_read(counters(1), PAIR, 0.0) == []
    assert idleness.use_read(counters(1), PAIR, 59.0) == []
    assert idleness.use_read(counters(1), PAIR, 60.0) == [(PEER, 60.0)]


@pytest.mark.parametrize("more", [counters(2, 7), counters(1, 8)])
def test_one_packet_in_either_direction_begins_the_time_anew(more: dict[Hashable, int]):
    idleness = Idleness(60.0)
    idleness.use_read(counters(1), PAIR, 0.0)
    assert idleness.use_read(more, PAIR, 60.0) == []
    assert idleness.use_read(more, PAIR, 119.0) == []
    assert idleness.use_read(more, PAIR, 120.0) == [(PEER, 60.0)]


def test_what_was_known_of_a_pair_goes_with_it():
    idleness = Idleness(60.0)
    idleness.carriers_changed(PAIR, 0.0)
    idleness.use_read(counters(1), PAIR, 0.0)
    idleness.carriers_changed({}, 10.0)
    assert idleness.deadline is None
    assert idleness.use_read(counters(1), PAIR, 60.0) == []
