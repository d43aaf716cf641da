"""The state table of a run, written out as data and walked cell by cell."""

from inspect import getmembers, isfunction
from types import ModuleType
from typing import get_args

import pytest

from runcast.server.model import attempts, lifecycle
from runcast.server.model.call import Abandoned, End, Raised, Returned, Stopped
from runcast.server.model.change import fold
from runcast.server.model.errors import FailedPrecondition, Fenced, RuncastError, WrongState
from runcast.server.model.event import AttemptStarted, StateChanged
from runcast.server.model.run import State
from tests.model.life import BOOT_ID, RUN_ID, SECOND, START, Life, definition
from tests.model.situations import COLUMNS, TRIGGERS

# Columns are situations: Rt, Rd RUNNING and asked to stop by the attempt timeout, by the drain; Ps, Pb, Pq PAUSED from
# SCHEDULED, from BACKING_OFF, from RUNNING; Cc, Ct CANCELLING by CancelRun, by the run timeout; else a state by itself.
# Cells: the next state · = changed, in the same state · . nothing to do · ! WrongState · x another precondition · F Fenced
TABLE = """
                              | SC QU RU Rt Rd BO PG Ps Pb Pq IN Cc Ct OK OE FA CA TO
its time comes                | QU .  .  .  .  QU .  .  .  .  .  .  .  .  .  .  .  .
the queue timeout passes      | .  TO .  .  .  .  .  .  .  .  .  .  .  .  .  .  .  .
the run timeout passes        | .  TO CG CG CG TO CG .  .  .  .  .  .  .  .  .  .  .
the attempt timeout passes    | .  .  =  .  .  .  .  .  .  .  .  .  .  .  .  .  .  .
the heartbeat timeout passes  | .  .  =  .  .  .  .  .  .  .  .  .  .  .  .  .  .  .
the grace is over             | .  .  .  =  =  .  =  .  .  .  .  =  =  .  .  .  .  .
CancelRun                     | CA CA CG CG CG CA CG CA CA CA CA .  .  .  .  .  .  .
CancelRun, at once            | CA CA CG CG CG CA CG CA CA CA CA =  =  .  .  .  .  .
PauseRun                      | PD PD PG PG PG PD !  !  !  !  !  !  !  !  !  !  !  !
PauseRun, not pausable        | PD PD x  x  x  PD !  !  !  !  !  !  !  !  !  !  !  !
PauseRun, needs a checkpoint  | PD PD x  x  x  PD !  !  !  !  !  !  !  !  !  !  !  !
ResumeRun                     | !  !  !  !  !  !  !  SC BO QU QU !  !  !  !  !  !  !
ResumeRun, its time is past   | !  !  !  !  !  !  !  QU QU QU QU !  !  !  !  !  !  !
a server claims it            | !  RU !  !  !  !  !  !  !  !  !  !  !  !  !  !  !  !
it starts a child             | =  =  =  =  =  =  =  =  =  =  =  x  x  x  x  x  x  x
the server drains             | !  !  =  =  =  !  !  !  !  !  !  !  !  !  !  !  !  !
it reports                    | F  F  =  =  =  F  =  F  F  F  F  =  =  F  F  F  F  F
returns                       | F  F  OK OK OK F  OK F  F  F  F  OK OK F  F  F  F  F
returns, targets failed       | F  F  OE OE OE F  OE F  F  F  F  OE OE F  F  F  F  F
fails, attempts left          | F  F  BO BO BO F  PD F  F  F  F  CA TO F  F  F  F  F
fails, none left              | F  F  FA TO FA F  FA F  F  F  F  CA TO F  F  F  F  F
fails, may not be retried     | F  F  FA BO FA F  FA F  F  F  F  CA TO F  F  F  F  F
stops, attempts left          | F  F  BO BO QU F  PD F  F  F  F  CA TO F  F  F  F  F
stops, none left              | F  F  FA TO QU F  PD F  F  F  F  CA TO F  F  F  F  F
is killed                     | F  F  BO BO QU F  PD F  F  F  F  CA TO F  F  F  F  F
cannot be stopped             | F  F  BO BO QU F  PD F  F  F  F  CA TO F  F  F  F  F
unsafe, stops, RESUME         | F  F  BO BO QU F  PD F  F  F  F  CA TO F  F  F  F  F
unsafe, stops, HOLD           | F  F  BO BO IN F  PD F  F  F  F  CA TO F  F  F  F  F
unsafe, stops, RESUME_ON_WATCH| F  F  BO BO IN F  PD F  F  F  F  CA TO F  F  F  F  F
unsafe, stops, FAIL           | F  F  BO BO FA F  PD F  F  F  F  CA TO F  F  F  F  F
owner lost, RESUME            | F  F  QU QU QU F  PD F  F  F  F  CA TO F  F  F  F  F
owner lost, HOLD              | F  F  IN IN IN F  PD F  F  F  F  CA TO F  F  F  F  F
owner lost, RESUME_ON_WATCH   | F  F  IN IN IN F  PD F  F  F  F  CA TO F  F  F  F  F
owner lost, FAIL              | F  F  FA FA FA F  PD F  F  F  F  CA TO F  F  F  F  F
owner lost, the fifth time    | F  F  FA FA FA F  PD F  F  F  F  CA TO F  F  F  F  F
"""
STATES = {
    "SC": State.SCHEDULED,
    "QU": State.QUEUED,
    "RU": State.RUNNING,
    "BO": State.BACKING_OFF,
    "PG": State.PAUSING,
    "PD": State.PAUSED,
    "IN": State.INTERRUPTED,
    "CG": State.CANCELLING,
    "OK": State.SUCCEEDED,
    "OE": State.SUCCEEDED_WITH_ERRORS,
    "FA": State.FAILED,
    "CA": State.CANCELLED,
    "TO": State.TIMED_OUT,
}
REFUSALS: dict[str, type[RuncastError]] = {"!": WrongState, "x": FailedPrecondition, "F": Fenced}


def parsed() -> dict[str, dict[str, str]]:
    """The table: trigger → situation → cell."""
    head, *rows = [line.split("|") for line in TABLE.strip("\n").splitlines()]
    names = head[1].split()
    return {label.strip(): dict(zip(names, cells.split(), strict=True)) for label, cells in rows}


CELLS = parsed()


def test_the_table_has_a_row_for_every_trigger_and_a_column_for_every_situation() -> None:
    assert set(CELLS) == set(TRIGGERS)
    assert all(set(row) == set(COLUMNS) for row in CELLS.values())
    assert {cell for row in CELLS.values() for cell in row.values()} == {*STATES, *REFUSALS, "=", "."}


def test_every_state_is_a_column_and_is_led_to_by_a_cell() -> None:
    assert {state for state, _ in COLUMNS.values()} == set(State) == set(STATES.values())
    assert {STATES[cell] for row in CELLS.values() for cell in row.values() if cell in STATES} == set(State)


def test_a_new_verb_and_a_new_way_to_end_need_a_row() -> None:
    """What a trigger can be: whoever adds to these lists adds rows."""
    verbs = {
        "create",
        "claim",
        "cancel",
        "pause",
        "resume",
        "expire",
        "ask_to_stop",
        "link_child",
        "cascaded",
    }
    parts = {"is_stand_in", "give_up", "next_version", "requeue", "stand", "finish", "cancelled_error"}
    parts.add("create_claimed")  # test_fold: create and claim in one
    assert public_functions(lifecycle) == verbs | parts
    assert public_functions(attempts) == {"fence", "report", "end", "lose"}
    assert set(get_args(End)) == {Returned, Raised, Stopped, Abandoned}


def public_functions(module: ModuleType) -> set[str]:
    """The functions that a module defines for others."""
    found = getmembers(module, isfunction)
    return {name for name, f in found if f.__module__ == module.__name__ and not name.startswith("_")}


@pytest.mark.parametrize("situation", COLUMNS)
@pytest.mark.parametrize("trigger", TRIGGERS)
def test_a_trigger_leads_where_the_table_says(trigger: str, situation: str) -> None:
    start, pull = TRIGGERS[trigger]
    state, build = COLUMNS[situation]
    life, cell = build(start), CELLS[trigger][situation]
    assert life.run.state is state
    before = life.run
    if cell in REFUSALS:
        with pytest.raises(RuncastError) as refused:
            pull(life)
        assert type(refused.value) is REFUSALS[cell]
        assert life.run == before
    elif cell == ".":
        assert pull(life) is None
    else:
        assert pull(life) is not None
        assert life.run.state is STATES.get(cell, state)


def test_a_new_run_is_queued_or_waits_for_its_time() -> None:
    at = {None: State.QUEUED, -SECOND: State.QUEUED, 0: State.QUEUED, 1: State.SCHEDULED}
    assert {offset: Life(start_in=offset).run.state for offset in at} == at


def test_a_new_run_with_a_free_slot_is_queued_and_running_in_one_change() -> None:
    created = lifecycle.create(RUN_ID, definition(), START)
    change = fold([created, lifecycle.claim(created.run, BOOT_ID, START)])
    assert (change.run.version, change.run.state, change.run.attempt) == (0, State.RUNNING, 1)
    assert [event.body for event in change.events] == [
        StateChanged(None, State.QUEUED),
        StateChanged(State.QUEUED, State.RUNNING),
        AttemptStarted(BOOT_ID),
    ]
    assert [(event.sequence, event.attempt) for event in change.events] == [(1, 0), (2, 1), (3, 1)]
