"""Calls to the API server: which failures are retried and which are raised at once, and that no error quotes
objects."""

import asyncio
import importlib
import io
import logging
import time
from pathlib import Path
from typing import Any

import pytest

from driver.cluster.answers import Conflict, Expired
from driver.cluster.api import MERGE_PATCH, Api
from driver.cluster.network import CONNECTIONS
from runtime.errors import Failure, InvalidRequest, NotFound, PermissionDenied
from tests.driver.cluster.connecting import run
from tests.support.fake_api import Answer, ApiError, Drop, FakeApi, Fault, HalfAnswer, Object, Page, Silence
from tests.support.waiting import until

PODS = "/api/v1/namespaces/default/pods"
POD: Object = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod-1", "namespace": "default"}, "spec": {}}


@pytest.fixture
def kubeconfig(server: FakeApi, tmp_path: Path) -> str:
    """For a fake server with one pod."""
    server.create(POD)
    return server.kubeconfig(tmp_path / "kubeconfig")


def test_methods(server: FakeApi, kubeconfig: str) -> None:
    """GET of an object and a list, POST, PATCH, DELETE → the server's responses; the bodies arrive."""

    async def test(api: Api) -> None:
        assert (await api.call("GET", f"{PODS}/pod-1"))["metadata"]["name"] == "pod-1"
        other = {**POD, "metadata": {"name": "pod-2", "labels": {"a": "b c".replace(" ", "-")}}}
        made = await api.call("POST", PODS, body=other)
        found = await api.call("GET", PODS, query={"labelSelector": "a=b-c", "limit": "5"})
        assert [item["metadata"]["uid"] for item in found["items"]] == [made["metadata"]["uid"]]
        patch: Object = {"metadata": {"labels": None}}
        patched = await api.call("PATCH", f"{PODS}/pod-2", body=patch, content_type=MERGE_PATCH)
        assert "labels" not in patched["metadata"]
        await api.call("DELETE", f"{PODS}/pod-2")
        assert server.find(f"{PODS}/pod-2") is None and api.last_error == ""
        assert server.calls.calls()[-1].token == "token"

    run(kubeconfig, test)


PASSING: dict[str, Fault] = {
    "408": Answer(408),
    "425": Answer(425),
    "429": Answer(429),
    "500": Answer(500),
    "502, a page": Page(status=502),
    "503": Answer(503),
    "504": Answer(504),
    "no JSON": Page(),
    "a JSON list": Page("[]"),
    "a JSON object of another kind": Page('{"error": "please log in"}'),
    "an object without metadata": Page('{"apiVersion": "v1", "kind": "Pod"}'),
    "endless JSON": Page("[" * 200_000),
    "dropped": Drop(),
    "half an answer": HalfAnswer(),
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_transient_failures_are_retried(
    server: FakeApi, kubeconfig: str, caplog: pytest.LogCaptureFixture, fault: Fault
) -> None:
    """The first two attempts fail → the third succeeds, one warning is logged, and ``last_error`` is cleared."""

    async def test(api: Api) -> None:
        rule = server.on("GET", "/pod-1$", fault, times=2)
        calling = asyncio.create_task(api.call("GET", f"{PODS}/pod-1"))
        await until(lambda: api.last_error, "the problem to be noticed")
        assert (await calling)["metadata"]["name"] == "pod-1"
        assert rule.hits == 2 and api.last_error == ""

    with caplog.at_level(logging.WARNING):
        run(kubeconfig, test)
    (record,) = [record for record in caplog.records if "API server" in record.getMessage()]
    assert record.levelno == logging.WARNING


@pytest.mark.parametrize(("retry_after", "least"), [(1, 1.0), ("Fri, 31 Dec 1999 23:59:59 GMT", 0.0), (-5, 0.0)])
def test_retry_after(server: FakeApi, kubeconfig: str, retry_after: int | str, least: float) -> None:
    """The response has a Retry-After header → seconds are obeyed; a date or an invalid value is ignored."""

    async def test(api: Api) -> None:
        server.on("GET", "/pod-1$", Answer(429, retry_after=retry_after), times=1)
        started = time.monotonic()
        await api.call("GET", f"{PODS}/pod-1")
        assert least <= time.monotonic() - started < least + 5.0

    run(kubeconfig, test)


def test_lost_response_of_a_write(server: FakeApi, kubeconfig: str) -> None:
    """A POST succeeds but its response is lost → the retry raises Conflict, and the object exists once."""

    async def test(api: Api) -> None:
        rule = server.on("POST", "", Drop(done=True), times=1)
        with pytest.raises(Conflict):
            await api.call("POST", PODS, body={**POD, "metadata": {"name": "new"}})
        assert rule.hits == 1 and server.find(f"{PODS}/new") is not None

    run(kubeconfig, test)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, InvalidRequest),
        (403, PermissionDenied),
        (404, NotFound),
        (405, InvalidRequest),
        (409, Conflict),
        (410, Expired),
        (413, InvalidRequest),
        (415, InvalidRequest),
        (422, InvalidRequest),
    ],
)
def test_permanent_failures_are_raised_at_once(
    server: FakeApi, kubeconfig: str, status: int, expected: type[Failure]
) -> None:
    """A 4xx response → one attempt, and a Failure with status, method and path but without the server's message, which
    may quote the object."""

    async def test(api: Api) -> None:
        rule = server.on("POST", "", Answer(status, message="pods is bad: s3cret"))
        with pytest.raises(expected) as raised:
            await api.call("POST", PODS, body=POD)
        sentence = str(raised.value)
        assert type(raised.value) is expected and rule.hits == 1
        assert str(status) in sentence and f"POST {PODS}" in sentence and "s3cret" not in sentence

    run(kubeconfig, test)


def test_invalid_fields_are_named(server: FakeApi, kubeconfig: str) -> None:
    """A 422 response → the sentence contains its reason and the invalid fields, sorted and without duplicates."""

    def refuse(_: Any) -> None:
        raise ApiError(422, "s3cret", fields=["spec.b", "spec.a", "spec.b"])

    async def test(api: Api) -> None:
        server.admit("pods", refuse)
        with pytest.raises(InvalidRequest, match=r"422 Invalid \(spec\.a, spec\.b\)") as raised:
            await api.call("POST", PODS, body=POD)
        assert "s3cret" not in str(raised.value)

    run(kubeconfig, test)


def test_403_just_after_an_outage(server: FakeApi, kubeconfig: str) -> None:
    """The server was unreachable a moment ago, and has not loaded the roles yet → its 403 is retried, unlike any
    other."""

    async def test(api: Api) -> None:
        with pytest.raises(PermissionDenied):
            server.on("GET", "/pod-1$", Answer(403), times=1)
            await api.call("GET", f"{PODS}/pod-1")
        with server.away():
            calling = asyncio.create_task(api.call("GET", f"{PODS}/pod-1"))
            await until(lambda: api.last_error, "the outage to be noticed")
            rule = server.on("GET", "/pod-1$", Answer(403), times=2)
        await calling
        assert rule.hits == 2

    run(kubeconfig, test)


def test_timeout_of_the_caller(server: FakeApi, kubeconfig: str) -> None:
    """The server stays unreachable → the call retries until the caller's timeout, and then ends at once."""

    async def test(api: Api) -> None:
        await api.call("GET", f"{PODS}/pod-1")
        with server.away():
            started = time.monotonic()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await api.call("GET", f"{PODS}/pod-1")
            assert 0.5 <= time.monotonic() - started < 10.0 and api.last_error

    run(kubeconfig, test)


def test_server_hangs(server: FakeApi, kubeconfig: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server accepts a call but does not respond → the attempt times out and the call is retried."""
    monkeypatch.setattr("driver.cluster.api.CALL_SECONDS", 0.2)

    async def test(api: Api) -> None:
        rule = server.on("GET", "/pod-1$", Silence(), times=1)
        await api.call("GET", f"{PODS}/pod-1")
        assert rule.hits == 1

    run(kubeconfig, test)


@pytest.mark.parametrize("found", [True, False], ids=["a library that cannot be opened", "no such module"])
def test_what_connects_cannot_be_loaded(
    kubeconfig: str, monkeypatch: pytest.MonkeyPatch, logged: io.StringIO, found: bool
) -> None:
    """The process has no descriptor left for a library of aiohttp's → retried and logged once, as a server that is
    away; the library is not there → a bug of the image."""
    why = "multidict.so: cannot open shared object file: Too many open files"
    failures = iter([ImportError(why)] * 2 if found else [ModuleNotFoundError("No module named 'aiohttp'")])
    load = importlib.import_module

    def failing(name: str) -> Any:
        if (failure := next(failures, None)) is not None:
            raise failure
        return load(name)

    async def test(api: Api) -> None:
        monkeypatch.setattr(importlib, "import_module", failing)
        if not found:
            with pytest.raises(ModuleNotFoundError):
                await api.call("GET", PODS)
        assert (await api.call("GET", PODS))["items"]
        assert logged.getvalue().count(why) == found

    run(kubeconfig, test)


@pytest.mark.parametrize("status", [200, 403, 404])
def test_warm(server: FakeApi, kubeconfig: str, status: int) -> None:
    """Warm up the connections → one concurrent request per connection; it does not matter if /version is forbidden."""

    async def test(api: Api) -> None:
        if status != 200:
            server.on("GET", "/version", Answer(status))
        await api.warm()
        assert server.calls.count() == {("get", "/version"): CONNECTIONS}

    run(kubeconfig, test)


def test_close(server: FakeApi, kubeconfig: str) -> None:
    """Close twice → no error; a later call opens new connections."""

    async def test(api: Api) -> None:
        await api.call("GET", f"{PODS}/pod-1")
        await api.close()
        await api.close()
        assert (await api.call("GET", f"{PODS}/pod-1"))["kind"] == "Pod"

    run(kubeconfig, test)
