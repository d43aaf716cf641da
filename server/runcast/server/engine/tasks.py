"""Stored tasks: kept, found, changed by compare-and-set, and read by whoever starts one."""

from collections.abc import Callable, Sequence
from contextlib import suppress

from msgspec import Struct
from msgspec.structs import replace

from runcast.server.engine.catalog import Catalog
from runcast.server.engine.clock import Clock
from runcast.server.engine.committer import Committer
from runcast.server.engine.defining import check_task
from runcast.server.engine.repeating import KEPT, earlier, made_it, reused
from runcast.server.engine.request import wrong_request_id
from runcast.server.model.change import Group, Known, Request, Saved
from runcast.server.model.document import DocumentChange, Kind
from runcast.server.model.errors import Aborted, AlreadyExists, InvalidArgument, NotFound, RuncastError
from runcast.server.model.run import Page
from runcast.server.model.task import Task, TaskFilter
from runcast.server.repository.abc import Repository
from runcast.server.repository.selection import MOST_WORDS, words

_CHUNK = 100
_LOOKED_AT = 2_000
_BYTES = 4 << 20

Position = tuple[int, str]


class Found(Struct, frozen=True):
    """A part of a list; `behind`: where to go on, None where the list ends."""

    tasks: Sequence[Task]
    behind: Position | None


class Tasks:
    """The stored tasks of all servers of this store, by the providers of this one."""

    def __init__(self, repository: Repository, committer: Committer, catalog: Catalog, clock: Clock) -> None:
        self._repository = repository
        self._committer = committer
        self._catalog = catalog
        self._clock = clock
        self._providers = frozenset(provider.name for provider in catalog.describe())

    def orphaned(self, task: Task) -> bool:
        """Whether the task's provider is not registered here."""
        return task.provider not in self._providers

    async def create(
        self, task: Task, *, request_id: str = "", digest: bytes = b"", principal: str = ""
    ) -> Task:
        """Store a task, once for each request id; an empty id is made, versions and times are set here.

        InvalidArgument, NotFound (provider), AlreadyExists (task or request id).
        """
        if wrong := wrong_request_id(request_id):
            raise InvalidArgument(wrong)
        now = self._clock.now()
        task = replace(
            task, id=task.id or self._clock.new_id("task"), version=0, create_time=now, update_time=now
        )
        request = None
        if request_id:
            request = Request(principal, request_id, digest, task.id, now + KEPT)
        try:
            check_task(task, self._catalog, self._providers)
        except RuncastError:
            made = await earlier(self._committer, request)
            if made is None:
                raise
            return await self._made(made)
        result = await self._committer.save(Group((), request, (DocumentChange(task),)))
        if isinstance(result, Saved):
            return task
        if not isinstance(result, Known):
            message = f"there is a task {task.id!r} already: choose another id, or update that one"
            raise AlreadyExists("task", task.id, message, reason="TASK_ID_TAKEN")
        if result.digest != digest:
            raise reused(request_id)
        return await self._made(result)

    async def _made(self, known: Known) -> Task:
        with suppress(NotFound):
            task = await self.get(known.run_id)
            if made_it(known, task.create_time):
                return task
        raise NotFound(
            "task", known.run_id, "this request made it, and it was deleted since: choose a new request id"
        )

    async def get(self, task_id: str) -> Task:
        """A task as it is committed. NotFound."""
        try:
            return await self._repository.document(Kind.TASK, task_id)
        except NotFound:
            raise NotFound("task", task_id, "ListTasks tells which there are") from None

    async def list(self, filter: TaskFilter, page: Page) -> Found:
        """The tasks that a filter selects, in the page's order; fewer than asked, also none, where it would have to look
        at too much at once. InvalidArgument."""
        wanted = words(filter.text)
        if filter.text and not 0 < len(wanted) <= MOST_WORDS:
            expected = (
                f"{filter.text!r}: 1 to {MOST_WORDS} words of letters and digits, or nothing for any task"
            )
            raise InvalidArgument.of("filter.text", expected)
        found: list[Task] = []
        size, behind = 0, page.after
        for _ in range(_LOOKED_AT // _CHUNK):
            chunk = await self._repository.documents(Kind.TASK, Page(_CHUNK, behind, page.ascending))
            for task in chunk:
                if size > _BYTES:
                    return Found(found, behind)
                if self._selects(filter, wanted, task):
                    if len(found) == page.limit:
                        return Found(found, behind)
                    found.append(task)
                size += len(task.input.json or "") + len(task.description)
                behind = (task.create_time, task.id)
            if len(chunk) < _CHUNK:
                return Found(found, None)
        return Found(found, behind)

    def _selects(self, filter: TaskFilter, wanted: Sequence[str], task: Task) -> bool:
        return (
            filter.provider in ("", task.provider)
            and (not filter.orphaned or self.orphaned(task))
            and filter.enabled in (None, task.enabled)
            and all(task.labels.get(key) == value for key, value in filter.labels.items())
            and (not wanted or _tells_of(wanted, task))
        )

    async def update(self, task_id: str, change: Callable[[Task], Task], etag: str = "") -> Task:
        """The task after `change`, which may be asked again where somebody else came first.

        With an etag: Aborted unless it is the current one. InvalidArgument, NotFound (task or provider).
        """
        while True:
            before = await self.get(task_id)
            if etag and etag != before.etag:
                message = (
                    f"task {task_id!r} was changed meanwhile: read it, decide again, and send its new etag"
                )
                raise Aborted(message, task=task_id, etag=before.etag)
            now = max(self._clock.now(), before.update_time)
            task = replace(change(before), version=before.version + 1, update_time=now)
            check_task(task, self._catalog, self._providers, before)
            if isinstance(await self._committer.save(_group(DocumentChange(task))), Saved):
                return task

    async def delete(self, task_id: str) -> None:
        """Remove a task; its runs stay. NotFound."""
        while True:
            task = await self.get(task_id)
            gone = DocumentChange(replace(task, version=task.version + 1), removed=True)
            if isinstance(await self._committer.save(_group(gone)), Saved):
                return


def _group(change: DocumentChange) -> Group:
    return Group((), documents=(change,))


def _tells_of(wanted: Sequence[str], task: Task) -> bool:
    """Whether every word begins one of the task's."""
    there = words(f"{task.id} {task.display_name} {task.description}")
    return all(any(word.startswith(start) for word in there) for start in wanted)
