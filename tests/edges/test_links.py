"""Link profiles: how long a packet can be under way."""

from dataclasses import replace

import pytest

from topologies.links import DEFAULT_LINKS, LinkProfile, longest_round_trip_ms


def test_the_longest_round_trip_is_through_sg_by_the_home_agent_both_ways():
    there = 30 + 20 + 20 + 15 + 0.2 + 0.2 + 15 + 20 + 20 + 30
    assert 2 * there < longest_round_trip_ms(DEFAULT_LINKS) < 2 * 1.3 * there


@pytest.mark.parametrize("name", sorted(DEFAULT_LINKS.keys() - {"wifi1", "wifi2"}))
def test_a_slow_link_makes_it_longer(name: str):
    slow = {**DEFAULT_LINKS, name: replace(DEFAULT_LINKS[name], delay_ms=1000)}
    assert longest_round_trip_ms(slow) > longest_round_trip_ms(DEFAULT_LINKS) + 2000


@pytest.mark.parametrize(
    ("profile", "qdisc"),
    [
        (LinkProfile(15, 100), "netem delay 15ms rate 100mbit limit 100000"),
        (LinkProfile(15, 0), "netem delay 15ms limit 100000"),
        (LinkProfile(0, 0), "pfifo_fast"),
    ],
)
def test_a_rate_of_0_is_no_limit(profile: LinkProfile, qdisc: str):
    assert list(profile.qdiscs("d")) == [f"qdisc replace dev d root {qdisc}"]
