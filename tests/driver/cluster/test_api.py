"""Calls to the API server: what is retried, what is raised at once and as what, and what no error ever quotes."""

import asyncio
import logging
import time
from pathlib import Path
from typing import Any

import pytest

from driver.cluster.answers import Conflict, Expired
from driver.cluster.api import MERGE_PATCH, Api
from driver.cluster.transport import CONNECTIONS
from runtime.errors import Failure, InvalidRequest, NotFound, PermissionDenied
from tests.driver.cluster.connecting import run
from tests.support.fake_api import Answer, ApiError, Drop, FakeApi, Fault, HalfAnswer, Object, Page, Silence
from tests.support.waiting import until

PODS = "/api/v1/namespaces/default/pods"
POD: Object = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod-1", "namespace": "default"}, "spec": {}}


@pytest.fixture
def kubeconfig(server: FakeApi, tmp_path: Path) -> str:
    """For the fake server, in which there is a pod."""
    server.create(POD)
    return server.kubeconfig(tmp_path / "kubeconfig")


def test_the_methods(server: FakeApi, kubeconfig: str) -> None:
    """GET of one and of a list, POST, PATCH and DELETE: the answers are the server's, the bodies arrive."""

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
    "dropped": Drop(),
    "half an answer": HalfAnswer(),
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_what_may_pass_is_retried(
    server: FakeApi, kubeconfig: str, caplog: pytest.LogCaptureFixture, fault: Fault
) -> None:
    """The first two tries fail: the call succeeds with the third, there is one warning, and what is shown as the last
    error is gone again."""

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
    """The server says how long to wait: obeyed if it is in seconds; a date, or nonsense, does no harm."""

    async def test(api: Api) -> None:
        server.on("GET", "/pod-1$", Answer(429, retry_after=retry_after), times=1)
        started = time.monotonic()
        await api.call("GET", f"{PODS}/pod-1")
        assert least <= time.monotonic() - started < least + 5.0

    run(kubeconfig, test)


def test_a_write_whose_answer_was_lost(server: FakeApi, kubeconfig: str) -> None:
    """A POST is done and its answer lost: the retry finds the object, which the caller hears as a conflict."""

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
def test_what_cannot_pass_is_raised_at_once(
    server: FakeApi, kubeconfig: str, status: int, expected: type[Failure]
) -> None:
    """One try; a failure of our own that names status, reason, method and path, and nothing of the message, which may
    quote what was sent."""

    async def test(api: Api) -> None:
        rule = server.on("POST", "", Answer(status, message="pods is bad: s3cret"))
        with pytest.raises(expected) as raised:
            await api.call("POST", PODS, body=POD)
        sentence = str(raised.value)
        assert type(raised.value) is expected and rule.hits == 1
        assert str(status) in sentence and f"POST {PODS}" in sentence and "s3cret" not in sentence

    run(kubeconfig, test)


def test_the_fields_at_fault_are_named(server: FakeApi, kubeconfig: str) -> None:
    """A schema refuses the object: the sentence names its reason word and the fields, sorted, once each."""

    def refuse(_: Any) -> None:
        raise ApiError(422, "s3cret", fields=["spec.b", "spec.a", "spec.b"])

    async def test(api: Api) -> None:
        server.admit("pods", refuse)
        with pytest.raises(InvalidRequest, match=r"422 Invalid \(spec\.a, spec\.b\)") as raised:
            await api.call("POST", PODS, body=POD)
        assert "s3cret" not in str(raised.value)

    run(kubeconfig, test)


def test_a_refusal_just_after_an_outage(server: FakeApi, kubeconfig: str) -> None:
    """The server was away and has not read the roles yet: its 403 is retried, as no other is."""

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


def test_the_callers_timeout_ends_a_call(server: FakeApi, kubeconfig: str) -> None:
    """The server is away for good: the call waits until its caller gives up, and then ends at once."""

    async def test(api: Api) -> None:
        await api.call("GET", f"{PODS}/pod-1")
        with server.away():
            started = time.monotonic()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await api.call("GET", f"{PODS}/pod-1")
            assert 0.5 <= time.monotonic() - started < 2.0 and api.last_error

    run(kubeconfig, test)


def test_a_server_that_says_nothing(server: FakeApi, kubeconfig: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that hangs is cut after a while and tried again."""
    monkeypatch.setattr("driver.cluster.api.CALL_SECONDS", 0.2)

    async def test(api: Api) -> None:
        rule = server.on("GET", "/pod-1$", Silence(), times=1)
        await api.call("GET", f"{PODS}/pod-1")
        assert rule.hits == 1

    run(kubeconfig, test)


@pytest.mark.parametrize("status", [200, 403, 404])
def test_connections_are_opened_ahead(server: FakeApi, kubeconfig: str, status: int) -> None:
    """One question for each connection, at the same time; whether /version may be asked does not matter."""

    async def test(api: Api) -> None:
        if status != 200:
            server.on("GET", "/version", Answer(status))
        await api.warm()
        assert server.calls.count() == {("get", "/version"): CONNECTIONS}

    run(kubeconfig, test)


def test_after_its_end_it_can_be_used_again(server: FakeApi, kubeconfig: str) -> None:
    """Closing twice does no harm, and a later call opens new connections."""

    async def test(api: Api) -> None:
        await api.call("GET", f"{PODS}/pod-1")
        await api.close()
        await api.close()
        assert (await api.call("GET", f"{PODS}/pod-1"))["kind"] == "Pod"

    run(kubeconfig, test)
