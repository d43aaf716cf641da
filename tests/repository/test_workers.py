"""The threads behind a repository: order, errors, ends."""

import asyncio
import gc
import threading
import weakref
from functools import partial

import pytest

from runcast.server.model.errors import Unavailable
from runcast.server.repository.workers import Workers


class Resource:
    """What a thread has for itself."""

    def __init__(self) -> None:
        self.thread = threading.current_thread()
        self.seen: list[int] = []
        self.dropped = False

    def drop(self) -> None:
        """On the thread that made it."""
        assert self.thread is threading.current_thread()
        self.dropped = True


def note(n: int, resource: Resource) -> None:
    """A job that leaves a trace."""
    resource.seen.append(n)


@pytest.fixture
async def workers(nothing_leaks: None) -> Workers[Resource]:
    """One thread, not started."""
    return Workers("test", 1, Resource, Resource.drop)


async def test_jobs_run_in_the_order_they_came(workers: Workers[Resource]) -> None:
    await workers.start()
    done = [workers.run(partial(note, n)) for n in range(50)]
    await asyncio.gather(*done)
    assert await workers.run(lambda resource: resource.seen) == [*range(50)]
    await workers.stop()


async def test_a_jobs_error_reaches_who_waits_and_ends_nothing(workers: Workers[Resource]) -> None:
    await workers.start()
    with pytest.raises(ZeroDivisionError):
        await workers.run(lambda _: 1 // 0)
    assert await workers.run(lambda _: 1) == 1
    await workers.stop()


async def test_stopping_finishes_what_was_asked_and_drops_the_resource(workers: Workers[Resource]) -> None:
    await workers.start()
    resource = await workers.run(lambda resource: resource)
    last = workers.run(lambda resource: resource.dropped)
    await workers.stop()
    assert await last is False
    assert resource.dropped
    with pytest.raises(Unavailable):
        await workers.run(lambda _: None)


async def test_workers_can_start_again(workers: Workers[Resource]) -> None:
    for _ in range(3):
        await workers.start()
        assert await workers.run(lambda _: 1) == 1
        await workers.stop()


async def test_starting_twice_is_a_mistake_that_harms_nothing(workers: Workers[Resource]) -> None:
    await workers.start()
    with pytest.raises(RuntimeError, match="test is started already"):
        await workers.start()
    assert await workers.run(lambda _: 1) == 1
    await workers.stop()


async def test_if_one_of_several_cannot_start_none_does(nothing_leaks: None) -> None:
    made: list[Resource] = []

    def make() -> Resource:
        if len(made) == 2:
            raise OSError("no more")
        made.append(Resource())
        return made[-1]

    workers = Workers("test", 3, make, Resource.drop)
    with pytest.raises(OSError, match="no more"):
        await workers.start()
    assert [resource.dropped for resource in made] == [True, True]
    with pytest.raises(Unavailable):
        await workers.run(lambda _: None)


async def test_workers_that_could_not_start_can_when_the_cause_is_gone(nothing_leaks: None) -> None:
    troubles = [OSError("not yet")]

    def make() -> Resource:
        if troubles:
            raise troubles.pop()
        return Resource()

    workers = Workers("test", 2, make, Resource.drop)
    with pytest.raises(OSError, match="not yet"):
        await workers.start()
    await workers.start()
    assert await workers.run(lambda _: 1) == 1
    await workers.stop()


async def test_a_resource_that_cannot_be_dropped_holds_up_no_end(nothing_leaks: None) -> None:
    def drop(resource: Resource) -> None:
        raise OSError("no")

    workers = Workers("test", 1, Resource, drop)
    await workers.start()
    await workers.stop()


async def test_who_stops_waiting_disturbs_nobody(workers: Workers[Resource]) -> None:
    await workers.start()
    gate = threading.Event()
    slow = workers.run(lambda _: gate.wait())
    next_one = workers.run(lambda _: "next")
    slow.cancel()
    gate.set()
    assert await next_one == "next"
    await workers.stop()


async def test_an_idle_thread_keeps_no_result_alive(workers: Workers[Resource]) -> None:
    await workers.start()
    result = await workers.run(lambda _: Resource())
    gone = weakref.ref(result)
    await workers.run(lambda _: None)
    del result
    await asyncio.sleep(0)
    gc.collect()
    assert gone() is None
    await workers.stop()
