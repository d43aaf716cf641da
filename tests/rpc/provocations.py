"""For every error that the contract promises of an RPC, a call that provokes it, or why nothing can yet."""

import uuid
from collections.abc import Callable, Mapping
from typing import Any, Protocol

Request = Mapping[str, Any]


class World(Protocol):
    """What the calls find: one server for what can go wrong at any time, and one that drains.

    The first knows the task `orphan` and the run `orphaned-run`, whose provider is gone, and the run `trimmed`, whose
    first events are; the second the run `ended`, and `lasting`, which still executes.
    """

    def call(self, name: str, *requests: Request) -> list[Any]:
        """A call to the server that is well."""

    def drained(self, name: str, *requests: Request) -> list[Any]:
        """A call to the server that drains."""

    def lasting(self, provider: str) -> str:
        """A run that executes until the tests are over."""


class Off(str):
    """Nothing can provoke it yet: the RPC that would lead to it answers FEATURE_OFF, which the test shows."""

    __slots__ = ()


Provocation = Callable[[World], object]

QUEUES = Off("QueueService/UpdateQueue")
SCHEDULES = Off("ScheduleService/CreateSchedule")
NOBODY: Request = {"runId": "run_of_nobody"}
WRONG_TOKEN: Request = {"pageToken": "AAAA"}


def some_id(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


def final(world: World, provider: str = "nothing", **fields: Any) -> str:
    """The id of a run that has ended."""
    return str(world.call("RunService/StartRun", {"provider": provider, "wait": "20s", **fields})[0].run.id)


def scheduled(world: World) -> str:
    """The id of a run that waits for a far time."""
    request = {"provider": "nothing", "startAfter": "2099-01-01T00:00:00Z"}
    return str(world.call("RunService/StartRun", request)[0].run.id)


def task(world: World, **fields: Any) -> str:
    """The id of a new task."""
    request = {"task": {"provider": "nothing", "enabled": True, **fields}}
    return str(world.call("TaskService/CreateTask", request)[0].task.id)


def _reused(world: World) -> Request:
    request_id = some_id("request")
    world.call("RunService/StartRun", {"provider": "nothing", "requestId": request_id})
    return {"provider": "echo", "requestId": request_id}


def _taken(world: World) -> Request:
    return {"provider": "nothing", "runId": final(world)}


STARTS: dict[str, Callable[[World], Request] | Off] = {
    "INVALID_ARGUMENT": lambda world: {"provider": "greet", "input": {"json": '{"nmae": 1}'}},
    "PROVIDER_NOT_FOUND": lambda world: {"provider": "nobody"},
    "TASK_NOT_FOUND": lambda world: {"task": "nobody"},
    "RUN_NOT_FOUND": lambda world: {"provider": "nothing", "parentRun": "run_of_nobody"},
    "REQUEST_ID_REUSED": _reused,
    "RUN_ID_TAKEN": _taken,
    "TASK_DISABLED": lambda world: {"task": task(world, enabled=False)},
    "TASK_ORPHANED": lambda world: {"task": "orphan"},
    "PARENT_CLOSED": lambda world: {"provider": "nothing", "parentRun": final(world)},
    "QUEUE_FULL": QUEUES,
    "LIMIT_REACHED": QUEUES,
}
"""What is wrong with a start, however it is sent."""


def _start(name: str, wrap: Callable[[Request], Request]) -> dict[tuple[str, str], Provocation | Off]:
    """The errors of starting for one RPC that starts."""

    def provoke(make: Callable[[World], Request]) -> Provocation:
        return lambda world: world.call(name, wrap(make(world)))

    cells: dict[tuple[str, str], Provocation | Off] = {
        (name, reason): make if isinstance(make, Off) else provoke(make) for reason, make in STARTS.items()
    }
    cells[name, "DRAINING"] = lambda world: world.drained(name, wrap({"provider": "nothing"}))
    return cells


def _unknown_run(*names: str) -> dict[tuple[str, str], Provocation | Off]:
    def provoke(name: str) -> Provocation:
        return lambda world: world.call(name, NOBODY)

    return {(name, "RUN_NOT_FOUND"): provoke(name) for name in names}


def _conflict(world: World) -> object:
    one = task(world)
    etag = world.call("TaskService/GetTask", {"id": one})[0].task.etag
    change = {"task": {"id": one, "etag": etag, "displayName": "first"}, "updateMask": "displayName"}
    world.call("TaskService/UpdateTask", change)
    return world.call("TaskService/UpdateTask", change)


def _task_id_taken(world: World) -> object:
    return world.call("TaskService/CreateTask", {"task": {"id": task(world), "provider": "nothing"}})


def _task_deleted(world: World) -> object:
    request = {"requestId": some_id("request"), "task": {"provider": "nothing"}}
    made = world.call("TaskService/CreateTask", request)[0].task.id
    world.call("TaskService/DeleteTask", {"id": made})
    return world.call("TaskService/CreateTask", request)


def _task_request_reused(world: World) -> object:
    first = {"requestId": some_id("request"), "task": {"provider": "nothing"}}
    world.call("TaskService/CreateTask", first)
    return world.call("TaskService/CreateTask", {**first, "task": {"provider": "echo"}})


def _retry_request_reused(world: World) -> object:
    request_id = some_id("request")
    world.call("RunService/RetryRun", {"runId": final(world), "requestId": request_id})
    return world.call("RunService/RetryRun", {"runId": final(world), "requestId": request_id})


def _run(name: str, **more: Any) -> Callable[[Callable[[World], str]], Provocation]:
    """A call about the run that `of` makes."""
    return lambda of: lambda world: world.call(name, {"runId": of(world), **more})


def _attach(*messages: Request) -> Provocation:
    return lambda world: world.call("RunService/AttachRun", *messages)


CELLS: dict[tuple[str, str], Provocation | Off] = {
    ("ProviderService/GetProvider", "PROVIDER_NOT_FOUND"): lambda world: world.call(
        "ProviderService/GetProvider", {"name": "nobody"}
    ),
    ("ProviderService/ListProviders", "INVALID_ARGUMENT"): lambda world: world.call(
        "ProviderService/ListProviders", WRONG_TOKEN
    ),
    **_start("RunService/StartRun", lambda start: start),
    **_start("RunService/ExecuteRun", lambda start: {"start": start}),
    **_start("RunService/AttachRun", lambda start: {"open": {"start": start}}),
    **_unknown_run(
        "RunService/GetRun",
        "RunService/DeleteRun",
        "RunService/WaitRun",
        "RunService/ListRunEvents",
        "RunService/ListAttempts",
        "RunService/CancelRun",
        "RunService/PauseRun",
        "RunService/ResumeRun",
        "RunService/RetryRun",
        "RunService/WatchRun",
    ),
    ("RunService/AttachRun", "RUN_NOT_FOUND"): _attach({"open": NOBODY}),
    ("RunService/AttachRun", "INVALID_ARGUMENT"): _attach({"detach": {}}),
    ("RunService/AttachRun", "SEQUENCE_AHEAD"): lambda world: world.call(
        "RunService/AttachRun", {"open": {"runId": final(world), "afterSequence": "999"}}
    ),
    ("RunService/BatchStartRuns", "INVALID_ARGUMENT"): lambda world: world.call(
        "RunService/BatchStartRuns", {"requests": []}
    ),
    ("RunService/BatchStartRuns", "DRAINING"): lambda world: world.drained(
        "RunService/BatchStartRuns", {"requests": [{"provider": "nothing"}]}
    ),
    ("RunService/ListRuns", "INVALID_ARGUMENT"): lambda world: world.call("RunService/ListRuns", WRONG_TOKEN),
    ("RunService/DeleteRun", "RUN_STATE"): _run("RunService/DeleteRun")(scheduled),
    ("RunService/WaitRun", "DRAINING"): lambda world: world.drained(
        "RunService/WaitRun", {"runId": "lasting", "timeout": "20s"}
    ),
    ("RunService/ListRunEvents", "SEQUENCE_AHEAD"): _run("RunService/ListRunEvents", afterSequence="999")(
        final
    ),
    ("RunService/ListRunEvents", "INVALID_ARGUMENT"): _run("RunService/ListRunEvents", eventTypes=["nope"])(
        final
    ),
    ("RunService/ListAttempts", "INVALID_ARGUMENT"): _run("RunService/ListAttempts", **WRONG_TOKEN)(final),
    ("RunService/PauseRun", "RUN_STATE"): _run("RunService/PauseRun")(final),
    ("RunService/PauseRun", "NOT_PAUSABLE"): _run("RunService/PauseRun")(
        lambda world: world.lasting("lasts")
    ),
    ("RunService/PauseRun", "NO_CHECKPOINT"): _run("RunService/PauseRun", requireCheckpoint=True)(
        lambda world: world.lasting("stands")
    ),
    ("RunService/ResumeRun", "RUN_STATE"): _run("RunService/ResumeRun")(final),
    ("RunService/RetryRun", "RUN_STATE"): _run("RunService/RetryRun")(scheduled),
    ("RunService/RetryRun", "PROVIDER_NOT_FOUND"): _run("RunService/RetryRun")(lambda world: "orphaned-run"),
    ("RunService/RetryRun", "INVALID_ARGUMENT"): _run("RunService/RetryRun", input={"json": '{"wrong": 1}'})(
        final
    ),
    ("RunService/RetryRun", "NO_CHECKPOINT"): _run("RunService/RetryRun", fromCheckpoint=True)(final),
    ("RunService/RetryRun", "NO_FAILED_TARGETS"): _run("RunService/RetryRun", failedTargetsOnly=True)(final),
    ("RunService/RetryRun", "REQUEST_ID_REUSED"): _retry_request_reused,
    ("RunService/RetryRun", "QUEUE_FULL"): QUEUES,
    ("RunService/RetryRun", "DRAINING"): lambda world: world.drained(
        "RunService/RetryRun", {"runId": "ended"}
    ),
    ("RunService/WatchRun", "INVALID_ARGUMENT"): _run("RunService/WatchRun", eventTypes=["nope"])(final),
    ("RunService/WatchRun", "SEQUENCE_AHEAD"): _run("RunService/WatchRun", afterSequence="999")(final),
    ("RunService/WatchRun", "EVENTS_COMPACTED"): lambda world: world.call(
        "RunService/WatchRun", {"runId": "trimmed", "afterSequence": "1", "requireComplete": True}
    ),
    ("RunService/WatchRun", "LIMIT_REACHED"): QUEUES,
    ("RunService/WatchRuns", "INVALID_ARGUMENT"): lambda world: world.call(
        "RunService/WatchRuns", {"resumeToken": "AAAA"}
    ),
    ("RunService/WatchRuns", "LIMIT_REACHED"): QUEUES,
    ("TaskService/CreateTask", "INVALID_ARGUMENT"): lambda world: world.call(
        "TaskService/CreateTask", {"task": {"id": "Not An Id", "provider": "nothing"}}
    ),
    ("TaskService/CreateTask", "PROVIDER_NOT_FOUND"): lambda world: task(world, provider="nobody"),
    ("TaskService/CreateTask", "TASK_NOT_FOUND"): _task_deleted,
    ("TaskService/CreateTask", "TASK_ID_TAKEN"): _task_id_taken,
    ("TaskService/CreateTask", "REQUEST_ID_REUSED"): _task_request_reused,
    ("TaskService/GetTask", "TASK_NOT_FOUND"): lambda world: world.call(
        "TaskService/GetTask", {"id": "nobody"}
    ),
    ("TaskService/ListTasks", "INVALID_ARGUMENT"): lambda world: world.call(
        "TaskService/ListTasks", WRONG_TOKEN
    ),
    ("TaskService/UpdateTask", "INVALID_ARGUMENT"): lambda world: world.call(
        "TaskService/UpdateTask", {"task": {"id": task(world)}, "updateMask": "generation"}
    ),
    ("TaskService/UpdateTask", "TASK_NOT_FOUND"): lambda world: world.call(
        "TaskService/UpdateTask", {"task": {"id": "nobody", "displayName": "x"}}
    ),
    ("TaskService/UpdateTask", "PROVIDER_NOT_FOUND"): lambda world: world.call(
        "TaskService/UpdateTask", {"task": {"id": task(world), "provider": "nobody"}}
    ),
    ("TaskService/UpdateTask", "CONFLICT"): _conflict,
    ("TaskService/DeleteTask", "TASK_NOT_FOUND"): lambda world: world.call(
        "TaskService/DeleteTask", {"id": "nobody"}
    ),
    ("TaskService/DeleteTask", "TASK_IN_USE"): SCHEDULES,
}
"""(RPC, reason) → what provokes it."""
