"""Every backend against plain dictionaries, by random histories (`--hypothesis-seed` repeats one)."""

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec import structs

from runcast.server.model.change import Change, Group, Known, Part, Request, Result, Saved, Stale
from runcast.server.model.document import Document, DocumentChange, Kind
from runcast.server.model.event import Event
from runcast.server.model.run import (
    Attempt,
    Checkpoint,
    Definition,
    EntityRef,
    Outcome,
    Page,
    Run,
    RunFilter,
    State,
)
from runcast.server.model.task import Task
from tests.repository.builders import NOW, lines
from tests.repository.conftest import BACKENDS, HandClock
from tests.repository.strategies import shapes_of

IDS = st.sampled_from([f"run-{n}" for n in range(6)])
TIMES = st.integers(0, 9)
OWNERS = st.sampled_from(["", "boot-1", "boot-2"])
PROVIDERS = ("echo", "copy")
LABELS = st.dictionaries(st.sampled_from(["a", "b"]), st.sampled_from(["", "x", "y Z"]), max_size=2)
DEFINITIONS = st.builds(
    lambda of, provider, task, labels: structs.replace(of, provider=provider, task=task, labels=labels),
    shapes_of(Definition),
    st.sampled_from(PROVIDERS),
    st.sampled_from(["", "nightly copy"]),
    LABELS,
)
OUTCOMES = st.just(Outcome()) | st.builds(
    lambda of, summary: structs.replace(of, summary=summary),
    shapes_of(Outcome),
    st.sampled_from(["", "all copied", "Z", "x-y"]),
)
REFS = st.builds(EntityRef, st.sampled_from(["file", "user", ""]), st.sampled_from(["", "a", "b"]))
TEXTS = st.sampled_from(["", "cop", "copy", "copied", "x y", "z", "run 1", "ECHO nightly", "all z"])
TASK_IDS = st.sampled_from(["t1", "t2", "t3"])
HOT = st.fixed_dictionaries(
    {
        "state": st.sampled_from(State),
        "owner": OWNERS,
        "wake_time": st.none() | TIMES,
        "queue_time": st.none() | TIMES,
    }
)
REQUESTS = st.none() | st.builds(
    Request, st.sampled_from(["me", ""]), st.sampled_from("xyz"), st.binary(max_size=3), IDS, TIMES
)


class Model:
    """What the interface says, with no thought for speed."""

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self.events: dict[str, list[Event]] = {}
        self.refs: dict[str, set[tuple[str, str]]] = {}
        self.documents: dict[str, Document] = {}
        self.checkpoints: dict[str, Checkpoint] = {}
        self.attempts: dict[str, dict[int, Attempt]] = {}
        self.requests: dict[tuple[str, str], Request] = {}
        self.leases: dict[str, int] = {}

    def save(self, group: Group) -> Result:
        """One group."""
        request = group.request
        if request and (known := self.requests.get((request.principal, request.request_id))):
            return Known(known.run_id, known.digest, known.expire_time)
        before, documents = dict(self.runs), dict(self.documents)
        for change in group.changes:
            run = change.run
            if run.version != (self.runs[run.id].version + 1 if run.id in self.runs else 0):
                self.runs = before
                return Stale(run.id)
            old = self.runs.get(run.id)
            outcome = run.outcome if change.parts & Part.OUTCOME else old.outcome if old else Outcome()
            definition = run.definition if change.parts & Part.DEFINITION or not old else old.definition
            self.runs[run.id] = structs.replace(run, outcome=outcome, definition=definition)
        for written in group.documents:
            one = written.document
            known_one = self.documents.pop(one.id, None)
            if one.version != (known_one.version + 1 if known_one else 0) or (
                written.removed and not known_one
            ):
                self.runs, self.documents = before, documents
                return Stale(one.id)
            if not written.removed:
                self.documents[one.id] = one
        for change in group.changes:
            self.tell(change)
        if request:
            self.requests[request.principal, request.request_id] = request
        return Saved()

    def tell(self, change: Change) -> None:
        """What a change says beside the run."""
        run = change.run
        kept = [*self.events.get(run.id, []), *change.events]
        self.events[run.id] = [event for event in kept if event.sequence >= run.first_sequence]
        told = {(e.body.type, e.body.id) for e in change.events if isinstance(e.body, EntityRef)}
        self.refs[run.id] = self.refs.get(run.id, set()) | told
        if change.checkpoint:
            self.checkpoints[run.id] = change.checkpoint
        self.attempts.setdefault(run.id, {}).update({one.number: one for one in change.closed})

    def remove(self, run_ids: Sequence[str]) -> list[str]:
        """The final ones are gone, with all that is theirs."""
        gone = [one for one in dict.fromkeys(run_ids) if one in self.runs and self.runs[one].state.final]
        for run_id in gone:
            for part in (self.runs, self.events, self.refs, self.checkpoints, self.attempts):
                part.pop(run_id, None)
        return gone

    def search(self, by: RunFilter) -> list[Run]:
        """What the filter selects, newest first."""

        def words(text: str) -> list[str]:
            return text.casefold().replace("-", " ").split()

        def wanted(run: Run) -> bool:
            of = run.definition
            said = words(
                " ".join((run.id, of.provider, of.task, *of.labels, *of.labels.values(), run.outcome.summary))
            )
            touched = [(kind, name) for kind, name in self.refs[run.id] if by.ref and kind == by.ref.type]
            return (
                run.state in (by.states or State)
                and by.provider in ("", of.provider)
                and by.labels.items() <= of.labels.items()
                and (not by.ref or any(by.ref.id in ("", name) for _, name in touched))
                and all(any(one.startswith(word) for one in said) for word in words(by.text))
            )

        found = filter(wanted, self.runs.values())
        return sorted(found, key=lambda run: (run.create_time, run.id), reverse=True)

    def due(
        self, now: int, clock: int, capacity: dict[str, int], limit: int
    ) -> tuple[set[str], list[str], list[str]]:
        """The lost (any `limit` of them), the waking, and the queued beside `limit` of the waking."""
        runs = [*self.runs.values()]
        valid = {owner for owner, expires in self.leases.items() if expires > clock}
        lost = {run.id for run in runs if run.owner and run.state.executing and run.owner not in valid}
        waking = sorted((run.wake_time, n, run.id) for n, run in enumerate(runs) if run.wake_time is not None)
        woken = [run_id for time, _, run_id in waking if time <= now][:limit]
        queued: list[Any] = []
        for provider, free in capacity.items():
            waiting = [
                (-run.spec.priority, -1 if run.queue_time is None else run.queue_time, n, run.id)
                for n, run in enumerate(runs)
                if run.state is State.QUEUED and run.definition.provider == provider and run.id not in woken
            ]
            queued += sorted(waiting)[:free]
        return lost, woken, [entry[-1] for entry in sorted(queued)[:limit]]


class Histories(RuleBasedStateMachine):
    """Every backend does the same, and it is what the model says."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = HandClock()
        self.model = Model()
        self.backends = {name: make(Path(self.folder.name), self.clock) for name, make in BACKENDS.items()}
        self.all("open")

    def teardown(self) -> None:
        """Nothing stays."""
        self.all("close")
        self.loop.close()
        self.folder.cleanup()

    def all(self, verb: str, *args: Any) -> list[Any]:
        """What each backend answers."""
        return [self.loop.run_until_complete(getattr(one, verb)(*args)) for one in self.backends.values()]

    def agree(self, expected: Any, verb: str, *args: Any) -> None:
        """Each backend answers as expected."""
        for name, answer in zip(self.backends, self.all(verb, *args), strict=True):
            assert (list(answer) if isinstance(expected, list) else answer) == expected, name

    @rule(data=st.data())
    def save(self, data: st.DataObject) -> None:
        """One call with a few groups, some of which are stale or known."""
        groups, expected = [], []
        for _ in range(data.draw(st.integers(1, 4), "groups")):
            ids = data.draw(st.lists(IDS, min_size=1, max_size=3), "ids")
            planned = dict(self.model.runs)
            changes = tuple(a_change(data, planned, run_id) for run_id in ids)
            written = tuple(
                a_document_change(data, self.model) for _ in range(data.draw(st.integers(0, 1), "documents"))
            )
            groups.append(Group(changes, data.draw(REQUESTS, "request"), written))
            expected.append(self.model.save(groups[-1]))
        self.agree(expected, "save", groups)

    @rule(boot=OWNERS, ttl=st.integers(1, 9))
    def beat(self, boot: str, ttl: int) -> None:
        """A server lives."""
        self.all("beat", boot, ttl)
        self.model.leases[boot] = self.clock.now + ttl

    @rule(boot=OWNERS)
    def retire(self, boot: str) -> None:
        """A server goes."""
        self.all("retire", boot)
        self.model.leases.pop(boot, None)

    @rule(duration=st.integers(1, 9))
    def pass_time(self, duration: int) -> None:
        """The store's clock moves."""
        self.clock.advance(duration)

    @rule(now=TIMES)
    def prune(self, now: int) -> None:
        """Old request ids go."""
        gone = [key for key, request in self.model.requests.items() if request.expire_time <= now]
        for key in gone:
            del self.model.requests[key]
        self.agree(len(gone), "prune_requests", now)

    @rule()
    def restart(self) -> None:
        """Another server at the same store."""
        self.all("close")
        self.all("open")
        self.model.leases.clear()

    @rule(now=TIMES, free=st.integers(-1, 4), limit=st.integers(1, 7))
    def due(self, now: int, free: int, limit: int) -> None:
        """What has to be done; with room for all, the lost ones are compared whole."""
        capacity = dict.fromkeys(PROVIDERS[: max(free, 0)], free)
        lost, woken, queued = self.model.due(now, self.clock.now, capacity, limit)
        for answer in self.all("due", now, capacity, limit):
            found = [run.id for run in answer]
            head = min(len(lost), limit)
            assert set(found[:head]) <= lost
            rest = [run_id for run_id in dict.fromkeys([*woken, *queued]) if run_id not in found[:head]]
            if not lost:
                assert found == rest
            assert all(run == self.model.runs[run.id] for run in answer)
            assert len(found) == len({*found})

    @rule(run_id=IDS, after=st.integers(0, 12), limit=st.integers(1, 9))
    def events(self, run_id: str, after: int, limit: int) -> None:
        """Any page of any journal."""
        expected = [event for event in self.model.events.get(run_id, []) if event.sequence > after][:limit]
        self.agree(expected, "events", run_id, after, limit)

    @rule(
        by=st.builds(
            RunFilter,
            states=st.just(frozenset()) | st.frozensets(st.sampled_from(State)),
            provider=st.sampled_from(["", "", *PROVIDERS]),
            labels=st.just({}) | LABELS,
            ref=st.none() | REFS,
            text=TEXTS,
        ),
        limit=st.integers(1, 7),
    )
    def list(self, by: RunFilter, limit: int) -> None:
        """A filtered page, and the one behind it."""
        found = self.model.search(by)
        self.agree(found[:limit], "list", by, Page(limit))
        if len(found) > limit:
            behind = Page(limit, (found[limit - 1].create_time, found[limit - 1].id))
            self.agree(found[limit : 2 * limit], "list", by, behind)

    @rule(run_ids=st.lists(IDS, max_size=6))
    def remove(self, run_ids: Sequence[str]) -> None:
        """Some runs are to go, whatever their state."""
        self.agree(self.model.remove(run_ids), "remove", run_ids)

    @rule(limit=st.integers(1, 4), ascending=st.booleans())
    def documents(self, limit: int, ascending: bool) -> None:
        """The first page of all documents."""
        found = sorted(self.model.documents.values(), key=lambda one: (one.create_time, one.id))
        found = (found if ascending else found[::-1])[:limit]
        self.agree(found, "documents", Kind.TASK, Page(limit, ascending=ascending))

    @invariant()
    def every_run_is_what_the_model_has(self) -> None:
        """All of every run and every document."""
        for task_id, task in self.model.documents.items():
            self.agree(task, "document", Kind.TASK, task_id)
        for run_id, run in self.model.runs.items():
            self.agree(run, "get", run_id)
            self.agree(self.model.checkpoints.get(run_id), "checkpoint", run_id)
            self.agree([one for _, one in sorted(self.model.attempts[run_id].items())], "attempts", run_id)


def a_change(data: st.DataObject, planned: dict[str, Run], run_id: str) -> Change:
    """Mostly the next version of what is planned for the run, and sometimes a wrong one; `planned` moves on."""
    before = planned.get(run_id)
    told = data.draw(st.integers(0, 3), "events")
    hot = data.draw(HOT, "hot")
    parts = data.draw(
        st.sampled_from([Part.NONE, Part.OUTCOME, Part.DEFINITION, Part.DEFINITION | Part.OUTCOME]), "parts"
    )
    last = (before.last_sequence if before else 0) + told
    run = Run(
        run_id,
        (before.version + 1 if before else 0)
        + data.draw(st.sampled_from([0, 0, 0, 0, 0, 0, 0, -1, 1]), "slip"),
        create_time=before.create_time if before else data.draw(TIMES, "create_time"),
        first_sequence=data.draw(st.integers(before.first_sequence if before else 1, last + 1), "first"),
        last_sequence=last,
        definition=data.draw(DEFINITIONS, "definition"),
        outcome=data.draw(OUTCOMES, "outcome"),
        **hot,
    )
    if run.version == (before.version + 1 if before else 0):
        planned[run_id] = run
    checkpoint = data.draw(st.none() | shapes_of(Checkpoint), "checkpoint")
    closed = data.draw(st.lists(shapes_of(Attempt), max_size=1).map(tuple), "closed")
    events = [
        structs.replace(line, body=data.draw(st.just(line.body) | REFS, "body"))
        for line in lines(last - told + 1, told)
    ]
    return Change(run, tuple(events), parts, checkpoint, closed)


def a_document_change(data: st.DataObject, model: Model) -> DocumentChange:
    """Mostly the next version of a task, and sometimes a wrong one, or its end."""
    task_id = data.draw(TASK_IDS, "task id")
    before = model.documents.get(task_id)
    slip = data.draw(st.sampled_from([0, 0, 0, 0, -1, 1]), "slip")
    version = (before.version + 1 if before else 0) + slip
    time = before.create_time if before else data.draw(TIMES, "create_time")
    task = Task(task_id, version, time, NOW, data.draw(st.sampled_from(PROVIDERS), "provider"))
    return DocumentChange(task, data.draw(st.sampled_from([False, False, True]), "removed"))


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=100,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[*HealthCheck],
    print_blob=True,
)
