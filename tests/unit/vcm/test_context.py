"""The MN context database (mobivpn.vcm.context)."""

from ipaddress import IPv6Address

from mobivpn.ipsec.keying import GivenKeys
from mobivpn.vcm.context import (
    Contexts,
    ManagedPair,
    MobileNodeContext,
    RemoveContext,
    StoreContext,
)
from tests.support.company import MN1, MN2, MN3
from tests.support.offers import given, minted

A, B, C = (node.internal_home_address for node in (MN1, MN2, MN3))
FILE_SERVER = IPv6Address("fd00:10::16")
CONTEXT = MobileNodeContext(A, MN1.external_home_address, departure=1)


def managed(generation: int, pair: int = 1) -> ManagedPair:
    sas = minted(generation, pair)
    return ManagedPair(pair, generation, B, sas.backward, sas.forward, given(sas)[0])


def with_context() -> Contexts:
    contexts = Contexts()
    contexts.store(CONTEXT)
    return contexts


def test_a_context_is_stored_when_it_changes_and_only_then():
    contexts = Contexts()
    assert contexts.store(CONTEXT) == [StoreContext(CONTEXT)]
    assert contexts.store(CONTEXT) == []
    assert contexts[A] == CONTEXT
    assert contexts.all() == (CONTEXT,)


def test_a_context_is_removed_once():
    contexts = with_context()
    assert contexts.remove(A) == [RemoveContext(MN1.external_home_address)]
    assert contexts.remove(A) == []
    assert A not in contexts


def test_nodes_are_told_apart_by_who_left_first():
    contexts = Contexts()
    for node in (MN3, MN1, MN2):
        contexts.store(MobileNodeContext(node.internal_home_address, node.external_home_address, 1))
    assert contexts.in_order_of_leaving([A, B, C]) == [C, A, B]


def test_correspondents_add_up():
    contexts = with_context()
    contexts.add_correspondents(A, [B])
    contexts.add_correspondents(A, [FILE_SERVER, B])
    assert contexts[A].correspondents == {B, FILE_SERVER}
    assert contexts.add_correspondents(C, [B]) == []


def test_a_context_names_the_managed_pairs_and_their_secrets():
    contexts = with_context()
    contexts.manage(A, managed(1))
    (stored,) = contexts.manage(A, managed(2))
    assert isinstance(stored, StoreContext)
    assert [pair.generation for pair in stored.context.managed_pairs] == [1, 2]


def test_secrets_that_are_used_no_more_are_dropped():
    contexts = with_context()
    for pair in (managed(1), managed(2), managed(1, pair=2)):
        contexts.manage(A, pair)
    contexts.release(A, 1, up_to_generation=1)
    assert [(p.pair, p.generation) for p in contexts[A].managed_pairs] == [(1, 2), (2, 1)]
    assert contexts.release(A, 1, up_to_generation=1) == []
    assert contexts.release(B, 1, up_to_generation=1) == []


def test_no_secret_is_in_the_repr_of_a_context():
    contexts = with_context()
    pair = managed(1)
    (stored,) = contexts.manage(A, pair)
    assert isinstance(pair.keys, GivenKeys)
    assert repr(pair.keys.inbound) not in repr(stored)
