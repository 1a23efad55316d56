"""Collections in pages, before the fake API server, which takes all pages of a list from one state of it."""

from contextlib import aclosing
from pathlib import Path

import pytest

from driver.cluster.answers import Expired
from driver.cluster.api import Api
from driver.cluster.class_store import LIST_ACCEPT
from driver.cluster.listing import ListPage, pages
from tests.driver.cluster.connecting import run
from tests.support.fake_api import FakeApi

PODS = "/api/v1/namespaces/default/pods"


def make_pod(server: FakeApi, number: int) -> None:
    """The pod pNUMBER, whose label ``odd`` says whether the number is."""
    metadata = {"name": f"p{number}", "namespace": "default", "labels": {"odd": str(number % 2)}}
    server.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {}})


@pytest.fixture
def kubeconfig(server: FakeApi, tmp_path: Path) -> str:
    """For a fake server with the pods p0 to p4."""
    for number in range(5):
        make_pod(server, number)
    return server.kubeconfig(tmp_path / "kubeconfig")


async def names(api: Api, size: int, most: int | None = None) -> list[list[str]]:
    """The names of the pods in each page."""
    return [[item["metadata"]["name"] for item in page.items] async for page in pages(api, PODS, size, most=most)]


@pytest.mark.parametrize(
    ("size", "most", "expected"),
    [
        (2, None, [["p0", "p1"], ["p2", "p3"], ["p4"]]),
        (5, None, [["p0", "p1", "p2", "p3", "p4"]]),
        (2, 4, [["p0", "p1"], ["p2", "p3"]]),
        (2, 3, [["p0", "p1"], ["p2", "p3"]]),
        (2, 1, [["p0", "p1"]]),
    ],
)
def test_pages(server: FakeApi, kubeconfig: str, size: int, most: int | None, expected: list[list[str]]) -> None:
    """Five pods, in pages of so many, or only about the first of them → each once, in so many calls."""

    async def test(api: Api) -> None:
        assert await names(api, size, most) == expected
        assert server.calls.count()["list", "pods"] == len(expected)

    run(kubeconfig, test)


def test_an_empty_collection(server: FakeApi, kubeconfig: str) -> None:
    """Nothing there, of which an API server says ``null`` in metadata → one empty page, with the resourceVersion."""

    async def test(api: Api) -> None:
        (page,) = [page async for page in pages(api, "/api/v1/namespaces/other/pods", 2, accept=LIST_ACCEPT)]
        assert page == ((), str(server.store.version))

    run(kubeconfig, test)


def test_what_is_sent_with_each_page(server: FakeApi, kubeconfig: str) -> None:
    """A selector and a representation → apply to each page; what the caller gave is not changed."""
    selector = {"labelSelector": "odd=0"}

    async def test(api: Api) -> None:
        found = [page async for page in pages(api, PODS, 2, query=selector, accept=LIST_ACCEPT)]
        assert [item["metadata"]["name"] for page in found for item in page.items] == ["p0", "p2", "p4"]
        assert selector == {"labelSelector": "odd=0"}
        calls = server.calls.calls(where=lambda call: call.verb == "list")
        assert [call.query["labelSelector"] for call in calls] == ["odd=0"] * 2
        assert {call.headers["Accept"] for call in calls} == {LIST_ACCEPT}

    run(kubeconfig, test)


def test_one_state(server: FakeApi, kubeconfig: str) -> None:
    """A pod is created between two pages → it is in none of them, and all have the resourceVersion from before, at
    which a watch sees it."""

    async def test(api: Api) -> None:
        version, found = str(server.store.version), list[ListPage]()
        async for page in pages(api, PODS, 2):
            if not found:
                make_pod(server, 5)
            found.append(page)
        assert [page.version for page in found] == [version] * 3
        assert sum(len(page.items) for page in found) == 5

    run(kubeconfig, test)


def test_too_slow(server: FakeApi, kubeconfig: str) -> None:
    """The API server forgets the state between two pages (410) → Expired after the first; a new list has all."""

    async def test(api: Api) -> None:
        seen = 0
        with pytest.raises(Expired):
            async for _ in pages(api, PODS, 2):
                seen += 1
                make_pod(server, 5)
                server.store.compact()
        assert seen == 1
        assert sum(map(len, await names(api, 2))) == 6

    run(kubeconfig, test)


def test_left_early(server: FakeApi, kubeconfig: str) -> None:
    """A caller that has found what it looks for → no further page is asked for."""

    async def test(api: Api) -> None:
        async with aclosing(pages(api, PODS, 2)) as listed:
            async for _ in listed:
                break
        assert server.calls.count()["list", "pods"] == 1

    run(kubeconfig, test)
