"""Pages that are made once for all who ask meanwhile."""

import asyncio

import pytest

from runtime import http
from runtime.http.messages import Request
from tests.support.waiting import until

REQUEST = Request("GET", "/metrics", "")


class Page:
    """A page that says how often it was made, and waits for ``ready`` each time."""

    def __init__(self) -> None:
        self.made = 0
        self.ready = asyncio.Event()
        self.shared = http.SharedPage(self.make)

    async def make(self, _: http.Request) -> http.Response:
        self.made += 1
        number = self.made
        await self.ready.wait()
        if number == 13:
            raise ValueError("the thirteenth")
        return http.text_response(str(number))

    async def ask(self) -> int:
        return int((await self.shared(REQUEST)).body)


def test_one_after_the_other() -> None:
    """Requests that come one by one → each has a page of its own, made after it came."""

    async def run() -> None:
        page = Page()
        page.ready.set()
        assert [await page.ask() for _ in range(4)] == [1, 2, 3, 4]

    asyncio.run(run())


def test_many_at_once() -> None:
    """A hundred ask while a page is made → one more is made for all of them, since the first may be older than their
    requests."""

    async def run() -> None:
        page = Page()
        first = asyncio.create_task(page.ask())
        await until(lambda: page.made == 1, "the first page")
        others = [asyncio.create_task(page.ask()) for _ in range(100)]
        await asyncio.sleep(0)
        page.ready.set()
        assert await first == 1 and set(await asyncio.gather(*others)) == {2}
        assert page.made == 2

    asyncio.run(run())


def test_who_asks_and_goes() -> None:
    """Those who asked are gone, in any order → the others get their page, and so does who asks later."""

    async def run() -> None:
        page = Page()
        waiting = [asyncio.create_task(page.ask()) for _ in range(3)]
        await until(lambda: page.made == 1, "the page")
        late = [asyncio.create_task(page.ask()) for _ in range(3)]
        await asyncio.sleep(0)
        for gone in (waiting[0], late[0], late[2]):
            gone.cancel()
        page.ready.set()
        assert await asyncio.gather(*waiting[1:], late[1]) == [1, 1, 2]
        assert await page.ask() == 3

    asyncio.run(run())


def test_a_page_that_cannot_be_made() -> None:
    """Making a page fails → those who asked for it get the failure, the next ones a page."""

    async def run() -> None:
        page = Page()
        page.ready.set()
        for _ in range(12):
            await page.ask()
        with pytest.raises(ValueError, match="the thirteenth"):
            await page.ask()
        assert await page.ask() == 14

    asyncio.run(run())
