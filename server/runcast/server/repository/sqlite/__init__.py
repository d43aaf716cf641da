"""The repository in one SQLite file: durable, for one server, nothing to operate."""

from runcast.server.repository.sqlite.repository import SQLiteRepository as SQLiteRepository
