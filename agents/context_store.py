"""The VCM's MN context database on disk (SQLite): secrets are in it, so only its owner reads it."""

import json
import os
import sqlite3
from ipaddress import IPv6Address
from pathlib import Path

from mobivpn.vcm.context import ManagedPair, MobileNodeContext

TABLES = """
CREATE TABLE IF NOT EXISTS context (
    internal_home_address TEXT PRIMARY KEY,
    external_home_address TEXT NOT NULL,
    departure INTEGER NOT NULL,
    correspondents TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS managed_sa (
    internal_home_address TEXT NOT NULL REFERENCES context ON DELETE CASCADE,
    pair INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    peer TEXT NOT NULL,
    direction TEXT NOT NULL,
    spi INTEGER NOT NULL,
    algorithm TEXT NOT NULL,
    secret BLOB NOT NULL,
    PRIMARY KEY (internal_home_address, pair, generation, direction)
);
"""


class ContextStore:
    """Keeps contexts; mode 0600 from its first byte on."""

    def __init__(self, path: Path) -> None:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
        self._database = sqlite3.connect(path)
        self._database.execute("PRAGMA foreign_keys = ON")
        # Secrets that are removed are overwritten.
        self._database.execute("PRAGMA secure_delete = ON")
        self._database.executescript(TABLES)

    def store(self, context: MobileNodeContext) -> None:
        """Write a context in place of an earlier one."""
        node = str(context.internal_home_address)
        with self._database as database:
            database.execute("DELETE FROM context WHERE internal_home_address = ?", (node,))
            database.execute(
                "INSERT INTO context VALUES (?, ?, ?, ?)",
                (
                    node,
                    str(context.external_home_address),
                    context.departure,
                    json.dumps(sorted(map(str, context.correspondents))),
                ),
            )
            database.executemany(
                "INSERT INTO managed_sa VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [row for pair in context.managed_pairs for row in _rows(node, pair)],
            )

    def remove(self, internal_home_address: IPv6Address) -> None:
        """Remove a context and its secrets."""
        with self._database as database:
            database.execute(
                "DELETE FROM context WHERE internal_home_address = ?",
                (str(internal_home_address),),
            )


def _rows(node: str, pair: ManagedPair) -> list[tuple[object, ...]]:
    return [
        (
            node,
            pair.pair,
            pair.generation,
            str(pair.peer_internal_home_address),
            direction,
            int(sa.spi),
            sa.algorithm.value,
            sa.key,
        )
        for direction, sa in (("inbound", pair.inbound), ("outbound", pair.outbound))
    ]
