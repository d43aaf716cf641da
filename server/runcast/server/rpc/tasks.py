"""TaskService: keeping stored definitions of what to run."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace

from runcast.server.engine.engine import Engine
from runcast.server.model.errors import InvalidArgument
from runcast.server.model.run import Page, Payload
from runcast.server.model.task import Task, TaskFilter
from runcast.server.rpc import pages, specs
from runcast.server.rpc.handlers import Context
from runcast.server.rpc.messages import payload_message, timestamp
from runcast.server.rpc.requests import input_of
from runcast.server.rpc.units import bounded
from runcast.v1 import task_pb2
from runcast.v1 import task_service_pb2 as pb

_PLAIN = ("display_name", "description", "provider", "input", "enabled", "labels")
_OUTPUT = ("id", "orphaned", "etag", "generation", "create_time", "update_time")
_CHANGEABLE = (*_PLAIN, *(f"spec.{path}" for path in specs.PATHS))
_MASK, _LABELS, _TEXT = 64, 64, 255


class TaskServicer:
    """The RPCs of TaskService."""

    def __init__(self, engine: Engine) -> None:
        self._tasks = engine.tasks

    async def CreateTask(self, request: pb.CreateTaskRequest, context: Context) -> pb.CreateTaskResponse:  # noqa: N802
        """Store one."""
        task = await self._tasks.create(
            task_of(request.task), request_id=request.request_id, digest=_digest(request)
        )
        return pb.CreateTaskResponse(task=self._message(task))

    async def GetTask(self, request: pb.GetTaskRequest, context: Context) -> pb.GetTaskResponse:  # noqa: N802
        """One task."""
        return pb.GetTaskResponse(task=self._message(await self._tasks.get(_id_of(request.id, "id"))))

    async def ListTasks(self, request: pb.ListTasksRequest, context: Context) -> pb.ListTasksResponse:  # noqa: N802
        """A page of tasks, cut by count and by bytes."""
        position = pages.position_of(request, request.page_token, int, str)
        page = Page(pages.size_of(request.page_size), (position[0], position[1]) if position else None)
        found = await self._tasks.list(_filter_of(request.filter), page)
        response, behind = pb.ListTasksResponse(), found.behind
        response.tasks.extend(pages.fitting(self._message(task) for task in found.tasks))
        if len(response.tasks) < len(found.tasks):
            last = found.tasks[len(response.tasks) - 1]
            behind = (last.create_time, last.id)
        if behind is not None:
            response.next_page_token = pages.token_for(request, *behind)
        return response

    async def UpdateTask(self, request: pb.UpdateTaskRequest, context: Context) -> pb.UpdateTaskResponse:  # noqa: N802
        """Change the masked fields."""
        task_id = _id_of(request.task.id, "task.id")
        task = await self._tasks.update(task_id, change_of(request), request.task.etag)
        return pb.UpdateTaskResponse(task=self._message(task))

    async def DeleteTask(self, request: pb.DeleteTaskRequest, context: Context) -> pb.DeleteTaskResponse:  # noqa: N802
        """Remove one."""
        await self._tasks.delete(_id_of(request.id, "id"))
        return pb.DeleteTaskResponse()

    def _message(self, task: Task) -> task_pb2.Task:
        return task_message(task, orphaned=self._tasks.orphaned(task))


def _id_of(task_id: str, field: str) -> str:
    if not task_id:
        raise InvalidArgument.of(field, "required: the id of a task, as CreateTask answers it")
    return task_id


def task_of(message: task_pb2.Task) -> Task:
    """A task as it is stated; what is output only is not read."""
    return Task(
        id=message.id,
        version=0,
        create_time=0,
        update_time=0,
        provider=message.provider,
        display_name=message.display_name,
        description=message.description,
        input=_parameters(message),
        spec=specs.stated(message.spec, "task.spec"),
        enabled=message.enabled,
        labels=_labels(message.labels, "task.labels"),
    )


def task_message(task: Task, *, orphaned: bool) -> task_pb2.Task:
    """A task; fields of the spec that it leaves to its provider are unset."""
    return task_pb2.Task(
        id=task.id,
        display_name=task.display_name,
        description=task.description,
        provider=task.provider,
        input=payload_message(task.input) if task.input.json else None,
        spec=specs.partial_message(task.spec) if task.spec else None,
        enabled=task.enabled,
        orphaned=orphaned,
        labels=task.labels,
        etag=task.etag,
        generation=task.generation,
        create_time=timestamp(task.create_time),
        update_time=timestamp(task.update_time),
    )


def change_of(request: pb.UpdateTaskRequest) -> Callable[[Task], Task]:
    """What the request makes of the task as it is then: other fields stay as they are."""
    paths = _paths_of(list(request.update_mask.paths), request.task)
    wanted = task_of(request.task)
    plain: dict[str, Any] = {path: getattr(wanted, path) for path in paths if path in _PLAIN}
    inner = [path.removeprefix("spec.") for path in paths if path not in _PLAIN]

    def change(task: Task) -> Task:
        return replace(task, **plain, spec=specs.replaced(task.spec, wanted.spec, inner))

    return change


def _paths_of(mask: Sequence[str], task: task_pb2.Task) -> list[str]:
    """The changeable fields that a mask names; without one, those that are set."""
    bounded("update_mask", len(mask), _MASK)
    if not mask:
        there = {field.name for field, _ in task.ListFields()}
        return [path for path in _PLAIN if path in there] + [
            f"spec.{path}" for path in specs.PATHS if specs.is_set(task.spec, path)
        ]
    if "*" in mask:
        return [*_CHANGEABLE]
    paths: list[str] = []
    for wanted in dict.fromkeys(mask):
        found = [path for path in _CHANGEABLE if path == wanted or path.startswith(f"{wanted}.")]
        if not found:
            what = "cannot be changed" if wanted in _OUTPUT else "is not a field of a task"
            expected = f"{wanted[:80]!r} {what}; there are *, {', '.join(_CHANGEABLE)}"
            raise InvalidArgument.of("update_mask", expected)
        paths.extend(found)
    return paths


def _parameters(message: task_pb2.Task) -> Payload:
    return input_of(message.input, "task.input") if message.HasField("input") else Payload(json="")


def _labels(labels: Any, field: str) -> dict[str, str]:
    bounded(field, len(labels), _LABELS)
    return dict(labels)


def _filter_of(message: task_pb2.TaskFilter) -> TaskFilter:
    if len(message.text) > _TEXT:
        raise InvalidArgument.of("filter.text", f"{len(message.text):,} characters; at most {_TEXT}")
    return TaskFilter(
        provider=message.provider,
        orphaned=message.orphaned,
        enabled=message.enabled if message.HasField("enabled") else None,
        labels=_labels(message.labels, "filter.labels"),
        text=message.text,
    )


def _digest(request: pb.CreateTaskRequest) -> bytes:
    """What tells requests of one id apart, also from those of other calls."""
    raw = request.DESCRIPTOR.full_name.encode() + request.SerializeToString(deterministic=True)
    return hashlib.blake2b(raw, digest_size=16).digest()
