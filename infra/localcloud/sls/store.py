"""What Log Service remembers: projects, their logstores, and a logstore's index."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

from infra.localcloud.sls import errors

_SCHEMA = """
CREATE TABLE IF NOT EXISTS project(name TEXT PRIMARY KEY, description TEXT NOT NULL, created TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS logstore(
    project TEXT NOT NULL, name TEXT NOT NULL, settings TEXT NOT NULL, indexed TEXT, PRIMARY KEY(project, name));
"""

Document = dict[str, Any]


class Store:
    """One database; each statement is one change, so there is nothing to leave half done."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(folder / "sls.db", isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_SCHEMA)

    def create_project(self, name: str, description: str, now: str) -> None:
        """Add a project."""
        try:
            self._db.execute("INSERT INTO project VALUES(?,?,?)", (name, description, now))
        except sqlite3.IntegrityError:
            raise errors.project_exists(name) from None

    def project(self, name: str) -> Document:
        """A project as it was created."""
        row = self._db.execute("SELECT description, created FROM project WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise errors.no_project(name)
        return {"projectName": name, "description": row[0], "createTime": row[1], "lastModifyTime": row[1]}

    def create_logstore(self, project: str, name: str, settings: Document) -> None:
        """Add a logstore to a project."""
        self.project(project)
        try:
            self._db.execute("INSERT INTO logstore VALUES(?,?,?,NULL)", (project, name, json.dumps(settings)))
        except sqlite3.IntegrityError:
            raise errors.logstore_exists(name) from None

    def logstores(self, project: str) -> list[str]:
        """The names of a project's logstores."""
        self.project(project)
        rows = self._db.execute("SELECT name FROM logstore WHERE project = ? ORDER BY name", (project,))
        return [name for (name,) in rows]

    def logstore(self, project: str, name: str) -> Document:
        """A logstore's settings."""
        settings, _ = self._logstore(project, name)
        return settings

    def update_logstore(self, project: str, name: str, settings: Document) -> None:
        """Replace the settings that are given."""
        found, _ = self._logstore(project, name)
        self._set(project, name, "settings", {**found, **settings})

    def index(self, project: str, name: str) -> Document:
        """A logstore's index."""
        _, index = self._logstore(project, name)
        if index is None:
            raise errors.no_index()
        return index

    def create_index(self, project: str, name: str, index: Document) -> None:
        """Give a logstore an index."""
        if self._logstore(project, name)[1] is not None:
            raise errors.index_exists()
        self._set(project, name, "indexed", index)

    def update_index(self, project: str, name: str, index: Document) -> None:
        """Replace a logstore's index."""
        self.index(project, name)
        self._set(project, name, "indexed", index)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _logstore(self, project: str, name: str) -> tuple[Document, Document | None]:
        self.project(project)
        query = "SELECT settings, indexed FROM logstore WHERE project = ? AND name = ?"
        row = self._db.execute(query, (project, name)).fetchone()
        if row is None:
            raise errors.no_logstore(name)
        return json.loads(row[0]), None if row[1] is None else json.loads(row[1])

    def _set(self, project: str, name: str, column: str, value: Document) -> None:
        statement = {
            "settings": "UPDATE logstore SET settings = ? WHERE project = ? AND name = ?",
            "indexed": "UPDATE logstore SET indexed = ? WHERE project = ? AND name = ?",
        }
        self._db.execute(statement[column], (json.dumps(value), project, name))
