"""The command: flags, health, metrics, leader election."""

import asyncio
import json
import re
import subprocess
import sys

import aiohttp
import pytest

from driver.cluster import lease
from driver.secretsync import main
from driver.secretsync.config import LEASE, SyncConfig
from driver.secretsync.server import SyncServer
from runtime.errors import ConfigurationError
from tests.support.fake_api import Answer, LateAnswer, Object, Silence
from tests.support.ports import free_port
from tests.support.secret_sync_rig import FakeSecretSyncRig
from tests.support.waiting import run_async, until, until_blocking

METRICS = (
    r'^secrets_store_sync_total{provider="stub",written="true"} 1\.0$',
    # Twice if the watch of the classes begins after the class was looked for: then it is looked for again.
    r'^secrets_store_sync_failures_total{provider="",reason="SecretProviderClassMisconfigured"} [12]\.0$',
    r"^secrets_store_sync_objects 2\.0$",
    r"^secrets_store_sync_leader 1\.0$",
)
LEASE_PATH = f"/apis/coordination.k8s.io/v1/namespaces/default/leases/{LEASE}"


@pytest.mark.parametrize(
    "settings, text",
    [
        ({"rotation_poll_interval": -1.0}, "--rotation-poll-interval must not be negative"),
        ({"max_call_recv_msg_size": 0}, "--max-call-recv-msg-size must be greater than 0"),
        ({"token_request_audience": ("a", "")}, "must not contain an empty audience"),
        ({"leader_elect": True}, "--leader-elect outside a pod needs --leader-election-namespace"),
        ({"metrics_bind_address": "nowhere"}, "nowhere"),
    ],
)
def test_wrong_flags(settings: Object, text: str) -> None:
    """A flag that cannot work → the error names it."""
    with pytest.raises(ConfigurationError, match=text):
        SyncConfig(**settings)


def test_version() -> None:
    """--version → the version as JSON, and exit code 0; an unknown flag → 2 and a sentence."""
    done = subprocess.run(
        [sys.executable, "-m", main.__name__, "--version"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0 and json.loads(done.stdout)
    assert main.main(["--no-such-flag"]) == 2


def test_health_and_metrics(rig: FakeSecretSyncRig) -> None:
    """/healthz, /readyz and /metrics are served; a sync and a failure are counted, and who leads."""
    health, metrics = free_port(), free_port()
    rig.make_sync()
    rig.make_sync("bad", secretProviderClassName="none")

    async def test() -> None:
        addresses = {"health_probe_bind_address": f"127.0.0.1:{health}", "metrics_bind_address": f"127.0.0.1:{metrics}"}
        async with rig.provider(), rig.controller(**addresses), aiohttp.ClientSession() as client:
            await rig.until_condition("SecretCreated", "CreateSuccessful")
            await rig.until_condition("SecretCreated", "SecretProviderClassMisconfigured", "bad")
            for path in ("/healthz", "/readyz"):
                async with client.get(f"http://127.0.0.1:{health}{path}") as response:
                    assert (response.status, await response.text()) == (200, "ok")

            page = ""

            async def counted() -> bool:
                nonlocal page
                async with client.get(f"http://127.0.0.1:{metrics}/metrics") as response:
                    page = await response.text()
                return all(re.search(line, page, re.MULTILINE) for line in METRICS)

            await until(counted, lambda: f"all metrics in {page}")  # counted after the API server has answered

    run_async(test)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times of the Lease that a test can wait for; a whole second is the shortest that the object can say."""
    for name, seconds in (("LEASE_SECONDS", 2.0), ("RENEW_SECONDS", 1.0), ("RETRY_SECONDS", 0.1)):
        monkeypatch.setattr(lease, name, seconds)


def holder(rig: FakeSecretSyncRig) -> str:
    """Who holds the Lease; empty if nobody does."""
    return str(((rig.api.find(LEASE_PATH) or {}).get("spec") or {}).get("holderIdentity") or "")


def test_one_leads(rig: FakeSecretSyncRig, short: None) -> None:
    """Two replicas → one syncs; it ends → it gives the Lease up, and the other one syncs."""
    rig.make_sync()

    async def test() -> None:
        async with rig.provider() as stub:
            async with rig.controller(leader_elect=True):
                await rig.until_condition("SecretCreated", "CreateSuccessful")
                first = holder(rig)
                async with rig.controller(leader_elect=True):
                    renewed = rig.api.get(LEASE_PATH)["metadata"]["resourceVersion"]
                    await until_blocking(
                        lambda: rig.api.get(LEASE_PATH)["metadata"]["resourceVersion"] != renewed, "a renewal"
                    )
                    assert holder(rig) == first and stub.calls == 1
            assert holder(rig) == ""
            async with rig.controller(leader_elect=True):
                await until_blocking(lambda: holder(rig) not in ("", first), "another leader")
                await stub.wait_for_calls(2)

    run_async(test)


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_it_ends_while_a_write_is_unanswered(rig: FakeSecretSyncRig, short: None, method: str) -> None:
    """A replica ends after the API server has carried out its write of the Lease, the first or a renewal, and before it
    has the answer → it gives the Lease up all the same."""

    async def test() -> None:
        async with rig.controller(leader_elect=True):
            rule = rig.server.on(method, r"/leases", LateAnswer(), times=1)
            await until(lambda: rule.hits and holder(rig), "the write")
        assert holder(rig) == ""

    run_async(test)


def test_it_ends_after_somebody_has_written_the_lease(rig: FakeSecretSyncRig, short: None) -> None:
    """A replica ends after somebody has annotated its Lease, which it does not know → it gives it up, the annotation
    stays."""

    async def test() -> None:
        async with rig.controller(leader_elect=True):
            await until_blocking(lambda: holder(rig), "the leader")
            rule = rig.server.on("PUT", r"/leases", Silence(), times=1)
            await until(lambda: rule.hits, "a renewal")
            rig.api.patch(LEASE_PATH, {"metadata": {"annotations": {"a": "b"}}})
        assert holder(rig) == "" and rig.api.get(LEASE_PATH)["metadata"]["annotations"] == {"a": "b"}

    run_async(test)


def test_the_calls_for_the_lease_are_counted(rig: FakeSecretSyncRig, short: None) -> None:
    """A replica that waits for the Lease, and so calls the API server for nothing else → its calls are in the metrics,
    and the API server is reachable."""
    port = free_port()

    async def test() -> None:
        async with rig.controller(leader_elect=True):
            await until_blocking(lambda: holder(rig), "the leader")
            address = {"metrics_bind_address": f"127.0.0.1:{port}"}
            async with rig.controller(leader_elect=True, **address), aiohttp.ClientSession() as client:

                async def counted() -> bool:
                    try:
                        async with client.get(f"http://127.0.0.1:{port}/metrics") as response:
                            page = await response.text()
                    except aiohttp.ClientConnectionError:
                        return False  # it is not served yet
                    assert "secrets_store_sync_leader 0.0" in page
                    return 'rest_client_requests_total{code="200"' in page and "secrets_store_api_reachable 1.0" in page

                await until(counted, "the calls")

    run_async(test)


def test_a_renewal_is_one_call(rig: FakeSecretSyncRig, short: None) -> None:
    """A leader renews its Lease → it writes it without reading it before, and reads it only if somebody else has
    written it meanwhile; then it goes on leading."""

    async def test() -> None:
        async with rig.provider(), rig.controller(leader_elect=True):
            await until_blocking(lambda: holder(rig), "the leader")
            mark, leader = rig.server.calls.mark(), holder(rig)
            await until(lambda: rig.server.calls.count(mark)["update", "leases"] > 2, "renewals")
            assert rig.server.calls.count(mark)["get", "leases"] == 0
            rig.api.patch(LEASE_PATH, {"metadata": {"annotations": {"a": "b"}}})
            await until(lambda: rig.server.calls.count(mark)["get", "leases"] > 0, "the Lease to be read")
            mark = rig.server.calls.mark()
            await until(lambda: rig.server.calls.count(mark)["update", "leases"] > 2, "more renewals")
            assert rig.server.calls.count(mark)["get", "leases"] == 0 and holder(rig) == leader
            lease = rig.api.get(LEASE_PATH)
            assert lease["metadata"]["annotations"] == {"a": "b"} and lease["spec"]["leaseTransitions"] == 0

    run_async(test)


def test_a_lost_lease_ends_the_work(rig: FakeSecretSyncRig, short: None) -> None:
    """Another one takes the Lease while a sync is under way → the work is cancelled and nothing more is written,
    until the other one's Lease expires."""
    rig.make_sync()

    async def test() -> None:
        async with rig.provider() as stub, rig.controller(leader_elect=True):
            await rig.until_condition("SecretCreated", "CreateSuccessful")
            stolen = {"holderIdentity": "other", "leaseDurationSeconds": 2}
            rig.api.patch(LEASE_PATH, {"spec": stolen})
            mark = rig.server.calls.mark()
            await until(
                lambda: rig.server.calls.count(mark)["get", "leases"] > 2 and holder(rig) == "other",
                "the loss to be noticed",
            )
            rig.make_sync(forceSynchronization="1")
            assert stub.calls == 1
            await until_blocking(lambda: holder(rig) not in ("", "other"), "the Lease to be taken back")
            await stub.wait_for_calls(2)
            assert rig.api.get(LEASE_PATH)["spec"]["leaseTransitions"] >= 1
            assert stub.calls == 2

    run_async(test)


def test_an_api_server_that_is_away_ends_leadership(rig: FakeSecretSyncRig, short: None) -> None:
    """The Lease cannot be renewed → the leader stops within the time for that, and leads again afterwards."""
    rig.make_sync()

    async def test() -> None:
        async with rig.provider() as stub, rig.controller(leader_elect=True):
            await rig.until_condition("SecretCreated", "CreateSuccessful")
            rule = rig.server.on("*", r"/leases", Answer(403))
            watches = len(rig.server.watches)
            assert watches == 2
            await until_blocking(lambda: len(rig.server.watches) == 0, "the work to end")
            rule.lift()
            await stub.wait_for_calls(2)

    run_async(test)


def test_two_that_take_it_at_once(rig: FakeSecretSyncRig, short: None) -> None:
    """The Lease changes between reading and writing it → the slower one gets a 409 and waits."""
    rig.make_sync()
    rule = rig.server.on("POST", r"/leases$", Answer(409), times=1)

    async def test() -> None:
        async with rig.provider(), rig.controller(leader_elect=True):
            await rig.until_condition("SecretCreated", "CreateSuccessful")
            assert rule.hits == 1

    run_async(test)


def test_it_ends_with_its_signal(rig: FakeSecretSyncRig) -> None:
    """The stop event is set while the API server is silent → the server ends."""

    async def test() -> None:
        stop = asyncio.Event()
        with rig.server.away():
            task = asyncio.create_task(SyncServer(rig.config(leader_elect=True)).serve(stop))
            await asyncio.sleep(0)
            stop.set()
            async with asyncio.timeout(20):
                await task

    run_async(test)
