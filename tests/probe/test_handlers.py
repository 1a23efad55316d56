"""The pages, from the statuses that the roles serve: what makes a node ready, and what is shown."""

import asyncio
import json
import os
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from probe.config import ProbeConfig
from probe.driver import DriverProbe
from probe.handlers import Handlers
from probe.processes import Processes
from runtime import http, metrics, status
from runtime.flags import Duration
from runtime.supervisor.role_table import RoleTable
from tests.probe.page.states import rows
from tests.support.fake_driver import NAME, fake_driver

REQUEST = http.Request("GET", "/", "")
REGISTRAR = {"role": "registrar", "state": "registered", "driver": NAME, "since": 1.0, "error": ""}
DRIVER = {
    "role": "driver",
    "version": "v1",
    "node": "node-1",
    "started": 1.0,
    "ready": True,
    "reason": "",
    "not_ready_reasons": [],
    "volumes": [],
    "providers": [],
}


@asynccontextmanager
async def pages(
    directory: Path, *roles: Mapping[str, Any], role_table: RoleTable | None = None
) -> AsyncIterator[Handlers]:
    """The pages, with a healthy driver and these roles' statuses."""
    config = ProbeConfig(
        csi_address=f"{directory}/csi.sock",
        probe_timeout=Duration(10.0),
        status_directory=f"{directory}/status",
        http_endpoint="127.0.0.1:0",
    )
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(fake_driver(f"{directory}/csi.sock"))
        for role in roles:
            served = status.serve(config.status_directory, role["role"], partial(dict, role))
            await stack.enter_async_context(served)
        registry = metrics.registry()
        driver = DriverProbe(config.driver.path, config.probe_timeout, registry)
        stack.callback(driver.close)
        yield Handlers(config, driver, Processes(role_table), registry)


async def samples(page: Handlers) -> dict[tuple[str, str], float]:
    """The metrics page's samples by name and label values."""
    text = (await page.metrics(REQUEST)).body.decode()
    return {
        (sample.name, ",".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.mark.parametrize(
    "roles, reasons",
    [
        ((), ""),
        ((REGISTRAR,), ""),
        ((REGISTRAR, DRIVER), ""),
        (({**REGISTRAR, "state": "waiting for kubelet"}, DRIVER), "registrar: waiting for kubelet"),
        (({**REGISTRAR, "state": "refused by kubelet", "error": "no"},), "registrar: refused by kubelet: no"),
        (({**REGISTRAR, "state": "no driver", "error": "gone"},), "registrar: no driver: gone"),
        ((REGISTRAR, {**DRIVER, "ready": False, "reason": "it starts"}), "driver: it starts"),
        (
            (REGISTRAR, {**DRIVER, "not_ready_reasons": ["no provider", "no API"]}),
            "driver: no provider\ndriver: no API",
        ),
        ((REGISTRAR, {**DRIVER, "other": ["another field is not a reason"]}), ""),
        (({"role": "registrar"}, {"role": "driver"}), "registrar: \ndriver: not ready"),
    ],
)
def test_readyz(tmp_path: Path, roles: tuple[Mapping[str, Any], ...], reasons: str) -> None:
    """/readyz is 503 with one reason a line, or 200 ok; a role whose status is not served (one of the Go programs) is
    no reason; /healthz is 200 throughout."""

    async def run() -> None:
        async with pages(tmp_path, *roles) as page:
            answer = await page.readyz(REQUEST)
            assert (answer.status, answer.body.decode()) == ((503, reasons) if reasons else (200, "ok"))
            assert (await page.healthz(REQUEST)).status == 200  # kubelet does not kill the container for any of this

    asyncio.run(run())


@pytest.mark.parametrize(
    "query, roles, expected",
    [
        ("exclude=providers", (REGISTRAR, {**DRIVER, "not_ready_reasons": ["no provider is installed"]}), (200, "ok")),
        ("", (REGISTRAR, {**DRIVER, "not_ready_reasons": ["no provider"]}), (503, "driver: no provider")),
        ("exclude=", (REGISTRAR, {**DRIVER, "not_ready_reasons": ["no provider"]}), (503, "driver: no provider")),
        ("verbose", (REGISTRAR, DRIVER), (200, "ok")),
        ("exclude=providers", ({**REGISTRAR, "state": "no driver"}, DRIVER), (503, "registrar: no driver")),
        (
            "exclude=providers",
            (REGISTRAR, {**DRIVER, "ready": False, "reason": "it starts"}),
            (503, "driver: it starts"),
        ),
        ("exclude=kubelet", (REGISTRAR, DRIVER), (400, "only exclude=providers is known")),
    ],
)
def test_readyz_without_providers(
    tmp_path: Path, query: str, roles: tuple[Mapping[str, Any], ...], expected: tuple[int, str]
) -> None:
    """The readiness probe's question: a missing provider is no reason, everything else is; a wrong word is refused."""

    async def run() -> None:
        async with pages(tmp_path, *roles) as page:
            answer = await page.routes()["/readyz"](http.Request("GET", "/readyz", query))
            assert (answer.status, answer.body.decode()) == expected

    asyncio.run(run())


def role_table() -> RoleTable:
    """A role table as the supervisor shares it: the registrar was killed twice and is down, the driver is this
    process."""
    made = RoleTable(["registrar", "driver"])
    for pid in (1, 1):
        made.record_start("registrar", pid, time.time())
        made.record_exit("registrar", -9)
    made.record_start("driver", os.getpid(), time.time())
    return made


def test_supervised_role_that_is_down(tmp_path: Path) -> None:
    """A supervised role is down → it is a reason on /readyz, and the status page and the metrics show it as down."""

    async def run() -> None:
        async with pages(tmp_path, DRIVER, role_table=role_table()) as page:
            answer = await page.readyz(REQUEST)
            assert (answer.status, answer.body) == (503, b"registrar: does not answer")
            found = await samples(page)
            assert found["secrets_store_role_restarts_total", "registrar"] == 1
            assert ("process_resident_memory_bytes", "registrar") not in found
            assert found["process_resident_memory_bytes", "driver"] > 1024 * 1024
            down, *_ = rows((await page.status_page(REQUEST)).body.decode(), "processes")
            assert down.startswith("✕ down registrar")

    asyncio.run(run())


def test_livez(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """/livez is ok whatever the driver does; 500 once the supervisor that started the probe is gone."""

    async def run() -> None:
        async with pages(tmp_path, role_table=role_table()) as page:
            assert await page.livez(REQUEST) == http.text_response("ok")
            monkeypatch.setattr(os, "getppid", lambda: 1)
            assert await page.livez(REQUEST) == http.text_response("supervisord is gone", 500)

    asyncio.run(run())


@pytest.mark.parametrize("role, state", [(REGISTRAR, "registered"), ({**REGISTRAR, "state": "no driver"}, "no driver")])
def test_registration_metrics(tmp_path: Path, role: Mapping[str, Any], state: str) -> None:
    """The metrics have the registration as 1 or 0 and its state by name; no series if the registrar is unknown."""

    async def run() -> None:
        async with pages(tmp_path, role) as page:
            found = await samples(page)
            assert found["secrets_store_registered", ""] == float(state == "registered")
            assert found["secrets_store_registration_state", state] == 1.0
        async with pages(tmp_path) as page:
            assert not [name for name, _ in await samples(page) if name.startswith("secrets_store_regist")]

    asyncio.run(run())


def test_status_page(tmp_path: Path) -> None:
    """The status page shows volumes with their age, providers and processes; names that others chose are
    escaped, and the browser may load nothing."""
    hostile = "<script>alert(1)</script>"
    role = {
        **DRIVER,
        "node": hostile,
        "volumes": [
            {
                "pod": f"default/{hostile}",
                "class": "default/app",
                "provider": hostile,
                "target": "/x",
                "failures": 2,
                "reason": hostile,
                "last_refresh": time.time() - 61,
            }
        ],
        "providers": [
            {
                "name": hostile,
                "socket": "/p/x.sock",
                "unused_sockets": hostile,
                "version": hostile,
                "last_error": hostile,
            }
        ],
    }

    async def run() -> None:
        async with pages(tmp_path, {**REGISTRAR, "error": hostile, "state": hostile}, role) as page:
            answer = await page.status_page(REQUEST)
            text = answer.body.decode()
            assert answer.content_type == "text/html; charset=utf-8"
            assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'sha256-")
            assert text.count("<script") == 1 and "&lt;script&gt;" in text
            assert "61 s ago" in text or "62 s ago" in text
            assert "default/app" in text and "/p/x.sock" in text and "probe" in text
            shown = json.loads((await page.status(REQUEST)).body)
            assert shown["driver"] == role and shown["healthz"] == {"healthy": True, "text": "ok"}

    asyncio.run(run())


def test_silent_driver(tmp_path: Path) -> None:
    """The driver's status is served, then not, then again → meanwhile /status has what was last known, with the times,
    and the page shows it; the status itself is None."""

    async def run() -> None:
        async with pages(tmp_path, REGISTRAR, role_table=role_table()) as page:

            async def shown() -> dict[str, Any]:
                return dict(json.loads((await page.status(REQUEST)).body))

            found = await shown()
            assert found["driver"] is None and found["last_known"] == {} and found["supervised"] is True
            for _ in range(2):
                async with status.serve(f"{tmp_path}/status", "driver", lambda: DRIVER):
                    assert (await shown())["last_known"] == {}
                before = time.time()
                found = await shown()
                last = found["last_known"]["driver"]
                assert found["driver"] is None and last["status"] == DRIVER
                assert last["at"] <= last["silent_since"] + 0.1 and last["silent_since"] >= before - 0.1
                assert (await shown())["last_known"]["driver"]["silent_since"] == pytest.approx(
                    last["silent_since"], abs=0.1
                )
                assert "the driver does not answer; " in (await page.status_page(REQUEST)).body.decode()

    asyncio.run(run())


def test_everything_at_one_address(tmp_path: Path) -> None:
    """The status pages' own address serves the health checks and metrics, too, and the page links them all."""

    async def run() -> None:
        async with pages(tmp_path, REGISTRAR, DRIVER) as page:
            routes = page.status_routes()
            assert set(routes) == {"/", "/status", "/healthz", "/livez", "/readyz", "/metrics"}
            text = (await page.status_page(REQUEST)).body.decode()
            linked = set(re.findall(r'href="(/[a-z]+)"', text))
            assert linked == set(routes) - {"/"}
            for path in linked:
                assert (await routes[path](http.Request("GET", path, "", "localhost"))).status == 200
                assert (await routes[path](http.Request("GET", path, "", "evil.example"))).status == 421

    asyncio.run(run())
