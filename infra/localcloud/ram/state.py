"""What RAM remembers: roles, policies with their versions, and which role has which policy.

The services that enforce policies open the same file and read it; only the RAM service writes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WRITE_WAIT_S = 10.0
_SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS role(
    name TEXT PRIMARY KEY, id TEXT NOT NULL, description TEXT NOT NULL, trust TEXT NOT NULL, created TEXT NOT NULL,
    updated TEXT NOT NULL, session_s INT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS policy(
    name TEXT PRIMARY KEY, description TEXT NOT NULL, created TEXT NOT NULL, updated TEXT NOT NULL,
    current TEXT NOT NULL, last INT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS version(
    policy TEXT NOT NULL REFERENCES policy(name), id TEXT NOT NULL, document TEXT NOT NULL, created TEXT NOT NULL,
    PRIMARY KEY(policy, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS attachment(
    role TEXT NOT NULL REFERENCES role(name), policy TEXT NOT NULL REFERENCES policy(name), at TEXT NOT NULL,
    PRIMARY KEY(role, policy)) WITHOUT ROWID;
COMMIT;
"""
_DOCUMENTS = """
SELECT document FROM attachment
JOIN policy ON policy.name = attachment.policy
JOIN version ON version.policy = policy.name AND version.id = policy.current
WHERE attachment.role = ? ORDER BY policy.name
"""


def path(home: Path) -> Path:
    """The file of the RAM of the local cloud in `home`."""
    return home / "ram" / "ram.db"


def connect(home: Path) -> sqlite3.Connection:
    """A connection for the RAM service, which makes the file where there is none."""
    path(home).parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path(home), timeout=WRITE_WAIT_S, isolation_level=None)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.executescript(_SCHEMA)
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Everything inside happens or nothing does."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.rollback()
        raise
    connection.commit()


def documents(connection: sqlite3.Connection, role: str) -> list[str] | None:
    """The documents in force for a role, or None where there is no such role."""
    if connection.execute("SELECT 1 FROM role WHERE name = ?", (role,)).fetchone() is None:
        return None
    return [document for (document,) in connection.execute(_DOCUMENTS, (role,))]
