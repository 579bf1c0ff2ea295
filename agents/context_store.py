"""The VCM's MN context database on disk (SQLite): secrets are in it, so only its owner reads it.

Of nodes that make their own key pairs (`keys = "blind"`), it has the public keys only. Where the
addresses are public, the internal home address is NULL.
"""

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address
from pathlib import Path

from mobivpn.errors import CallerError
from mobivpn.ipsec.keying import GivenKeys
from mobivpn.vcm.context import ManagedPair, MobileNodeContext

TABLES = """
CREATE TABLE IF NOT EXISTS context (
    external_home_address TEXT PRIMARY KEY,
    internal_home_address TEXT,
    departure INTEGER NOT NULL,
    correspondents TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS managed_sa (
    external_home_address TEXT NOT NULL REFERENCES context ON DELETE CASCADE,
    pair INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    peer TEXT NOT NULL,
    direction TEXT NOT NULL,
    spi INTEGER NOT NULL,
    algorithm TEXT NOT NULL,
    secret BLOB,
    own_public_key BLOB,
    peer_public_key BLOB,
    PRIMARY KEY (external_home_address, pair, generation, direction)
);
"""


class ContextStore:
    """Keeps contexts; mode 0600 from its first byte on.

    What cannot be read or written raises CallerError naming the file; the store stays as it was.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
        except OSError as error:
            raise CallerError(f"{path}: {error.strerror}") from error
        self._database = sqlite3.connect(path)
        with self._change() as database:
            database.execute("PRAGMA foreign_keys = ON")
            # Secrets that are removed are overwritten.
            database.execute("PRAGMA secure_delete = ON")
            database.executescript(TABLES)

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._database as database:
                yield database
        except sqlite3.Error as error:
            raise CallerError(f"{self._path}: {error}") from error

    def store(self, context: MobileNodeContext) -> None:
        """Write a context in place of an earlier one."""
        node, internal = str(context.external_home_address), context.internal_home_address
        with self._change() as database:
            database.execute("DELETE FROM context WHERE external_home_address = ?", (node,))
            database.execute(
                "INSERT INTO context VALUES (?, ?, ?, ?)",
                (
                    node,
                    None if internal is None else str(internal),
                    context.departure,
                    json.dumps(sorted(map(str, context.correspondents))),
                ),
            )
            database.executemany(
                "INSERT INTO managed_sa VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [row for pair in context.managed_pairs for row in _rows(node, pair)],
            )

    def remove(self, external_home_address: IPv6Address) -> None:
        """Remove a context and its secrets."""
        with self._change() as database:
            database.execute(
                "DELETE FROM context WHERE external_home_address = ?",
                (str(external_home_address),),
            )


def _rows(node: str, pair: ManagedPair) -> list[tuple[object, ...]]:
    """Return both associations: each with its key, or with the node's part of the agreement."""
    keys = pair.keys
    secrets: tuple[tuple[object, ...], ...]
    if isinstance(keys, GivenKeys):
        secrets = ((keys.inbound, None, None), (keys.outbound, None, None))
    else:
        secrets = 2 * ((keys.own_private_key, keys.own_public_key, keys.peer_public_key),)
    return [
        (
            node,
            pair.pair,
            pair.generation,
            str(pair.peer),
            direction,
            int(sa.spi),
            sa.algorithm.value,
            *secret,
        )
        for direction, sa, secret in zip(
            ("inbound", "outbound"), (pair.inbound, pair.outbound), secrets, strict=True
        )
    ]
