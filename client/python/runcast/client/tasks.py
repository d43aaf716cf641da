"""Stored definitions of what to run."""

import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TypedDict, Unpack

from runcast.client.connection import Connection
from runcast.client.errors import NotFound
from runcast.client.paging import items
from runcast.client.payload import Parameters, to_payload
from runcast.v1 import run_spec_pb2, task_pb2, task_service_pb2


class TaskFields(TypedDict, total=False):
    """What can be said of a task; everything is optional.

    provider: the name of the provider that it runs.
    parameters: they may be incomplete: a start's are merged over them.
    spec: what its runs go by; `run_spec` makes one. What is not set comes from the provider.
    display_name, description: for a person.
    labels: carried over to its runs, where a start's labels win.
    enabled: whether it may be started.
    """

    provider: str
    parameters: Parameters
    spec: run_spec_pb2.RunSpec
    display_name: str
    description: str
    labels: Mapping[str, str]
    enabled: bool


class Tasks:
    """The tasks of a server: `client.tasks`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def create(
        self,
        task_id: str,
        provider: str,
        parameters: Parameters | None = None,
        *,
        spec: run_spec_pb2.RunSpec | None = None,
        display_name: str = "",
        description: str = "",
        labels: Mapping[str, str] | None = None,
        enabled: bool = True,
        request_id: str = "",
    ) -> task_pb2.Task:
        """Store a task; with an empty `task_id` the server makes one. For the fields see TaskFields. `request_id`
        makes it safe to repeat, also by a later program; by default only this call's own retries are covered."""
        task = task_pb2.Task(
            id=task_id,
            provider=provider,
            input=to_payload(parameters),
            spec=spec,
            display_name=display_name,
            description=description,
            labels=labels,
            enabled=enabled,
        )
        request = task_service_pb2.CreateTaskRequest(task=task, request_id=request_id or str(uuid.uuid4()))
        return (await self._connection.unary(self._connection.tasks.CreateTask, request)).task

    async def get(self, task_id: str) -> task_pb2.Task:
        """The task."""
        request = task_service_pb2.GetTaskRequest(id=task_id)
        return (await self._connection.unary(self._connection.tasks.GetTask, request)).task

    def list(
        self,
        *,
        provider: str = "",
        orphaned: bool = False,
        enabled: bool | None = None,
        labels: Mapping[str, str] | None = None,
        text: str = "",
        limit: int | None = None,
    ) -> AsyncIterator[task_pb2.Task]:
        """The tasks that match all filters, newest first, fetched page by page as the loop goes on; at most `limit`.

        Those of this `provider`; only those whose provider is missing (`orphaned`); those that are switched on, or
        off; with all of these `labels`; with these words in id, name or description.
        """
        chosen = task_pb2.TaskFilter(
            provider=provider, orphaned=orphaned, enabled=enabled, labels=labels, text=text
        )
        request = task_service_pb2.ListTasksRequest(filter=chosen)
        return items(
            self._connection, self._connection.tasks.ListTasks, request, lambda page: page.tasks, limit
        )

    async def update(
        self,
        task_id: str,
        *,
        mask: Sequence[str] | None = None,
        etag: str = "",
        **fields: Unpack[TaskFields],
    ) -> task_pb2.Task:
        """Change the fields that are given, also where they are empty, and leave the others alone; runs that were
        started keep what they have.

        `mask` names fields by their path in the contract instead, such as `spec.timeouts.run`: one that is named and
        not given is cleared. With the `etag` of the task that was read, Aborted where somebody else came first; it is
        also raised, `repeated`, where this call's own first try was stored and its answer lost.
        """
        task = task_pb2.Task(
            id=task_id,
            etag=etag,
            provider=fields.get("provider", ""),
            input=to_payload(fields.get("parameters")),
            spec=fields.get("spec"),
            display_name=fields.get("display_name", ""),
            description=fields.get("description", ""),
            labels=fields.get("labels"),
            enabled=fields.get("enabled", False),
        )
        request = task_service_pb2.UpdateTaskRequest(task=task)
        given = ["input" if name == "parameters" else name for name in fields]
        request.update_mask.paths.extend(given if mask is None else mask)
        return (await self._connection.unary(self._connection.tasks.UpdateTask, request)).task

    async def delete(self, task_id: str) -> None:
        """Remove a task; its runs stay. FailedPrecondition where a schedule starts it."""
        request = task_service_pb2.DeleteTaskRequest(id=task_id)
        try:
            await self._connection.unary(self._connection.tasks.DeleteTask, request)
        except NotFound as error:
            if not error.repeated:
                raise
