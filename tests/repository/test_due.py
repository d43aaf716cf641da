"""Contract: what `due` finds, in which order, and the leases it goes by."""

from collections.abc import Mapping

import pytest
from msgspec import structs

from runcast.server.model.change import Part
from runcast.server.model.run import Definition, Run, Spec, State
from runcast.server.repository.abc import Repository
from tests.repository.builders import NOW, SECOND, a_run, change, following, group, save
from tests.repository.conftest import HandClock

EXECUTING = [state for state in State if state.executing]
OTHERS = [state for state in State if not state.executing]


def running(
    run_id: str, owner: str = "boot", state: State = State.RUNNING, wake_time: int | None = None
) -> Run:
    """A run that an owner executes."""
    return a_run(run_id, state=state, owner=owner, wake_time=wake_time, queue_time=None)


def sleeping(run_id: str, wake_time: int | None) -> Run:
    """A run that waits for a time."""
    return a_run(run_id, state=State.SCHEDULED, wake_time=wake_time, queue_time=None)


def queued(run_id: str, provider: str = "echo", priority: int = 0, queue_time: int | None = NOW) -> Run:
    """A run that waits for a slot."""
    of = Definition(provider=provider, spec=Spec(priority=priority))
    return a_run(run_id, of=of, queue_time=queue_time)


async def stored(repository: Repository, *runs: Run) -> None:
    """Create these runs, in this order."""
    await repository.save([group(run) for run in runs])


async def due(
    repository: Repository, capacity: Mapping[str, int] | None = None, limit: int = 100
) -> list[str]:
    """The ids of what is due at NOW."""
    return [run.id for run in await repository.due(NOW, capacity or {}, limit)]


async def test_nothing_is_due_in_a_fresh_store(repository: Repository) -> None:
    assert await due(repository, {"echo": 5}) == []


async def test_due_runs_come_with_definition_and_outcome(repository: Repository) -> None:
    runs = [running("a"), sleeping("b", NOW), queued("c")]
    runs = [structs.replace(run, outcome=structs.replace(run.outcome, summary=run.id)) for run in runs]
    await repository.save([group(change(run, parts=Part.OUTCOME)) for run in runs])
    assert [*await repository.due(NOW, {"echo": 1}, 10)] == runs


@pytest.mark.parametrize("state", EXECUTING)
async def test_an_executing_run_whose_owner_has_no_lease_is_due(repository: Repository, state: State) -> None:
    await stored(repository, running("run", state=state))
    assert await due(repository) == ["run"]
    await repository.beat("boot", SECOND)
    assert await due(repository) == []


@pytest.mark.parametrize("state", OTHERS)
async def test_a_run_that_does_not_execute_is_not_lost_with_its_owner(
    repository: Repository, state: State
) -> None:
    await stored(repository, running("run", state=state))
    assert await due(repository) == []


async def test_a_lease_holds_until_its_time_of_the_stores_clock_is_over(
    repository: Repository, clock: HandClock
) -> None:
    await stored(repository, running("run"))
    await repository.beat("boot", 10 * SECOND)
    clock.advance(9 * SECOND)
    assert await due(repository) == []
    await repository.beat("boot", 10 * SECOND)
    clock.advance(10 * SECOND - 1)
    assert await due(repository) == []
    clock.advance(1)
    assert await due(repository) == ["run"]


async def test_a_shorter_beat_shortens_the_lease(repository: Repository, clock: HandClock) -> None:
    await stored(repository, running("run"))
    await repository.beat("boot", 100 * SECOND)
    await repository.beat("boot", SECOND)
    clock.advance(SECOND)
    assert await due(repository) == ["run"]


async def test_only_runs_of_owners_without_a_lease_are_due(repository: Repository) -> None:
    await stored(repository, *(running(f"{owner}-{n}", owner) for n in range(3) for owner in "abcd"))
    await repository.beat("a", SECOND)
    await repository.beat("c", SECOND)
    assert sorted(await due(repository)) == ["b-0", "b-1", "b-2", "d-0", "d-1", "d-2"]


async def test_a_server_that_retires_leaves_its_runs_to_others(repository: Repository) -> None:
    await stored(repository, running("run"))
    await repository.beat("boot", SECOND)
    await repository.retire("boot")
    assert await due(repository) == ["run"]
    await repository.retire("boot")
    await repository.retire("nobody")


async def test_opening_voids_the_leases_of_older_servers(repository: Repository) -> None:
    await stored(repository, running("run"))
    await repository.beat("boot", 1000 * SECOND)
    await repository.close()
    await repository.open()
    assert await due(repository) == ["run"]


async def test_runs_whose_time_has_come_are_due_the_earliest_first(repository: Repository) -> None:
    times = {"now": NOW, "late": NOW - 9, "later": NOW - 99, "next": NOW + 1, "never": None}
    await stored(repository, *(sleeping(run_id, time) for run_id, time in times.items()))
    assert await due(repository) == ["later", "late", "now"]


@pytest.mark.parametrize("state", State)
async def test_a_wake_time_counts_in_every_state(repository: Repository, state: State) -> None:
    await stored(repository, a_run("run", state=state, wake_time=NOW))
    assert await due(repository) == ["run"]


async def test_a_run_that_was_seen_to_is_not_due_any_more(repository: Repository) -> None:
    runs = [running("a"), sleeping("b", NOW), queued("c")]
    await stored(repository, *runs)
    assert await due(repository, {"echo": 1}) == ["a", "b", "c"]
    done = [following(run, state=State.SUCCEEDED, owner="", wake_time=None) for run in runs]
    await repository.save([group(run) for run in done])
    assert await due(repository, {"echo": 1}) == []


async def test_queued_runs_are_due_for_the_providers_with_capacity_only(repository: Repository) -> None:
    await stored(repository, queued("a", "copy"), queued("b", "move"), queued("c", "sort"))
    assert await due(repository) == []
    assert await due(repository, {"copy": 1, "sort": 1, "none": 4}) == ["a", "c"]
    assert await due(repository, {"copy": 0, "move": 1, "sort": -1}) == ["b"]


async def test_of_each_provider_at_most_its_capacity_is_due(repository: Repository) -> None:
    await stored(repository, *(queued(f"{provider}{n}", provider) for n in range(5) for provider in "ab"))
    assert await due(repository, {"a": 2, "b": 3}) == ["a0", "b0", "a1", "b1", "b2"]


async def test_queued_runs_are_due_by_priority_then_by_age(repository: Repository) -> None:
    await stored(
        repository,
        queued("old", queue_time=NOW - 9),
        queued("twin-1", queue_time=NOW - 5),
        queued("twin-2", "copy", queue_time=NOW - 5),
        queued("low", priority=-1, queue_time=NOW - 99),
        queued("high", "copy", priority=3, queue_time=NOW),
        queued("unknown", queue_time=None),
        queued("oldest", queue_time=NOW - 10),
    )
    by_order = ["high", "unknown", "oldest", "old", "twin-1", "twin-2", "low"]
    assert await due(repository, {"echo": 9, "copy": 9}) == by_order
    assert await due(repository, {"echo": 2, "copy": 1}) == ["high", "unknown", "oldest"]


@pytest.mark.parametrize("state", [state for state in State if state is not State.QUEUED])
async def test_only_queued_runs_need_capacity(repository: Repository, state: State) -> None:
    await stored(repository, a_run("run", state=state))
    assert await due(repository, {"echo": 9}) == []


async def test_a_run_that_is_queued_again_comes_by_its_new_time(repository: Repository) -> None:
    first, second = queued("first", queue_time=NOW - 9), queued("second", queue_time=NOW - 8)
    await stored(repository, first, second)
    await save(repository, following(first, state=State.RUNNING, owner="boot"))
    await save(repository, structs.replace(first, version=2, queue_time=NOW))
    assert await due(repository, {"echo": 9}) == ["second", "first"]


async def test_each_run_is_due_once_lost_before_waking_before_queued(repository: Repository) -> None:
    await stored(
        repository,
        queued("queued"),
        structs.replace(queued("queued and waking", queue_time=NOW - 1), wake_time=NOW),
        sleeping("waking", NOW - 1),
        running("lost and waking", wake_time=NOW - 2),
        running("lost"),
    )
    found = await due(repository, {"echo": 1})
    assert sorted(found[:2]) == ["lost", "lost and waking"]
    assert found[2:] == ["waking", "queued and waking", "queued"]


async def test_a_run_that_is_due_already_takes_no_capacity(repository: Repository) -> None:
    waking = [structs.replace(queued(f"w{n}", queue_time=NOW - 9), wake_time=NOW) for n in range(5)]
    await stored(repository, *waking, *(queued(f"q{n}") for n in range(5)))
    assert await due(repository, {"echo": 2}) == ["w0", "w1", "w2", "w3", "w4", "q0", "q1"]


async def test_the_limit_bounds_each_kind(repository: Repository) -> None:
    for n in range(6):
        waking, waiting = sleeping(f"waking-{n}", NOW - 9 + n), queued(f"queued-{n}")
        await stored(repository, running(f"lost-{n}", f"boot-{n % 3}"), waking, waiting)
    found = await due(repository, {"echo": 100}, limit=4)
    assert [run_id.split("-")[0] for run_id in found] == ["lost"] * 4 + ["waking"] * 4 + ["queued"] * 4
    assert found[4:] == [*(f"waking-{n}" for n in range(4)), *(f"queued-{n}" for n in range(4))]


async def test_the_limit_cuts_the_queued_of_all_providers_at_the_lowest_priority(
    repository: Repository,
) -> None:
    await stored(repository, *(queued(f"{provider}{n}", provider, n) for n in range(4) for provider in "ab"))
    assert await due(repository, {"a": 9, "b": 9}, limit=3) == ["a3", "b3", "a2"]
