"""Deliberate bugs, each as a patch at run time, and the test that must catch it: a test that catches none proves nothing.

Long because it is a list.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from runcast.server.engine import (
    attachments,
    committer,
    control,
    engine,
    lease,
    owned,
    pending,
    starting,
    watching,
)
from runcast.server.engine.tail import Batch, Tail
from runcast.server.engine.watching import Watcher
from runcast.server.executor import attempt as executing
from runcast.server.executor import forkserver
from runcast.server.model import attachment, attempts, lifecycle, timers
from runcast.server.model.call import Abandoned
from runcast.server.model.change import Change, Group, Result, Saved
from runcast.server.model.event import AttemptFinished
from runcast.server.model.run import AttemptState, Run, State
from runcast.server.notifier.abc import Subscription
from runcast.server.repository.file import disk
from runcast.server.repository.file import log as file_log
from runcast.server.repository.file import repository as file_store
from runcast.server.repository.sqlite import opening, repository, saving

Patch = Callable[[Any, str, Any], None]
"""Sets an attribute, as `put_in` and pytest's `monkeypatch.setattr` do."""


def put_in(owner: Any, name: str, value: Any) -> None:
    """A patch for good; what it is to replace must be there, or the bug would be none."""
    getattr(owner, name)
    setattr(owner, name, value)


CRASH, ZOMBIES = "crash storm", "zombie storm"


@dataclass(frozen=True)
class Bug:
    """`caught_by` is a test's id; `storm` names a storm that catches it too, given enough kills or freezes."""

    name: str
    means: str
    caught_by: str
    apply: Callable[[Patch], None]
    storm: str = ""


BUGS: list[Bug] = []


def bug(means: str, caught_by: str, storm: str = "") -> Callable[[Callable[[Patch], None]], None]:
    """Add a patch to the list under its function's name."""

    def add(apply: Callable[[Patch], None]) -> None:
        BUGS.append(Bug(apply.__name__.replace("_", "-"), means, f"tests/{caught_by}", apply, storm))

    return add


def named(name: str) -> Bug:
    """The bug of that name."""
    found = [one for one in BUGS if one.name == name]
    if not found:
        raise ValueError(f"no bug {name!r}; there are {', '.join(one.name for one in BUGS)}")
    return found[0]


# The write path.


@bug(
    "watchers are shown what is not durable yet",
    "engine/test_durability.py::test_no_watcher_sees_an_event_before_it_is_durable",
    CRASH,
)
def publish_before_commit(patch: Patch) -> None:
    save = committer.Committer._save

    async def early(self: Any, groups: list[Group]) -> Any:
        publish = self.__dict__.setdefault("_really", self._publish)
        self._publish = lambda _: None
        for group in groups:
            for change in group.changes:
                publish(change)
        return await save(self, groups)

    patch(committer.Committer, "_save", early)


@bug(
    "callers are answered before their change is durable",
    "engine/test_durability.py::test_an_end_is_told_to_nobody_before_it_is_durable",
    CRASH,
)
def acknowledge_before_commit(patch: Patch) -> None:
    save = committer.Committer._save
    later: set[asyncio.Task[Any]] = set()

    async def early(self: Any, groups: list[Group]) -> Any:
        task = asyncio.create_task(save(self, groups))
        later.add(task)
        task.add_done_callback(later.discard)
        return [Saved()] * len(groups)

    patch(committer.Committer, "_save", early)


@bug(
    "a write is stored whatever version is there",
    "repository/test_saving.py::test_any_version_but_the_next_is_stale_and_changes_nothing",
    ZOMBIES,
)
def no_fence(patch: Patch) -> None:
    patch(saving, "_ADVANCE", saving._ADVANCE.replace(" AND runs.version = new.column3 - 1", ""))
    patch(saving.Saver, "_stale_run", lambda *_: None)


@bug(
    "events are numbered by a counter in memory, not by what is committed",
    "engine/test_owning.py::test_a_cancellation_stored_by_another_server_is_obeyed_and_reports_go_on",
)
def sequence_in_memory(patch: Patch) -> None:
    counted: dict[str, int] = {}
    decide = lifecycle.next_version

    def numbered(run: Run, *rest: Any, **fields: Any) -> Change:
        change = decide(run, *rest, **fields)
        begin = max(counted.get(run.id, 0), run.last_sequence)
        events = tuple(replace(event, sequence=begin + n) for n, event in enumerate(change.events, 1))
        counted[run.id] = begin + len(events)
        return replace(change, events=events, run=replace(change.run, last_sequence=counted[run.id]))

    patch(lifecycle, "next_version", numbered)
    patch(attempts, "next_version", numbered)


@bug(
    "a commit is acknowledged while it is only in the kernel's memory",
    "torture/test_power_loss.py::test_what_was_acknowledged_survives_the_loss_of_power[sqlite]",
)
def no_fsync(patch: Patch) -> None:
    prepare = opening._prepare

    def careless(path: Any, connection: Any, *, is_new: bool) -> None:
        prepare(path, connection, is_new=is_new)
        connection.execute("PRAGMA synchronous = OFF")

    patch(opening, "_prepare", careless)


@bug(
    "a lost run is taken back whatever happened to it meanwhile",
    "engine/test_two_servers.py::test_one_run_is_rescued_by_one_server_only",
)
def rescue_without_compare_and_set(patch: Patch) -> None:
    save = repository.SQLiteRepository.save

    async def forced(self: Any, groups: Sequence[Group]) -> Sequence[Result]:
        return await save(self, [await force(self, group) for group in groups])

    async def force(self: Any, group: Group) -> Group:
        if not any(_is_rescue(change) for change in group.changes):
            return group
        (change,) = group.changes
        now = await self.get(change.run.id)
        moved = now.last_sequence - change.run.last_sequence + len(change.events)
        events = tuple(replace(event, sequence=event.sequence + moved) for event in change.events)
        run = replace(change.run, version=now.version + 1, last_sequence=change.run.last_sequence + moved)
        return replace(group, changes=(replace(change, run=run, events=events),))

    patch(repository.SQLiteRepository, "save", forced)


def _is_rescue(change: Change) -> bool:
    ends = [event.body for event in change.events if isinstance(event.body, AttemptFinished)]
    return any(end.state is AttemptState.LOST for end in ends)


@bug(
    "a group is stored change by change, and a reader sees half of it",
    "repository/test_saving.py::test_a_reader_never_sees_half_of_a_group",
)
def half_a_group(patch: Patch) -> None:
    add = saving._Batch.add

    def apart(self: Any, key: int, change: Change) -> None:
        add(self, key, change)
        self.flush()
        self._connection.execute("COMMIT")
        self._connection.execute("BEGIN IMMEDIATE")

    patch(saving._Batch, "add", apart)


@bug(
    "a change that may have been stored is told to nobody",
    "engine/test_owning.py::test_whoever_waits_for_an_end_that_was_stored_without_an_answer_hears_of_it",
)
def doubt_ignored(patch: Patch) -> None:
    patch(engine.Engine, "_doubt", lambda *_: None)


# The file store.


@bug(
    "a record of the file store is acknowledged while it is only in the kernel's memory",
    "repository/test_file_durability.py::test_a_record_is_written_and_synced_by_one_call_of_the_system",
)
def file_no_fsync(patch: Patch) -> None:
    patch(disk.File, "append", disk.File.write)


@bug(
    "the file store's journal is not synced, and the power is lost",
    "torture/test_power_loss.py::test_what_was_acknowledged_survives_the_loss_of_power[file]",
)
def file_lost_power(patch: Patch) -> None:
    patch(disk.File, "append", disk.File.write)


@bug(
    "which files there are in the file store's folder is never synced",
    "repository/test_file_durability.py"
    "::test_a_fold_syncs_each_file_before_its_rename_and_the_folder_after_it",
)
def file_no_folder_fsync(patch: Patch) -> None:
    patch(disk.Disk, "sync_folder", lambda *_: None)


@bug(
    "the file store's folder is not synced, and the power is lost",
    "torture/test_power_loss.py::test_what_was_acknowledged_survives_the_loss_of_power[file]",
)
def file_lost_names(patch: Patch) -> None:
    patch(disk.Disk, "sync_folder", lambda *_: None)


@bug(
    "the file store's snapshot is renamed before it is synced",
    "repository/test_file_crash_states.py"
    "::test_whatever_a_loss_of_power_leaves_opens_with_all_that_was_acknowledged",
)
def file_rename_before_fsync(patch: Patch) -> None:
    write = file_log.Log._write_snapshot

    def careless(self: Any, *rest: Any) -> int:
        disk, self._disk = self._disk, _NeverSyncs(self._disk)
        try:
            return write(self, *rest)
        finally:
            self._disk = disk

    patch(file_log.Log, "_write_snapshot", careless)


class _NeverSyncs:
    """A disk whose new files are not synced."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def create(self, *where: Any) -> Any:
        file = self._inner.create(*where)
        file.sync = lambda: None
        return file


@bug(
    "the file store shows a change before it is durable",
    "repository/test_file_durability.py::test_nothing_is_seen_or_acknowledged_before_it_is_durable",
)
def file_applies_before_fsync(patch: Patch) -> None:
    do = file_store.FileRepository._do

    async def early(self: Any, entry: Any) -> None:
        self._apply_entry(entry)
        self._apply_entry, apply = (lambda _: None), self._apply_entry
        try:
            await do(self, entry)
        finally:
            self._apply_entry = apply

    patch(file_store.FileRepository, "_do", early)


@bug(
    "a file store goes on behind a journal that it has not made durable",
    "repository/test_file_crash_states.py"
    "::test_what_a_server_finds_after_a_kill_is_durable_before_anybody_sees_it",
)
def file_journal_not_synced_again(patch: Patch) -> None:
    def careless(self: Any, size: int, end: int, payloads: object) -> None:
        self._journal, self.journal_size = self._disk.update(self._journal_path), end
        self._journal.truncate(end)

    patch(file_log.Log, "_take_over", careless)


@bug(
    "what a failed write left in the file store's journal is taken for whole",
    "repository/test_file_trouble.py::test_a_save_that_failed_stored_nothing_and_the_next_one_works",
)
def file_trouble_forgotten(patch: Patch) -> None:
    patch(file_log.Log, "_retract", lambda *_: None)


@bug(
    "a file store does not say that it is to be read with its journal",
    "repository/test_file_opening.py::test_a_missing_journal_is_refused",
)
def file_journal_not_missed(patch: Patch) -> None:
    patch(file_log.Log, "_flag", lambda *_: None)


# Starting.


@bug(
    "the request id is not stored with its run",
    "engine/test_requests.py::test_the_same_request_again_answers_with_the_same_run",
    CRASH,
)
def request_forgotten(patch: Patch) -> None:
    submit = committer.Committer.submit
    patch(
        committer.Committer,
        "submit",
        lambda self, group, done: submit(self, replace(group, request=None), done),
    )


@bug(
    "the code starts before its claim is durable",
    "engine/test_starting.py::test_the_code_starts_after_the_claim_is_durable",
)
def code_before_claim(patch: Patch) -> None:
    store = starting.Starter._store

    def early(self: Any, change: Change, request: Any, kind: Any, *, claimed: bool) -> Any:
        if claimed:
            self._ownership.begin(change.run, kind)
        return store(self, change, request, kind, claimed=False)

    patch(starting.Starter, "_store", early)


# Ends and cancellations.


@bug(
    "a cancellation is acknowledged and its code is never asked to stop",
    "torture/test_cancel_matrix.py::test_cancelling_stops_every_kind_of_code_at_every_moment",
)
def swallowed_cancel(patch: Patch) -> None:
    patch(owned.OwnedRun, "_act", lambda _: None)


@bug(
    "a cancellation is acknowledged and not stored",
    "engine/test_cancelling.py::test_a_running_run_is_asked_to_stop_and_ends_cancelled",
    CRASH,
)
def cancel_not_stored(patch: Patch) -> None:
    async def pretend(self: Any, run_id: str, decide: Any) -> Any:
        run = await self._journal.get(run_id)
        change = decide(run, self._clock.now())
        return run if change is None else change.run

    patch(control.Control, "decide", pretend)


@bug(
    "a run that has ended can end again",
    "model/test_ends.py::test_an_attempt_ends_once",
)
def ends_twice(patch: Patch) -> None:
    patch(attempts, "fence", lambda *_: None)


@bug(
    "a final run can be cancelled",
    "model/test_calls.py::test_a_final_run_is_not_cancelled_and_that_is_no_error",
    CRASH,
)
def cancelled_after_its_end(patch: Patch) -> None:
    def again(run: Run, now: int, initiator: Any, **rest: Any) -> Change | None:
        change = decide(run, now, initiator, **rest)
        if change is None and run.state.final:
            state = State.CANCELLED
            return lifecycle.finish(run, now, state, ())
        return change

    decide = lifecycle.cancel
    patch(lifecycle, "cancel", again)


@bug(
    "the slot of abandoned code is given away while the code still runs",
    "executor/test_stopping.py::test_an_abandoned_attempt_keeps_its_slot_and_gives_it_back_once",
)
def abandoned_slot_given_away(patch: Patch) -> None:
    def careless(self: Any) -> None:
        self.executor.release()
        self._tell(Abandoned())

    patch(executing.LocalAttempt, "abandon", careless)


@bug(
    "an attempt that has ended keeps its slot",
    "executor/test_conformance.py::test_a_hundred_attempts_in_a_row_leave_nothing_behind",
)
def slot_leak(patch: Patch) -> None:
    patch(executing.LocalExecutor, "release", lambda _: None)


# Owners and recovery.


@bug(
    "code that has lost its run is not killed",
    "engine/test_owning.py::test_a_run_that_another_server_owns_by_now_is_given_up_and_its_code_killed",
)
def zombie_lives_on(patch: Patch) -> None:
    def spare(self: Any) -> None:
        if not self.over:
            self._deaf = True
            self._leave("has lost its run")

    patch(owned.OwnedRun, "fence", spare)


@bug(
    "a server goes on although its lease has run out",
    "engine/test_lease.py::test_at_the_end_of_its_lease_everything_is_fenced",
)
def lease_never_ends(patch: Patch) -> None:
    patch(lease.Lease, "_look", lambda _: None)


@bug(
    "the leases of a killed server hold, and its runs wait for their end",
    "torture/test_recovery.py::test_a_thousand_runs_in_flight_are_owned_again_within_two_seconds",
)
def dead_leases_hold(patch: Patch) -> None:
    connect = opening.connect_writer
    patch(opening, "connect_writer", lambda path, **_: connect(path, void_leases=False))


@bug(
    "an attempt goes on from the first checkpoint, not from the newest",
    "repository/test_saving.py::test_the_newest_checkpoint_is_kept",
    CRASH,
)
def checkpoint_goes_back(patch: Patch) -> None:
    bulk = saving._Bulk.__init__

    def first_stays(self: Any, sql: str, width: int) -> None:
        bulk(self, sql.replace("OR REPLACE INTO checkpoints", "OR IGNORE INTO checkpoints"), width)

    patch(saving._Bulk, "__init__", first_stays)


@bug(
    "an attempt begins without its checkpoint",
    "torture/test_storms.py::test_nothing_is_lost_in_a_crash_storm",
    CRASH,
)
def checkpoint_left_out(patch: Patch) -> None:
    begin = owned.OwnedRun.begin
    patch(owned.OwnedRun, "begin", lambda self, executor, _: begin(self, executor, None))


@bug(
    "a run that takes its server down is tried for ever",
    "engine/test_restart.py::test_a_run_that_takes_its_server_down_five_times_is_failed",
)
def poison_for_ever(patch: Patch) -> None:
    patch(timers, "_POISON", 1 << 30)


@bug(
    "a drain does not wait for what runs",
    "engine/test_draining.py::test_a_run_that_cannot_go_on_elsewhere_runs_on_to_its_end",
)
def drain_that_drops(patch: Patch) -> None:
    async def leave(self: Any, _: float) -> None:
        self.announce_drain()

    patch(engine.Engine, "drain", leave)


@bug(
    "what an attempt started is not killed when the server dies",
    "torture/test_hygiene.py::test_nothing_of_a_killed_server_lives_two_seconds",
)
def children_live_on(patch: Patch) -> None:
    careless = "from runcast.server.executor import forking; forking._Forkserver._end = lambda _: None; "
    patch(forkserver, "_PROGRAM", careless + forkserver._PROGRAM)


@bug(
    "an owner's stream that is gone is told to nobody",
    "engine/test_attachments.py::test_a_run_is_cancelled_once_its_owners_stream_is_gone_for_the_grace",
    CRASH,
)
def owner_not_missed(patch: Patch) -> None:
    patch(attachment, "leave", lambda *_: None)
    patch(lifecycle, "_lose_interest", lambda run, _, now: lifecycle.next_version(run, now, ()))


@bug(
    "an owner's lease is not renewed while its stream is open",
    "engine/test_attachments.py::test_an_open_stream_keeps_its_run_for_as_long_as_it_is_open",
)
def interest_not_renewed(patch: Patch) -> None:
    patch(attachments.Attachments, "renew", lambda _: None)


@bug(
    "an owner's grace runs while no server is there to come back to",
    "torture/test_owners.py::test_a_deploy_cancels_nothing_and_an_owner_that_leaves_is_missed",
)
def deploy_cancels(patch: Patch) -> None:
    lose = lifecycle._lose_interest

    def at_once(run: Run, attachment: Any, now: int) -> Change:
        gone = attachment.gone_time or attachment.held_until
        if gone + attachment.grace > now:
            return lose(run, attachment, now)
        return lose(run, replace(attachment, gone_time=gone), now)

    patch(lifecycle, "_lose_interest", at_once)


@bug(
    "a stream that the server's drain ends counts as its owner's absence",
    "engine/test_attachments.py"
    "::test_a_stream_that_ends_with_the_servers_drain_or_with_the_run_begins_no_grace",
)
def drain_forgets_owners(patch: Patch) -> None:
    patch(attachments.Held, "kept", property(lambda _: False, lambda *_: None))


@bug(
    "an owner that comes back within its grace is not recognised",
    "engine/test_attachments.py::test_coming_back_with_the_same_id_within_the_grace_clears_it",
    CRASH,
)
def owner_comes_back_in_vain(patch: Patch) -> None:
    attach = attachment.attach

    def first_only(run: Run, attachment: Any, now: int) -> Change | None:
        return attach(run, attachment, now) if run.attachment is None else None

    patch(attachment, "attach", first_only)


@bug(
    "whoever looks at an interrupted run does not let it go on",
    "engine/test_resuming_on_watch.py::test_watching_it_lets_it_go_on",
    CRASH,
)
def resumed_by_nobody(patch: Patch) -> None:
    patch(control, "resumes_on_watch", lambda _: False)
    patch(watching, "resumes_on_watch", lambda _: False)
    patch(engine, "resumes_on_watch", lambda _: False)


# Watching.


@bug(
    "a watcher resumes one event too early",
    "engine/test_watching.py::test_every_frame_carries_the_sequence_to_resume_behind",
)
def resume_repeats(patch: Patch) -> None:
    frames = Watcher.frames

    async def early(self: Any, what: Any) -> Any:
        async for cursor, frame in frames(self, what):
            yield (cursor - 1 if isinstance(frame, Batch) and cursor > 1 else cursor), frame

    patch(Watcher, "frames", early)


@bug(
    "a watcher misses what is committed between its look and its wait",
    "engine/test_hints.py::test_a_hint_that_came_before_the_wait_is_not_lost",
)
def hint_lost(patch: Patch) -> None:
    def forgetful(self: Any) -> None:
        if self._waiter is not None:
            hint(self)

    hint = Subscription.hint
    patch(Subscription, "hint", forgetful)


@bug(
    "an event is left out where a watcher reads from memory",
    "torture/test_replay.py::test_live_replayed_resumed_and_listed_events_are_the_same_bytes",
    CRASH,
)
def tail_skips(patch: Patch) -> None:
    read = Tail.read

    def skipping(self: Any, after: int) -> Any:
        batch = read(self, after)
        if batch is None or len(batch.events) < 3:
            return batch
        return Batch((batch.events[0], *batch.events[2:]), batch.weight)

    patch(Tail, "read", skipping)


@bug(
    "what a provider tells waits in memory without a bound",
    "engine/test_reporting.py::test_a_log_storm_beyond_the_bound_drops_log_lines_only_and_says_so",
)
def unbounded_queue(patch: Patch) -> None:
    patch(pending.Pending, "full", property(lambda _: False))


@bug(
    "a provider is never told to wait",
    "engine/test_reporting.py::test_drain_waits_while_many_reports_wait",
)
def no_backpressure(patch: Patch) -> None:
    patch(pending.Pending, "congested", property(lambda _: False))
