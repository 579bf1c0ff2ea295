"""Counting what is dropped, without letting a flood into the log (mobivpn.host.mobility_input)."""

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from mobivpn.host.effects import Record
from mobivpn.host.mobility_input import RECORDS_APART_S, MobilityInput

NO_HEADER = b"\x3b\0"
WRONG_PAYLOAD = bytes((6, 0, 5, 0, 0, 0, 0, 0))


def told(*reasons: str) -> list[Record]:
    return [Record("mobility_dropped", details=dict(Counter(reasons)))]


def test_a_malformed_header_is_told_by_its_reason():
    given = MobilityInput()
    assert given.read(NO_HEADER) is None
    assert given.drops(5.0) == told("truncated")


def test_what_a_role_counts_is_told_with_it():
    role = Counter({"bad-authenticator": 2})
    given = MobilityInput(role, Counter({"unknown-peer": 1}))
    assert given.drops(0.0) == told("bad-authenticator", "bad-authenticator", "unknown-peer")


def test_within_a_second_drops_are_gathered_and_told_at_its_end():
    given = MobilityInput()
    given.read(NO_HEADER)
    given.drops(0.0)
    assert given.deadline is None
    for data in (NO_HEADER, WRONG_PAYLOAD, NO_HEADER):
        given.read(data)
        assert given.drops(0.5) == []
    assert given.deadline == RECORDS_APART_S
    assert given.drops(1.0) == told("truncated", "payload-protocol", "truncated")
    assert given.drops(1.0) == []


@given(st.lists(st.integers(0, 640), max_size=100).map(sorted))
def test_a_flood_is_told_once_a_second_and_to_the_last_drop(sixty_fourths: list[int]):
    times = [number / 64 for number in sixty_fourths]
    flooded, records = MobilityInput(), list[tuple[float, Record]]()
    for now in times:
        flooded.read(NO_HEADER)
        records += [(now, record) for record in flooded.drops(now)]
    if flooded.deadline is not None:
        end = flooded.deadline
        records += [(end, record) for record in flooded.drops(end)]
    assert flooded.deadline is None
    assert sum(int(str(record.details["truncated"])) for _, record in records) == len(times)
    instants = [at for at, _ in records]
    assert all(later - earlier >= RECORDS_APART_S for earlier, later in pairwise(instants))
