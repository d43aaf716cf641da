"""Hints within one process: none is lost between looking and waiting, and whoever leaves is forgotten."""

import asyncio

import pytest

from runcast.server.notifier.local import LocalNotifier
from tests.engine.scripted import within
from tests.engine.server import settle


@pytest.fixture
def notifier() -> LocalNotifier:
    """A notifier for whom nobody waits."""
    return LocalNotifier()


async def test_a_hint_that_came_before_the_wait_is_not_lost(notifier: LocalNotifier) -> None:
    with notifier.subscribe("a") as news:
        notifier.publish("a", final=False)
        assert await news.wait(0)
        assert not await news.wait(0)


async def test_many_hints_are_one(notifier: LocalNotifier) -> None:
    with notifier.subscribe("a") as news:
        for _ in range(3):
            notifier.publish("a", final=False)
        assert await news.wait(0)
        assert not await news.wait(0)


async def test_a_hint_wakes_whoever_waits(notifier: LocalNotifier) -> None:
    with notifier.subscribe("a") as news:
        waiting = asyncio.create_task(news.wait(10))
        await settle()
        notifier.publish("b", final=True)
        await settle()
        assert not waiting.done()
        notifier.publish("a", final=False)
        await within(waiting)
        assert waiting.result()


async def test_whoever_waits_for_the_end_hears_of_nothing_else(notifier: LocalNotifier) -> None:
    with notifier.subscribe("a", final_only=True) as news:
        notifier.publish("a", final=False)
        assert not await news.wait(0)
        notifier.publish("a", final=True)
        assert await news.wait(0)


async def test_the_end_is_news_for_everybody(notifier: LocalNotifier) -> None:
    with notifier.subscribe("a") as news:
        notifier.publish("a", final=True)
        assert await news.wait(0)


async def test_all_can_be_woken(notifier: LocalNotifier) -> None:
    with notifier.subscribe("a") as one, notifier.subscribe("b", final_only=True) as other:
        notifier.wake_all()
        assert await one.wait(0)
        assert await other.wait(0)


async def test_a_wait_that_is_cancelled_keeps_the_news(notifier: LocalNotifier) -> None:
    with notifier.subscribe("a") as news:
        waiting = asyncio.create_task(news.wait(10))
        await settle()
        waiting.cancel()
        notifier.publish("a", final=False)
        await asyncio.wait([waiting])
        assert waiting.cancelled()
        assert await news.wait(0)


async def test_whoever_left_is_forgotten(notifier: LocalNotifier) -> None:
    first, second = notifier.subscribe("a"), notifier.subscribe("a")
    assert notifier.waiting == 2
    first.leave()
    first.leave()
    assert notifier.waiting == 1
    notifier.publish("a", final=False)
    assert await second.wait(0)
    assert not await first.wait(0)
    second.leave()
    assert (notifier.waiting, notifier._any, notifier._final) == (0, {}, {})
