"""The MN context database: who may read it, what stays in it, what a damaged or full one does."""

import os
import resource
import signal
import sqlite3
import stat
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from agents.context_store import ContextStore
from mobivpn.errors import CallerError
from mobivpn.ipsec.keying import GivenKeys, KeyAgreement
from mobivpn.variants import KeyScheme
from mobivpn.vcm.context import ManagedPair, MobileNodeContext
from tests.simulation.switch.network import World, two_external_nodes
from tests.support.company import MN1, MN2, MN3
from tests.support.offers import given, minted, planned


def context(generations: tuple[int, ...] = (1,), peers: tuple[IPv6Address, ...] = ()):
    pairs = []
    for generation in generations:
        sas = minted(generation)
        plan, peer = planned(sas), MN2.internal_home_address
        pairs.append(ManagedPair(1, generation, peer, plan.backward, plan.forward, given(sas)[0]))
    return MobileNodeContext(
        MN1.internal_home_address,
        MN1.external_home_address,
        7,
        frozenset(peers),
        tuple(pairs),
    )


def rows(path: Path, query: str) -> list[tuple]:
    with sqlite3.connect(path) as database:
        found = database.execute(query).fetchall()
    database.close()
    return found


def secrets(kept: MobileNodeContext) -> list[bytes]:
    return [key for pair in kept.managed_pairs for key in keys_of(pair)]


def keys_of(pair: ManagedPair) -> tuple[bytes, bytes]:
    assert isinstance(pair.keys, GivenKeys)
    return pair.keys.inbound, pair.keys.outbound


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    before = os.umask(0)
    yield tmp_path / "vcm.sqlite"
    os.umask(before)


def test_only_its_owner_may_read_the_database_or_its_journal(path: Path):
    store = ContextStore(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    store.store(context())
    modes = {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {0o600}


def test_a_context_is_written_whole(path: Path):
    kept = context((1, 2), (MN3.internal_home_address, MN2.internal_home_address))
    ContextStore(path).store(kept)
    assert rows(path, "SELECT * FROM context") == [
        ("2001:db8:ee::d1", "fd00:10::d1", 7, '["fd00:10::d2", "fd00:10::d3"]')
    ]
    query = "SELECT pair, generation, peer, direction, spi, algorithm, secret FROM managed_sa"
    assert sorted(rows(path, query)) == sorted(
        (1, pair.generation, "fd00:10::d2", direction, int(sa.spi), sa.algorithm.value, key)
        for pair in kept.managed_pairs
        for direction, sa, key in zip(
            ("inbound", "outbound"), (pair.inbound, pair.outbound), keys_of(pair), strict=True
        )
    )


def test_with_public_addresses_there_is_no_internal_home_address(path: Path):
    store = ContextStore(path)
    store.store(replace(context(), internal_home_address=None))
    query = "SELECT external_home_address, internal_home_address FROM context"
    assert rows(path, query) == [("2001:db8:ee::d1", None)]
    store.remove(MN1.external_home_address)
    assert rows(path, "SELECT (SELECT count(*) FROM context), count(*) FROM managed_sa") == [(0, 0)]


@pytest.mark.parametrize("private_key", [None, b"\7" * 32])
def test_of_keys_that_nodes_agree_on_it_has_what_the_vcm_knows(
    path: Path, private_key: bytes | None
):
    kept = context((1,))
    (pair,) = kept.managed_pairs
    agreement = KeyAgreement(b"\1" * 32, b"\2" * 32, private_key)
    ContextStore(path).store(replace(kept, managed_pairs=(replace(pair, keys=agreement),)))
    query = "SELECT secret, own_public_key, peer_public_key FROM managed_sa"
    assert rows(path, query) == 2 * [(private_key, b"\1" * 32, b"\2" * 32)]


def test_of_nodes_with_keys_of_their_own_it_never_has_a_secret(path: Path):
    world = World(keys=KeyScheme.BLIND, lifetime_s=20)
    store = ContextStore(path)
    two_external_nodes(world)
    secrets = set[bytes]()
    while world.now < 50:
        world.run_until(world.now + 1)
        secrets.update(world.installed_keys())
        for kept in world.stored.values():
            store.store(kept)
    assert len(rows(path, "SELECT * FROM managed_sa")) == 4
    assert len(secrets) >= 6
    assert not any(secret in path.read_bytes() for secret in secrets)


def test_a_later_context_takes_the_place_of_an_earlier_one(path: Path):
    store, earlier, later = ContextStore(path), context((1,)), context((2,))
    store.store(earlier)
    store.store(later)
    assert rows(path, "SELECT generation FROM managed_sa") == [(2,), (2,)]
    data = path.read_bytes()
    assert not any(secret in data for secret in secrets(earlier))
    assert all(secret in data for secret in secrets(later))


def test_what_is_removed_leaves_no_secret_in_the_file(path: Path):
    store, kept = ContextStore(path), context((1, 2, 3))
    store.store(kept)
    store.remove(MN1.external_home_address)
    assert rows(path, "SELECT (SELECT count(*) FROM context), count(*) FROM managed_sa") == [(0, 0)]
    assert not any(secret in path.read_bytes() for secret in secrets(kept))


def test_a_removal_of_an_unknown_node_is_nothing(path: Path):
    store = ContextStore(path)
    store.remove(MN2.external_home_address)
    store.store(context())
    assert len(rows(path, "SELECT * FROM context")) == 1


def test_an_earlier_start_s_database_is_gone_on_with(path: Path):
    ContextStore(path).store(context())
    ContextStore(path).store(context((5,)))
    assert rows(path, "SELECT DISTINCT generation FROM managed_sa") == [(5,)]


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"no database\n" * 100, "not a database"), (b"\0" * 4096, "not a database")],
)
def test_a_damaged_database_is_named(path: Path, content: bytes, words: str):
    path.write_bytes(content)
    with pytest.raises(CallerError, match=rf"vcm\.sqlite: .*{words}"):
        ContextStore(path)
    assert path.read_bytes() == content


def test_a_missing_folder_is_named(tmp_path: Path):
    with pytest.raises(CallerError, match=r"none/vcm\.sqlite: No such file"):
        ContextStore(tmp_path / "none" / "vcm.sqlite")


def test_where_there_is_no_space_what_stood_there_stays(path: Path):
    store = ContextStore(path)
    store.store(context())
    before = rows(path, "SELECT * FROM managed_sa ORDER BY spi")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, limits[1]))
    try:
        with pytest.raises(CallerError, match=r"vcm\.sqlite: .*(full|I/O)"):
            store.store(context(tuple(range(10, 200))))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert rows(path, "SELECT * FROM managed_sa ORDER BY spi") == before
    store.store(context((300,)))
    assert rows(path, "SELECT DISTINCT generation FROM managed_sa") == [(300,)]
