"""The probe in sandboxes whose /proc lacks files or lines: a figure that cannot be read is left out."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.probe.page.states import rows

PROGRAM = """
import asyncio, json, os, subprocess, sys
from pathlib import Path
from tests.support.namespaces import enter_private
enter_private()
os.environ["OWN_PID"] = str(os.getpid())
subprocess.run(["sh", "-ec", sys.argv[2]], check=True)
from prometheus_client import CollectorRegistry, generate_latest
from tests.probe.test_handlers import DRIVER, REGISTRAR, REQUEST, pages, role_table

async def run():
    async with pages(Path(sys.argv[1]), REGISTRAR, DRIVER, role_table=role_table()) as page:
        answers = [await page.metrics(REQUEST), await page.status(REQUEST), await page.status_page(REQUEST)]
        print(json.dumps([answer.body.decode() for answer in answers]))

asyncio.run(run())
"""
START = "process_start_time_seconds"
ALL = {"process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds", START}


@pytest.mark.parametrize(
    "mask, left",
    [
        pytest.param("", ALL, id="nothing"),
        pytest.param(
            "grep -v btime /proc/stat > $0/stat; mount --bind $0/stat /proc/stat", ALL - {START}, id="no-btime"
        ),
        pytest.param("mount --bind /dev/null /proc/stat", ALL - {START}, id="masked-stat"),
        pytest.param("mount -t proc -o subset=pid proc /proc", ALL - {START}, id="subset-pid"),
        pytest.param(
            "echo btime > $0/stat; mount --bind $0/stat /proc/stat", ALL - {START}, id="btime-without-a-figure"
        ),
        pytest.param(
            "mount --bind /dev/null /proc/$OWN_PID/statm",
            ALL - {"process_resident_memory_bytes"},
            id="masked-memory",
        ),
        pytest.param("mount -t tmpfs none /proc/$OWN_PID/fd", ALL, id="no-descriptors"),
    ],
)
def test_masked_proc(tmp_path: Any, mask: str, left: set[str]) -> None:
    """A figure is missing in /proc → its series is left out, all others are there, and no page fails."""
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), mask.replace("$0", str(tmp_path))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if "permission denied" in done.stderr.lower():
        pytest.skip(f"the machine does not permit it: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    metrics, status, html = json.loads(done.stdout)
    assert {name for name in ALL if f'{name}{{role="driver"}}' in metrics} == left
    (driver,) = (item for item in json.loads(status)["processes"] if item["role"] == "driver")
    assert driver["pid"] > 0 and (driver["started"] is None) is (START not in left)
    assert not any("down driver" in row for row in rows(html, "processes"))
