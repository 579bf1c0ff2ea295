"""The loop of every agent (agents.driver), with a real clock and a pipe."""

import os
import time

import pytest

from agents.driver import Driver


class Stop(Exception):
    """Ends the loop from within."""


class OneTimer:
    """A core whose timer is due once."""

    def __init__(self, at: float | None) -> None:
        self.deadline = at

    def timer_expired(self, now: float) -> list[str]:
        self.deadline = None
        return ["timer"]


def driver_that_records(core: OneTimer, seen: list[str], delay_s: float = 0.0) -> Driver:
    def handle(effect: str) -> list[str] | None:
        seen.append(effect)
        if effect == "stop":
            raise Stop
        return ["outcome"] if effect == "first" else None

    driver = Driver(core, delay_s)
    driver.on_effect(str, handle)
    return driver


def test_effects_are_carried_out_in_order_and_an_outcome_comes_behind_them():
    seen: list[str] = []
    driver_that_records(OneTimer(None), seen).begin(["first", "second"])
    assert seen == ["first", "second", "outcome"]


def test_what_can_be_read_and_what_is_due_becomes_effects():
    seen: list[str] = []
    driver = driver_that_records(OneTimer(time.monotonic() + 0.01), seen)
    reading, writing = os.pipe()
    driver.on_readable(reading, lambda now: [os.read(reading, 10).decode(), "stop"])
    driver.begin(["begin"])
    os.write(writing, b"read")
    with pytest.raises(Stop):
        driver.run()
    assert seen == ["begin", "read", "stop"]
    os.close(reading)
    os.close(writing)


def test_a_delayed_agent_does_the_same_later_and_in_the_same_order():
    seen: list[str] = []
    driver = driver_that_records(OneTimer(time.monotonic()), seen, delay_s=0.02)
    began = time.monotonic()
    driver.begin(["first", "second"])
    assert seen == []
    driver.begin(["stop"])
    with pytest.raises(Stop):
        driver.run()
    assert seen == ["first", "second", "stop"]
    assert time.monotonic() - began >= 0.02
