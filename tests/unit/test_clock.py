"""Deadlines and back-off (mobivpn.clock)."""

import pytest

from mobivpn.clock import Backoff, Timers, earliest
from mobivpn.errors import CallerError


def test_the_deadline_is_the_earliest_of_all_timers():
    timers = Timers[str]()
    assert timers.deadline is None
    timers.set("late", 5.0)
    timers.set("early", 2.0)
    assert timers.deadline == 2.0


def test_setting_a_timer_again_moves_it():
    timers = Timers[str]()
    timers.set("a", 1.0)
    timers.set("a", 3.0)
    assert timers.pop_due(2.0) == []
    assert "a" in timers


def test_due_timers_come_out_once_and_in_order_of_their_deadlines():
    timers = Timers[str]()
    timers.set("second", 2.0)
    timers.set("first", 1.0)
    timers.set("later", 9.0)
    assert timers.pop_due(2.0) == ["first", "second"]
    assert timers.pop_due(2.0) == []
    assert timers.deadline == 9.0


def test_a_timer_that_another_due_one_cancels_does_not_come_out():
    timers = Timers[str]()
    timers.set("second", 2.0)
    timers.set("first", 1.0)
    timers.set("later", 9.0)
    assert timers.pop_next(2.0) == "first"
    timers.cancel("second")
    assert timers.pop_next(2.0) is None
    assert Timers[str]().pop_next(2.0) is None


def test_cancelling_is_idempotent():
    timers = Timers[str]()
    timers.set("a", 1.0)
    timers.cancel("a")
    timers.cancel("a")
    assert timers.deadline is None


def test_intervals_double_up_to_the_maximum():
    backoff = Backoff(initial_s=1.0, maximum_s=5.0)
    assert [backoff.interval_s(sent) for sent in (1, 2, 3, 4, 5)] == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_a_backoff_without_end_stays_at_its_greatest_interval():
    assert Backoff(1.0, 32.0).interval_s(10**6) == 32.0


def test_a_bounded_backoff_is_exhausted_after_its_attempts():
    assert not Backoff(1.0, 2.0, attempts=3).exhausted(2)
    assert Backoff(1.0, 2.0, attempts=3).exhausted(3)
    assert not Backoff(1.0, 2.0).exhausted(10**6)


@pytest.mark.parametrize(("initial", "maximum"), [(0.0, 1.0), (2.0, 1.0), (-1.0, 1.0)])
def test_a_backoff_that_could_not_grow_is_refused(initial: float, maximum: float):
    with pytest.raises(CallerError):
        Backoff(initial, maximum)


def test_the_earliest_deadline_is_found_among_objects_that_have_none():
    assert earliest([None, 3.0, 1.0, None]) == 1.0
    assert earliest([None]) is None
