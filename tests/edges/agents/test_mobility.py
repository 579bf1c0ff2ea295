"""What an agent's mobility socket could not send (agents.mobility)."""

import pytest

from agents import mobility
from agents.mobility import Unsent
from mobivpn.host.mobility_input import RECORDS_APART_S


def test_what_could_not_be_sent_is_told_once_a_second_at_most_by_reason(
    monkeypatch: pytest.MonkeyPatch,
):
    told = list[str]()
    monkeypatch.setattr(mobility.log, "info", lambda text, *values: told.append(text % values))
    unsent = Unsent()
    for number in range(300):
        unsent.count("CareOfTest (Invalid argument)", 10 + number / 100)
    unsent.count("HomeTest (Network is unreachable)", 13 + RECORDS_APART_S)
    assert told == [
        "not sent: 1 x CareOfTest (Invalid argument)",
        "not sent: 100 x CareOfTest (Invalid argument)",
        "not sent: 100 x CareOfTest (Invalid argument)",
        "not sent: 99 x CareOfTest (Invalid argument); 1 x HomeTest (Network is unreachable)",
    ]
