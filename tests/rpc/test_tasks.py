"""TaskService over the wire: every field there and back, updates by mask, pages, and the errors that it documents."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from runcast.v1 import task_pb2
from tests.rpc.calls import Runs, refusal
from tests.rpc.tasks import FULL, OTHER, PLAIN, SPEC, Tasks, refused, wrong_fields

CHANGED = ("etag", "generation", "update_time")


def at(message: Any, path: str) -> Any:
    """The value at a path with whether it is set, fit to be compared."""
    *parts, name = path.split(".")
    for part in parts:
        message = getattr(message, part)
    there = any(field.name == name for field, _ in message.ListFields())
    value = getattr(message, name)
    if hasattr(value, "SerializeToString"):
        value = value.SerializeToString()
    elif hasattr(value, "items"):
        value = dict(value)
    elif hasattr(value, "extend"):
        value = [*value]
    return there, value


def test_every_field_is_stored_as_it_was_sent(tasks: Tasks) -> None:
    made = tasks.create(**FULL)
    bare = task_pb2.Task.FromString(made.SerializeToString())
    for field in ("id", "etag", "generation", "create_time", "update_time"):
        bare.ClearField(field)
    assert bare == task_pb2.Task(**FULL)
    assert tasks.get(made.id) == made
    assert (made.generation, made.orphaned) == (1, False)
    assert made.create_time == made.update_time
    assert made.etag


def test_what_a_task_leaves_open_stays_unset(tasks: Tasks) -> None:
    made = tasks.create(provider="greet")
    assert not made.HasField("spec")
    assert not made.HasField("input")
    assert not made.enabled
    partial = tasks.create(provider="greet", spec={"timeouts": {"run": {}}})
    assert partial.spec == task_pb2.Task(spec={"timeouts": {"run": {}}}).spec  # type: ignore[arg-type]


def test_what_is_output_only_is_not_read(tasks: Tasks) -> None:
    made = tasks.create(
        provider="greet", orphaned=True, etag="x", generation=9, create_time={"seconds": 1}, update_time={}
    )
    assert (made.orphaned, made.generation) == (False, 1)
    assert made.etag != "x"
    assert made.create_time.seconds > 1_000_000_000
    assert tasks.update(made.id, display_name="n", orphaned=True, generation=9).generation == 2


@pytest.mark.parametrize("path", [*PLAIN, *SPEC])
def test_an_update_that_names_one_field_leaves_all_others(tasks: Tasks, path: str) -> None:
    # What suits one provider does not suit the other: a new provider comes to no parameters, and no other way round.
    before = tasks.create(**{**FULL, "input": OTHER["input"] if path == "provider" else FULL["input"]})
    input_ = {**OTHER["input"], "json": '{"name": "Eve"}'}
    after = tasks.update(before.id, path, **{**OTHER, "input": input_})
    assert at(after, path) == at(task_pb2.Task(**{**OTHER, "input": input_}), path)
    assert at(after, path) != at(before, path)
    for other in ("id", "orphaned", "create_time", *PLAIN, *SPEC):
        if other != path:
            assert at(after, other) == at(before, other), other
    assert tasks.get(before.id) == after
    assert after.generation == 2


@pytest.mark.parametrize("path", [*PLAIN, *SPEC])
def test_a_masked_field_that_is_not_set_is_cleared_alone(tasks: Tasks, path: str) -> None:
    before = tasks.create(**FULL)
    if path == "provider":
        assert wrong_fields(lambda: tasks.update(before.id, path)) == ["task.provider"]
        return
    after = tasks.update(before.id, path)
    assert at(after, path)[0] is False
    for other in [other for other in (*PLAIN, *SPEC) if other != path]:
        assert at(after, other) == at(before, other), other


def test_a_part_of_the_spec_is_replaced_as_a_whole(tasks: Tasks) -> None:
    before = tasks.create(**FULL)
    after = tasks.update(before.id, "spec.timeouts", spec={"timeouts": {"run": {"seconds": 9}}, "queue": "x"})
    assert after.spec.timeouts == task_pb2.Task(spec={"timeouts": {"run": {"seconds": 9}}}).spec.timeouts  # type: ignore[arg-type]
    assert after.spec.retry == before.spec.retry
    assert after.spec.queue == before.spec.queue
    cleared = tasks.update(before.id, "spec")
    assert not cleared.HasField("spec")
    assert cleared.display_name == before.display_name


def test_without_a_mask_the_fields_that_are_set_are_changed(tasks: Tasks) -> None:
    before = tasks.create(**FULL)
    after = tasks.update(before.id, description="new", spec={"retry": {"max_attempts": 9}})
    expected = task_pb2.Task.FromString(before.SerializeToString())
    expected.description, expected.spec.retry.max_attempts = "new", 9
    for field in CHANGED:
        assert at(after, field) != at(before, field)
        expected.ClearField(field)  # type: ignore[arg-type]
        after.ClearField(field)  # type: ignore[arg-type]
    assert after == expected


def test_a_star_changes_all_and_clears_what_is_not_set(tasks: Tasks) -> None:
    before = tasks.create(**FULL)
    after = tasks.update(before.id, "*", provider="echo")
    for path in [path for path in (*PLAIN, *SPEC) if path != "provider"]:
        assert at(after, path)[0] is False
    assert (after.provider, after.id, after.create_time) == ("echo", before.id, before.create_time)


@pytest.mark.parametrize(
    "path",
    [
        "id",
        "etag",
        "generation",
        "orphaned",
        "create_time",
        "nonsense",
        "spec.",
        "spec.timeouts.x",
        "input.json",
    ],
)
def test_a_mask_that_names_what_cannot_be_changed_is_refused(tasks: Tasks, path: str) -> None:
    before = tasks.create(**FULL)
    _, _, details = refused(lambda: tasks.update(before.id, "enabled", path))
    (violation,) = details["BadRequest"].field_violations
    assert violation.field == "update_mask"
    assert path in violation.description
    assert "spec.timeouts.run" in violation.description
    assert tasks.get(before.id) == before


def test_an_etag_that_is_not_the_current_one_is_aborted(tasks: Tasks) -> None:
    before = tasks.create(**FULL)
    after = tasks.update(before.id, "enabled", etag=before.etag)
    code, reason, _ = refused(lambda: tasks.update(before.id, "enabled", etag=before.etag, enabled=True))
    assert (code, reason) == (grpc.StatusCode.ABORTED, "CONFLICT")
    assert tasks.get(before.id) == after


def test_of_many_writers_with_one_etag_exactly_one_wins(tasks: Tasks) -> None:
    task = tasks.create(**FULL)

    def write(number: int) -> task_pb2.Task | None:
        try:
            return tasks.update(task.id, display_name=str(number), etag=task.etag)
        except grpc.RpcError as error:
            if refusal(error)[:2] != (grpc.StatusCode.ABORTED, "CONFLICT"):
                raise
            return None

    with ThreadPoolExecutor(4) as pool:
        for _ in range(30):
            (won,) = [written for written in pool.map(write, range(4)) if written is not None]
            task = tasks.get(task.id)
            assert task == won


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"provider": ""}, ["task.provider"]),
        ({"id": "No Id"}, ["task.id"]),
        ({"labels": {"a b": "", "c": "x" * 257}}, ["task.labels['a b']", "task.labels['c']"]),
        ({"labels": {f"k{n}": "" for n in range(65)}}, ["task.labels"]),
        ({"input": {"json": '{"nmae": "Ada"}'}}, ["task.input.nmae"]),
        ({"input": {"json": '{"name": []}'}}, ["task.input.name"]),
        ({"input": {"data": b"x"}}, ["task.input"]),
        (
            {"spec": {"timeouts": {"run": {"seconds": -1}}, "recovery": 99}},
            ["task.spec.timeouts.run", "task.spec.recovery"],
        ),
        (
            {"spec": {"retry": {"max_attempts": -1, "multiplier": 0.5}}, "display_name": "x" * 256},
            ["task.display_name", "task.spec.retry.max_attempts", "task.spec.retry.multiplier"],
        ),
    ],
)
def test_what_is_wrong_is_named_as_in_the_request(
    tasks: Tasks, fields: dict[str, Any], wrong: list[str]
) -> None:
    before = sum(1 for _ in tasks.all())
    found = wrong_fields(lambda: tasks.create(**{"provider": "greet", **fields}))
    assert sorted(found) == sorted(wrong)
    assert sum(1 for _ in tasks.all()) == before


def test_the_other_errors_are_as_documented(tasks: Tasks) -> None:
    tasks.create(id="taken", provider="greet")
    tasks.create(request_id="r1", provider="greet")
    not_found, exists = grpc.StatusCode.NOT_FOUND, grpc.StatusCode.ALREADY_EXISTS
    calls: list[tuple[Callable[[], object], grpc.StatusCode, str]] = [
        (lambda: tasks.create(provider="nobody"), not_found, "PROVIDER_NOT_FOUND"),
        (lambda: tasks.update("taken", provider="nobody"), not_found, "PROVIDER_NOT_FOUND"),
        (lambda: tasks.create(id="taken", provider="greet"), exists, "TASK_ID_TAKEN"),
        (lambda: tasks.create(request_id="r1", provider="echo"), exists, "REQUEST_ID_REUSED"),
        (lambda: tasks.get("nobody"), not_found, "TASK_NOT_FOUND"),
        (lambda: tasks.update("nobody", "enabled"), not_found, "TASK_NOT_FOUND"),
        (lambda: tasks.delete("nobody"), not_found, "TASK_NOT_FOUND"),
    ]
    for call, code, reason in calls:
        assert refused(call)[:2] == (code, reason)
        assert "ResourceInfo" in refused(call)[2]
    assert wrong_fields(lambda: tasks.get("")) == ["id"]
    assert wrong_fields(lambda: tasks.delete("")) == ["id"]
    assert wrong_fields(lambda: tasks.update("")) == ["task.id"]
    assert wrong_fields(lambda: tasks.create("x" * 129, provider="greet")) == ["request_id"]
    assert wrong_fields(lambda: tasks.list(page_size=-1)) == ["page_size"]
    assert wrong_fields(lambda: tasks.list(page_token="x")) == ["page_token"]
    assert wrong_fields(lambda: tasks.list(filter={"text": "x" * 256})) == ["filter.text"]
    token = tasks.list(page_size=1).next_page_token
    assert wrong_fields(lambda: tasks.list(page_token=token, filter={"orphaned": True})) == ["page_token"]


def test_the_same_request_again_answers_with_the_same_task(tasks: Tasks) -> None:
    first = tasks.create("r2", **FULL)
    tasks.update(first.id, "enabled")
    assert tasks.create("r2", **FULL).id == first.id


def test_a_request_id_counts_for_starts_too(tasks: Tasks, runs: Runs) -> None:
    runs.start("nothing", request_id="r3")
    call = lambda: tasks.create("r3", provider="nothing")  # noqa: E731
    assert refused(call)[:2] == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")


def test_a_thousand_tasks_are_paged_once_each_newest_first_with_others_between(tasks: Tasks) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = {
            task.id
            for task in pool.map(lambda _: tasks.create(provider="greet", labels={"p": "q"}), range(1_000))
        }
    listed: list[task_pb2.Task] = []
    wanted: dict[str, Any] = {"filter": {"labels": {"p": "q"}}, "page_size": 90}
    page = tasks.list(**wanted)
    while True:
        listed.extend(page.tasks)
        if not page.next_page_token:
            break
        tasks.create(provider="greet", labels={"p": "q"})
        page = tasks.list(page_token=page.next_page_token, **wanted)
    ids = [task.id for task in listed]
    assert len(ids) == len(set(ids))
    assert set(ids) == made
    times = [task.create_time.ToMicroseconds() for task in listed]
    assert times == sorted(times, reverse=True)


def test_a_page_of_large_tasks_fits_into_a_response(tasks: Tasks) -> None:
    for _ in range(20):
        large = json.dumps({"value": "x" * 250_000})
        tasks.create(provider="echo", input={"json": large}, labels={"large": ""})
    page = tasks.list(filter={"labels": {"large": ""}})
    assert page.ByteSize() < 4 << 20
    assert sum(1 for _ in tasks.all(filter={"labels": {"large": ""}})) == 20
