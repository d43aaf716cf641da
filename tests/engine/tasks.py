"""Tasks for tests."""

from typing import Any

from runcast.server.model.run import Payload
from runcast.server.model.task import Task


def task(task_id: str = "", provider: str = "work", json: str = "", **fields: Any) -> Task:
    """A task to create, switched on."""
    fields = {"enabled": True, **fields}
    return Task(task_id, 0, 0, 0, provider, input=Payload(json=json), **fields)
