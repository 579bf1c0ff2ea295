"""The ordered difference of two databases (mobivpn.ipsec.databases)."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobivpn.errors import CallerError
from mobivpn.ipsec.databases import Put, Rank, Remove, databases, difference


@dataclass(frozen=True, slots=True)
class Slot:
    """The least that is an entry."""

    identity: int
    rank: Rank
    value: int = 0


ENTRIES = st.builds(
    Slot, st.integers(0, 8), st.just(Rank.POLICY) | st.just(Rank.ROUTE), st.integers(0, 3)
)
DATABASES = st.lists(ENTRIES, unique_by=lambda slot: slot.identity).map(databases)


def test_nothing_changes_between_equals():
    same = databases([Slot(1, Rank.POLICY)])
    assert difference(same, same) == ()


def test_policies_come_before_routes_and_go_after_them():
    policy, route = Slot(1, Rank.POLICY), Slot(2, Rank.ROUTE)
    both = databases([route, policy])
    assert difference((), both) == (Put(policy), Put(route))
    assert difference(both, ()) == (Remove(route), Remove(policy))


def test_what_is_new_stands_before_what_is_old_goes():
    old, new = Slot(1, Rank.ASSOCIATION), Slot(2, Rank.ROUTE)
    assert difference(databases([old]), databases([new])) == (Put(new), Remove(old))


def test_an_entry_of_the_same_identity_is_replaced_in_place():
    before, after = Slot(1, Rank.POLICY, 1), Slot(1, Rank.POLICY, 2)
    assert difference(databases([before]), databases([after])) == (Put(after, before),)


def test_two_different_entries_for_one_slot_are_refused():
    with pytest.raises(CallerError):
        databases([Slot(1, Rank.POLICY, 1), Slot(1, Rank.POLICY, 2)])
    assert databases([Slot(1, Rank.POLICY), Slot(1, Rank.POLICY)]) == (Slot(1, Rank.POLICY),)


@given(DATABASES, DATABASES)
def test_carrying_out_a_difference_leads_from_one_to_the_other(
    before: tuple[Slot, ...], after: tuple[Slot, ...]
):
    kernel = {entry.identity: entry for entry in before}
    for change in difference(before, after):
        slot = change.entry
        assert isinstance(slot, Slot)
        if isinstance(change, Remove):
            assert kernel.pop(slot.identity) == slot
        else:
            assert kernel.get(slot.identity) == change.before
            kernel[slot.identity] = slot
    assert kernel == {entry.identity: entry for entry in after}
