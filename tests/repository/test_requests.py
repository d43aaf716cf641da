"""Contract: a request id makes a start happen once."""

from runcast.server.model.change import Known, Saved, Stale
from runcast.server.model.run import Page, RunFilter
from runcast.server.repository.abc import Repository
from tests.repository.builders import NOW, a_request, a_run, change, following, group, save

ALL = RunFilter()


async def test_a_request_id_is_known_afterwards_with_its_run_and_digest(repository: Repository) -> None:
    request = a_request("id", "first")
    await save(repository, a_run("first"), request=request)
    again = a_request("id", "second")
    assert await save(repository, a_run("second"), request=again) == Known(
        "first", request.digest, request.expire_time
    )
    assert [run.id for run in await repository.list(ALL, Page(10))] == ["first"]


async def test_a_request_id_is_known_to_later_groups_of_the_same_call(repository: Repository) -> None:
    request = a_request("id", "first")
    groups = [
        group(a_run(run_id), request=a_request("id", run_id)) for run_id in ("first", "second", "third")
    ]
    known = Known("first", request.digest, request.expire_time)
    assert [*await repository.save(groups)] == [Saved(), known, known]
    assert [run.id for run in await repository.list(ALL, Page(10))] == ["first"]


async def test_a_known_request_id_is_answered_whatever_the_changes_are(repository: Repository) -> None:
    run = a_run("run")
    request = a_request("id", "run")
    await save(repository, run, request=request)
    known = Known("run", request.digest, request.expire_time)
    assert await save(repository, run, request=request) == known
    assert await save(repository, change(following(run), events=1), request=request) == known
    assert await save(repository, following(following(run)), request=request) == known
    assert await save(repository, request=request) == known
    assert await repository.get("run") == run
    assert [*await repository.events("run", 0, 10)] == []


async def test_the_request_id_of_a_stale_group_is_not_known(repository: Repository) -> None:
    assert await save(repository, following(a_run("run")), request=a_request("id", "run")) == Stale("run")
    assert await save(repository, a_run("other"), request=a_request("id", "other")) == Saved()


async def test_a_request_id_is_stored_also_without_changes(repository: Repository) -> None:
    request = a_request("id", "run")
    assert await save(repository, request=request) == Saved()
    assert await save(repository, request=request) == Known("run", request.digest, request.expire_time)


async def test_request_ids_of_different_principals_do_not_meet(repository: Repository) -> None:
    assert await save(repository, a_run("mine"), request=a_request("id", "mine", principal="me")) == Saved()
    assert await save(repository, a_run("hers"), request=a_request("id", "hers", principal="her")) == Saved()
    # Nor where principal and id only look alike put together.
    assert (
        await save(repository, a_run("third"), request=a_request("erid", "third", principal="h")) == Saved()
    )


async def test_pruning_forgets_the_request_ids_whose_time_has_passed_and_no_other(
    repository: Repository,
) -> None:
    requests = {after: a_request(f"{after}", f"run-{after}", expires=NOW + after) for after in (-5, 0, 1, 9)}
    await repository.save([group(a_run(one.run_id), request=one) for one in requests.values()])
    assert await repository.prune_requests(NOW) == 2
    assert await repository.prune_requests(NOW) == 0
    again = [group(request=one) for one in requests.values()]
    assert [type(result) for result in await repository.save(again)] == [Saved, Saved, Known, Known]


async def test_a_request_id_is_kept_until_it_is_pruned_however_old(repository: Repository) -> None:
    request = a_request("id", "run", expires=NOW - 1)
    await save(repository, a_run("run"), request=request)
    assert await save(repository, a_run("other", create_time=NOW + 1), request=request) == Known(
        "run", request.digest, request.expire_time
    )


async def test_pruning_forgets_any_number(repository: Repository) -> None:
    many = [group(request=a_request(f"{n}", "run", expires=NOW - n)) for n in range(12_345)]
    await repository.save([*many, group(request=a_request("young", "run"))])
    assert await repository.prune_requests(NOW) == 12_345
    assert await repository.prune_requests(NOW) == 0


async def test_runs_outlive_their_request_ids(repository: Repository) -> None:
    await save(repository, a_run("run"), request=a_request("id", "run", expires=NOW))
    await repository.prune_requests(NOW)
    assert await repository.get("run") == a_run("run")
