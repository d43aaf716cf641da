"""What must hold of a task before it is stored, and what it gives to the runs that are started from it."""

import json
import re
from collections.abc import Container
from functools import lru_cache
from typing import Any

from msgspec.structs import replace

from runcast.server.engine.catalog import Catalog
from runcast.server.engine.request import Start, check, merged, wrong_input, wrong_labels
from runcast.server.model.errors import FailedPrecondition, InvalidArgument, NotFound, Violation
from runcast.server.model.run import Payload, Spec
from runcast.server.model.task import Task

_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_NAME, _DESCRIPTION = 255, 4_096


def check_task(task: Task, catalog: Catalog, providers: Container[str], before: Task | None = None) -> None:
    """InvalidArgument with a violation for each wrong field, NotFound for its provider. Of an update only what it
    changed from `before` is looked at: a switch can be turned whatever became of the provider."""
    wrong = _wrong_words(task)
    if before is None or task.labels != before.labels:
        wrong.extend(wrong_labels(task.labels, "task.labels"))
    if before is None or task.spec != before.spec:
        wrong.extend(_wrong_spec(task))
    moved = before is None or task.provider != before.provider
    known = task.provider in providers
    if before is None or moved or task.input != before.input:
        wrong.extend(_wrong_parameters(task, catalog if known else None))
    if wrong:
        raise InvalidArgument(wrong)
    if moved and not known:
        raise no_provider(task.provider)


def no_provider(name: str) -> NotFound:
    """There is no such provider on this server."""
    return NotFound("provider", name, "`runcast providers ls` lists what this server can run")


def _wrong_words(task: Task) -> list[Violation]:
    wrong: list[Violation] = []
    if not _ID.fullmatch(task.id):
        expected = f"{task.id[:80]!r}: 1 to 63 of a-z 0-9 . _ -, first a letter or digit"
        wrong.append(Violation("task.id", expected))
    if not task.provider:
        wrong.append(Violation("task.provider", "required: the name of a provider"))
    for field, text, most in (
        ("display_name", task.display_name, _NAME),
        ("description", task.description, _DESCRIPTION),
    ):
        if len(text) > most:
            wrong.append(Violation(f"task.{field}", f"{len(text):,} characters; at most {most:,}"))
    return wrong


def _wrong_spec(task: Task) -> list[Violation]:
    try:
        merged(Spec(), task.spec, "task.spec")
    except InvalidArgument as error:
        return [*error.violations]
    return []


def _wrong_parameters(task: Task, catalog: Catalog | None) -> list[Violation]:
    """Without a catalog they are only known to be an object: a start looks at the rest."""
    text = task.input.json or ""
    wrong = wrong_input(task.input)
    if not wrong and text.strip():
        try:
            _object(text)
            if catalog is not None:
                catalog.check_given(task.provider, text)
        except InvalidArgument as error:
            wrong = [*error.violations]
    return [Violation(f"task.{violation.field}", violation.description) for violation in wrong]


def started_from(task: Task, start: Start, providers: Container[str]) -> Start:
    """The start of the task's provider, with the task's parameters and labels where the request does not say otherwise.
    FailedPrecondition where the task cannot be started."""
    if not task.enabled:
        message = f"task {task.id!r} is switched off: set `enabled` to start it"
        raise FailedPrecondition(task.id, message, reason="TASK_DISABLED")
    if task.provider not in providers:
        message = (
            f"task {task.id!r} is orphaned: its provider {task.provider!r} is not registered on this server; "
            "load that provider, or give the task another one"
        )
        raise FailedPrecondition(task.id, message, reason="TASK_ORPHANED", provider=task.provider)
    start = replace(start, provider=task.provider)
    check(start)
    text = _completed(task.input.json or "", start.input.json or "")
    return replace(start, input=Payload(json=text), labels=task.labels | start.labels)


def _completed(stored: str, given: str) -> str:
    """One object over the other, key by key; as it was written where there is only one."""
    if not stored.strip() or not given.strip():
        return given if given.strip() else stored
    text = json.dumps(_stored_object(stored) | _object(given), ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidArgument.of("input", "holds half of a surrogate pair, which is no text") from None
    return text


@lru_cache(maxsize=4)
def _stored_object(text: str) -> dict[str, Any]:
    """A batch of starts has one task as a rule. Not to be changed."""
    return _object(text)


def _object(text: str) -> dict[str, Any]:
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument.of("input", f"must be a JSON object, but is not JSON: {error}") from None
    if not isinstance(given, dict):
        shown = text.strip() if len(text) < 60 else type(given).__name__
        raise InvalidArgument.of("input", f"must be a JSON object, but is {shown}")
    return given
