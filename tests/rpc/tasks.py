"""TaskService with less to write, and two tasks that differ in every field."""

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from google.protobuf import field_mask_pb2

from runcast.v1 import task_pb2, task_service_pb2, task_service_pb2_grpc
from tests.rpc.calls import PATIENCE, refusal, stub_of

tb: Any = task_service_pb2
"""TaskService's messages, made from plain dictionaries."""

FULL: dict[str, Any] = {
    "display_name": "Nightly",
    "description": "Greets at night.",
    "provider": "greet",
    "input": {"content_type": "application/json", "json": '{"name": "Ada"}'},
    "spec": {
        "timeouts": {
            "queue": {"seconds": 1},
            "attempt": {"seconds": 2},
            "run": {"seconds": 0},
            "heartbeat": {"seconds": 4, "nanos": 5_000},
            "cancel_grace": {"seconds": 0},
        },
        "retry": {
            "max_attempts": 3,
            "initial_backoff": {"seconds": 6},
            "max_backoff": {"seconds": 7},
            "multiplier": 1.5,
            "jitter": 0.0,
            "non_retryable_reasons": ["A", "B"],
        },
        "recovery": 2,
        "queue": "night",
        "priority": -3,
        "concurrency_key": "c",
        "rate_limit_key": "r",
        "max_failures": 0,
        "retention": {"seconds": 0},
    },
    "enabled": True,
    "labels": {"team": "x", "env": "test"},
}
OTHER: dict[str, Any] = {
    "display_name": "Other",
    "description": "Does something else.",
    "provider": "echo",
    "input": {"content_type": "application/json", "json": "{}"},
    "spec": {
        "timeouts": {
            "queue": {"seconds": 0},
            "attempt": {"seconds": 12},
            "run": {"seconds": 13},
            "heartbeat": {"seconds": 14},
            "cancel_grace": {"seconds": 15},
        },
        "retry": {
            "max_attempts": 13,
            "initial_backoff": {"seconds": 16},
            "max_backoff": {"seconds": 17},
            "multiplier": 2.5,
            "jitter": 1.0,
            "non_retryable_reasons": ["C"],
        },
        "recovery": 1,
        "queue": "day",
        "priority": 0,
        "concurrency_key": "cc",
        "rate_limit_key": "rr",
        "max_failures": 9,
        "retention": {"seconds": 10},
    },
    "enabled": False,
    "labels": {"team": "y"},
}
PLAIN = [path for path in FULL if path != "spec"]
SPEC = [
    *(f"spec.timeouts.{name}" for name in FULL["spec"]["timeouts"]),
    *(f"spec.retry.{name}" for name in FULL["spec"]["retry"]),
    *(f"spec.{name}" for name in FULL["spec"] if name not in ("timeouts", "retry")),
]


class Tasks:
    """The stub with less to write, and a deadline on every call."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.stub = stub_of(task_service_pb2_grpc.TaskServiceStub, channel)

    def create(self, request_id: str = "", **fields: Any) -> task_pb2.Task:
        request = tb.CreateTaskRequest(task=fields, request_id=request_id)
        task: task_pb2.Task = self.stub.CreateTask(request, timeout=PATIENCE).task
        return task

    def get(self, task_id: str) -> task_pb2.Task:
        task: task_pb2.Task = self.stub.GetTask(tb.GetTaskRequest(id=task_id), timeout=PATIENCE).task
        return task

    def update(self, task_id: str, *paths: str, **fields: Any) -> task_pb2.Task:
        mask = field_mask_pb2.FieldMask(paths=paths) if paths else None
        request = tb.UpdateTaskRequest(task={"id": task_id, **fields}, update_mask=mask)
        task: task_pb2.Task = self.stub.UpdateTask(request, timeout=PATIENCE).task
        return task

    def list(self, **fields: Any) -> Any:
        return self.stub.ListTasks(tb.ListTasksRequest(**fields), timeout=PATIENCE)

    def all(self, **fields: Any) -> Iterator[task_pb2.Task]:
        page = self.list(**fields)
        yield from page.tasks
        while page.next_page_token:
            page = self.list(page_token=page.next_page_token, **fields)
            yield from page.tasks

    def delete(self, task_id: str) -> None:
        self.stub.DeleteTask(tb.DeleteTaskRequest(id=task_id), timeout=PATIENCE)


def refused(call: Callable[[], object]) -> tuple[grpc.StatusCode, str, dict[str, Any]]:
    with pytest.raises(grpc.RpcError) as error:
        call()
    return refusal(error.value)


def wrong_fields(call: Callable[[], object]) -> list[str]:
    code, reason, details = refused(call)
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT")
    return [violation.field for violation in details["BadRequest"].field_violations]
