"""The status page as people see it: what is bad comes first; a real browser shows it as intended."""

import asyncio
import os
import re
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from probe.status_page import render
from runtime import http
from runtime.endpoints import TcpEndpoint
from tests.probe.test_handlers import DRIVER, REGISTRAR, pages

HOSTILE = "</td><script>document.title='broken'</script>"


def volume(pod: str, failures: int = 0, **fields: Any) -> dict[str, Any]:
    """A volume as in the driver's status."""
    return {
        "pod": f"default/{pod}",
        "class": "default/app",
        "provider": "vault",
        "last_refresh": time.time() - 61,
        "failures": failures,
        "reason": "denied" if failures else "",
        **fields,
    }


def state(**driver: Any) -> dict[str, Any]:
    """The node's state as the page takes it."""
    return {
        "version": "v1",
        "driver": {**DRIVER, **driver},
        "registrar": REGISTRAR,
        "not_ready": [],
        "processes": [{"role": "driver", "pid": 0, "resident_bytes": 0, "cpu_seconds": 0.0, "restarts": 2}],
    }


def test_failures_come_first() -> None:
    """Failing volumes are at the top, most failures first, and marked; so is a role that is down, without figures."""
    text = render(state(volumes=[volume("a"), volume("b", failures=3), volume("c", failures=1)]))
    assert re.findall(r"default/(\w)<", text) == ["b", "c", "a"]
    assert text.count("<tr class=bad>") == 3
    assert "<tr class=bad><td>driver<td>down<td><td><td>2" in text


def test_noswap_and_unknown_ages() -> None:
    """The kernel has no noswap → the page says so, and is silent if it has, or if the driver is an earlier one. The age
    of a volume is unknown → "unknown", not an age of 0."""
    words = "Volumes may be swapped"
    assert words in render(state(noswap=False))
    assert words not in render(state(noswap=True)) and words not in render(state())
    assert "<td>unknown<td>0" in render(state(volumes=[volume("a", last_refresh=None)]))


def test_unknown_roles() -> None:
    """The driver and the registrar are unknown (Go programs) → shown as such, without empty tables."""
    text = render({"version": "v1", "driver": None, "registrar": None, "not_ready": [], "processes": []})
    assert "Node: unknown<br>Registration: unknown" in text and text.count("<p>none</p>") == 3


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium: apt-get install chromium")
def test_in_a_browser(tmp_path: Path) -> None:
    """A real browser shows a row for each volume, runs no script from a hostile name, and reports no violation of the
    content security policy."""

    async def run() -> tuple[str, str]:
        driver = {**DRIVER, "volumes": [volume("a"), volume(HOSTILE)], "node": HOSTILE}
        async with (
            pages(tmp_path, REGISTRAR, driver) as page,
            http.serve(TcpEndpoint("127.0.0.1", 0), {"/": page.status_page}) as port,
        ):
            with tempfile.TemporaryDirectory() as profile:
                browser = await asyncio.create_subprocess_exec(
                    "chromium",
                    "--headless",
                    "--no-sandbox",
                    "--disable-gpu",
                    "--enable-logging=stderr",
                    f"--user-data-dir={profile}",
                    "--dump-dom",
                    f"http://127.0.0.1:{port}/",
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.PIPE,
                    env={**os.environ, "HOME": profile},
                )
                out, err = await browser.communicate()
        return out.decode(), err.decode()

    found, log = asyncio.run(run())
    assert "<title>Secrets Store CSI driver: ready</title>" in found and "<script" not in found
    assert found.count("default/a</td>") == 1 and found.count("&lt;script&gt;") == 2
    assert "Content Security Policy" not in log
