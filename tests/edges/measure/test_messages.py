"""One row for each time that a message was sent, however often a capture shows it."""

from ipaddress import IPv6Address

import pytest

from experiments.measure.messages import read_messages
from experiments.measure.observe import MessageSighting, Observations
from experiments.measure.timeline import read_timeline
from experiments.network_plan import NetworkPlan

MN1, MN2 = (IPv6Address(f"2001:db8:ee::d{number}").packed for number in (1, 2))
HOME_TEST_INIT = bytes((59, 1, 1, 0, 0, 0)) + bytes(10)


def sighting(at_ms: float, link: str, hop_limit: int = 64) -> MessageSighting:
    ends = (MN1, MN2)
    return MessageSighting(
        round(at_ms * 1e6), link, "mobility", *ends, ends, hop_limit, HOME_TEST_INIT
    )


@pytest.mark.parametrize(
    ("seen", "links"),
    [
        # By way of r22, on whose link to the LAN it is seen coming and going.
        (
            [("mn1", 64), ("r22-lan", 64), ("r22-lan", 63), ("mn2", 63)],
            [["mn1", "r22-lan", "r22-lan", "mn2"]],
        ),
        (
            [("mn1", 64), ("r22-lan", 64), ("mn1", 64), ("r22-lan", 64)],
            [["mn1", "r22-lan"], ["mn1", "r22-lan"]],
        ),
    ],
    ids=["routed back to the LAN", "sent again"],
)
def test_a_message_that_r22_routes_back_to_the_lan_was_sent_once(
    plan: NetworkPlan, seen: list[tuple[str, int]], links: list[list[str]]
) -> None:
    found = [sighting(number, link, hops) for number, (link, hops) in enumerate(seen)]
    messages = read_messages(
        Observations(messages=found), plan, read_timeline([], plan.access_networks), []
    )
    assert [message.links for message in messages] == links
    assert {message.name for message in messages} == {"HomeTestInit"}
