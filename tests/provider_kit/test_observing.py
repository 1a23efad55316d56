"""Metrics and health of a provider over HTTP."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import grpc
import pytest

from provider_kit import ConfigurationError, ServeConfig, serve
from provider_kit.observing import Metrics, serving
from tests.provider_kit.lab import LabProvider
from tests.support.http_client import fetch
from tests.support.ports import free_port
from tests.support.provider_calls import ROOT, mount, mount_message, refused, started, stub_of
from tests.support.waiting import run_async, until_blocking


def samples(text: str) -> dict[str, float]:
    """Values by series."""
    return {name: float(value) for name, value in re.findall(r"^([^#\n]\S*(?:\{.*\})?) (\S+)$", text, re.MULTILINE)}


def test_metrics(tmp_path: Path) -> None:
    """Calls that succeed, fail, end with an error code and hang → counted by code, measured, and shown as running."""
    path = tmp_path / "lab.sock"

    async def scenario() -> None:
        observed = Metrics(LabProvider())
        async with (
            serve(LabProvider(), f"unix://{path}", observed) as server,
            serving("127.0.0.1:0", server, observed) as port,
            stub_of(path) as stub,
        ):
            await mount(path, what="files")
            await mount(path, what="code")
            for _ in range(2):
                await refused(path, grpc.StatusCode.PERMISSION_DENIED, what="denied")
            await refused(path, grpc.StatusCode.INTERNAL, what="bug")
            hanging = stub.Mount(mount_message(what="hang"))
            asyncio.ensure_future(hanging)

            def found() -> dict[str, float]:
                return samples(fetch(port, "/metrics")[1])

            await until_blocking(lambda: found()["secrets_store_provider_mounts_running"] == 1, "a running call")
            values = await asyncio.to_thread(found)
            hanging.cancel()
            total = "secrets_store_provider_mounts_total"
            assert {name: value for name, value in values.items() if name.startswith(total)} == {
                f'{total}{{code="OK"}}': 1,
                f'{total}{{code="ERROR_CODE"}}': 1,
                f'{total}{{code="PERMISSION_DENIED"}}': 2,
                f'{total}{{code="INTERNAL"}}': 1,
            }
            assert values["secrets_store_provider_mount_seconds_count"] == 5
            assert [name for name in values if 'info{name="lab"' in name]
            await until_blocking(lambda: found().get(f'{total}{{code="CANCELLED"}}'), "the call that was given up")

    run_async(scenario)


@pytest.mark.parametrize("what", ["removed", "replaced by a file", "replaced by another provider"])
def test_health(tmp_path: Path, what: str) -> None:
    """The socket's path leads to this provider → 200; it was removed or replaced → 503, which names the socket."""
    path = tmp_path / "lab.sock"

    async def scenario() -> None:
        observed = Metrics(LabProvider())
        async with (
            serve(LabProvider(), f"unix://{path}", observed) as server,
            serving("127.0.0.1:0", server, observed) as port,
        ):
            assert await asyncio.to_thread(fetch, port) == (200, "ok")
            if what == "replaced by another provider":
                async with serve(LabProvider(), f"unix://{path}"):
                    status, text = await asyncio.to_thread(fetch, port)
            else:
                path.unlink()
                if "file" in what:
                    path.write_text("")
                status, text = await asyncio.to_thread(fetch, port)
            assert status == 503 and str(path) in text

    run_async(scenario)


def test_the_flag(tmp_path: Path) -> None:
    """A provider's command with ``--metrics-addr`` → both paths are served, and nothing else is."""
    port = free_port()
    command = [sys.executable, "-m", "provider_stub.main", f"--metrics-addr=127.0.0.1:{port}"]

    async def scenario() -> None:
        async with started(command, tmp_path / "stub.sock"):
            assert await asyncio.to_thread(fetch, port) == (200, "ok")
            status, text = await asyncio.to_thread(fetch, port, "/metrics")
            assert status == 200 and 'name="secrets-store-provider-stub"' in text
            assert (await asyncio.to_thread(fetch, port, "/"))[0] == 404

    run_async(scenario)


@pytest.mark.parametrize("address", ["8090", "localhost", ":port", ":99999"])
def test_bad_addresses(address: str) -> None:
    """What is no address → refused where the flag is parsed, before anything is served."""
    with pytest.raises(ConfigurationError, match="use host:port"):
        ServeConfig(metrics_addr=address)


def test_without_the_package(tmp_path: Path) -> None:
    """prometheus-client is not installed → a provider serves without metrics; with the flag it says what to install."""
    script = (
        "import sys; sys.modules['prometheus_client'] = None\n"
        "from provider_kit import Provider, ServeConfig, run_command\n"
        "sys.exit(run_command('lab', ServeConfig, lambda config: Provider()))\n"
    )
    endpoint = f"--endpoint=unix://{tmp_path}/lab.sock"
    done = subprocess.run(
        [sys.executable, "-c", script, endpoint, "--metrics-addr=127.0.0.1:0"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1 and "install secrets-store-provider-kit[metrics]" in done.stderr
    assert "Traceback" not in done.stderr

    async def scenario() -> None:
        async with started([sys.executable, "-c", script], tmp_path / "other.sock"):
            pass

    run_async(scenario)
