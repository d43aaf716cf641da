"""Answers what executing code asks of its children: to start one, and to wait for them."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec

from runcast.server.engine.journal import Journal
from runcast.server.engine.owned import OwnedRun
from runcast.server.engine.request import Start
from runcast.server.engine.starting import Starter
from runcast.server.model import attempts
from runcast.server.model.call import (
    Answer,
    ChildEnd,
    ChildrenEnded,
    ChildStarted,
    Question,
    StartChild,
)
from runcast.server.model.change import Change
from runcast.server.model.errors import AlreadyExists, Fenced, NotFound
from runcast.server.model.run import ParentClose, Payload, Run
from runcast.server.notifier.abc import Notifier

_LOOKS_A_SECOND = 200
_LONGEST_LOOK = 5.0
_ANSWER = 4 << 20
_HIGHEST = 2**31 - 1
# As much of the parent's id as tells its time: what is created together lies together in a store.
_TIME = 17


class Children:
    """The children of the runs that execute here, as their code sees them."""

    def __init__(self, starter: Starter, journal: Journal, notifier: Notifier) -> None:
        self._starter = starter
        self._journal = journal
        self._notifier = notifier

    async def answer(self, owned: OwnedRun, question: Question) -> Answer:
        """What came of it. As Starter.start; NotFound for whoever is no child of the run; Fenced."""
        if isinstance(question, StartChild):
            return await self._start(owned.run, question)
        async with _beating(owned):
            wait = self._first if question.any else self._all
            return ChildrenEnded(await wait(owned, question.run_ids))

    async def _start(self, parent: Run, asked: StartChild) -> ChildStarted:
        """Once for each key, whichever attempt asks: the key decides the child's id, and its request's."""
        start = child_of(parent, asked)
        started = await self._starter.start(start)
        if started.run.definition.parent_run != parent.id:
            message = (
                f"run {start.run_id!r} exists and is no child of {parent.id}: give this child another key"
            )
            raise AlreadyExists("run", start.run_id, message, reason="RUN_ID_TAKEN")
        return ChildStarted(started.run.id, started.created)

    async def _all(self, owned: OwnedRun, run_ids: Sequence[str]) -> tuple[ChildEnd, ...]:
        ends: list[ChildEnd] = []
        size = 0
        for run_id in run_ids:
            ends.append(_end_of(await self._final(owned, run_id, _LONGEST_LOOK)))
            size += len(ends[-1].output)
            if size > _ANSWER:
                break
        return tuple(ends)

    async def _first(self, owned: OwnedRun, run_ids: Sequence[str]) -> tuple[ChildEnd, ...]:
        look = max(_LONGEST_LOOK, len(run_ids) / _LOOKS_A_SECOND)
        waiting = [asyncio.ensure_future(self._final(owned, run_id, look)) for run_id in run_ids]
        try:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            return tuple(_end_of(one.result()) for one in waiting if one in done)[:1]
        finally:
            for one in waiting:
                one.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def _final(self, owned: OwnedRun, run_id: str, look: float) -> Run:
        """The child once it has ended; looked at now and then, for it may execute on another server."""
        with self._notifier.subscribe(run_id, final_only=True) as news:
            while True:
                run = await self._journal.get(run_id)
                if run.definition.parent_run != owned.run.id:
                    raise NotFound("run", run_id, f"among the children of {owned.run.id}")
                if run.state.final:
                    return run
                if owned.over:
                    raise Fenced(f"run {owned.run.id} executes here no more")
                await news.wait(look)


def child_of(parent: Run, asked: StartChild) -> Start:
    """The start of a child. It goes before runs like its parent: what has begun ends before more begins."""
    # Its creation too: where a parent was deleted and another one has its id, their children are not the same.
    whose = f"{parent.id}\0{parent.create_time}\0{asked.key}"
    name = hashlib.blake2b(whose.encode(), digest_size=12).hexdigest()
    asks = (asked.provider, asked.task, asked.input, sorted(asked.labels.items()), asked.survive)
    return Start(
        provider=asked.provider,
        task=asked.task,
        input=Payload(json=asked.input),
        labels=asked.labels,
        run_id=f"{parent.id[:_TIME]}-{name}",
        use_existing=True,
        request_id=f"child-{name}",
        digest=hashlib.blake2b(msgspec.msgpack.encode(asks), digest_size=16).digest(),
        principal=parent.definition.principal,
        trace_parent=parent.definition.trace_parent,
        parent_run=parent.id,
        parent_close=ParentClose.SURVIVE if asked.survive else ParentClose.CANCEL,
        least_priority=min(parent.spec.priority + 1, _HIGHEST),
    )


def _end_of(run: Run) -> ChildEnd:
    outcome = run.outcome
    output = "" if outcome.output is None else outcome.output.json or ""
    return ChildEnd(run.id, run.state, output, outcome.error, outcome.summary)


@asynccontextmanager
async def _beating(owned: OwnedRun) -> AsyncIterator[None]:
    """Code that waits for children cannot report: until it goes on, the engine says for it that it is well."""
    heartbeat = owned.run.spec.timeouts.heartbeat
    if heartbeat is None:
        yield
        return
    beats = asyncio.ensure_future(_beat(owned, heartbeat / 3_000_000))
    try:
        yield
    finally:
        beats.cancel()


async def _beat(owned: OwnedRun, seconds: float) -> None:
    while not owned.over:
        owned.ask(lambda run, now: _well(run, owned.attempt, now)).add_done_callback(_heard)
        await asyncio.sleep(seconds)


def _well(run: Run, attempt: int, now: int) -> Change:
    return attempts.report(run, attempt, (), now)


def _heard(answer: "asyncio.Future[Run]") -> None:
    """A run that ends meanwhile needs no beat."""
    if not answer.cancelled():
        answer.exception()
