"""Credential plugins that hang, fail, or print too much, garbage or nothing: a sentence each, and no process is
left."""

import asyncio
import io
import json
import sys
import time
from pathlib import Path

import psutil
import pytest

from driver.cluster import credential_plugin
from driver.cluster.api import Api
from runtime.errors import ConfigurationError
from tests.driver.cluster.connecting import run
from tests.support.fake_api import FakeApi
from tests.support.waiting import until, wait_until

VERSION = "client.authentication.k8s.io/v1"
GOOD = json.dumps({"apiVersion": VERSION, "kind": "ExecCredential", "status": {"token": "first"}})
FORK = "import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
SAY_PID = "print(child.pid, file=open(sys.argv[1], 'w'), flush=True)\n"


@pytest.fixture(autouse=True)
def _short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credential_plugin, "DRAIN_SECONDS", 0.3)


def plugin(directory: Path, program: str) -> list[str]:
    """The command of a plugin that is this program; its argument is a file for the pid of its child."""
    (directory / "plugin.py").write_text(program)
    return [sys.executable, str(directory / "plugin.py"), str(directory / "pid")]


def status_of(command: list[str]) -> dict[str, object]:
    """What the driver gets from a plugin."""
    return asyncio.run(credential_plugin.run(command, {}, VERSION))


def failure_of(command: list[str]) -> str:
    """The sentence about a plugin that fails."""
    with pytest.raises(ConfigurationError) as raised:
        status_of(command)
    return str(raised.value)


def child_of(directory: Path) -> psutil.Process | None:
    """The plugin's child, if it still runs."""
    try:
        process = psutil.Process(int((directory / "pid").read_text()))
        return None if process.status() == psutil.STATUS_ZOMBIE else process
    except psutil.NoSuchProcess:
        return None


def test_good_plugin(tmp_path: Path) -> None:
    """The plugin prints a credential, and a megabyte to stderr, which would block it if nobody read that; it is asked
    as client-go asks → the status."""
    command = plugin(
        tmp_path,
        "import json, os, sys\n"
        "info = json.loads(os.environ['KUBERNETES_EXEC_INFO'])\n"
        f"assert info == {{'apiVersion': '{VERSION}', 'kind': 'ExecCredential', 'spec': {{'interactive': False}}}}\n"
        "assert sys.stdin.read() == ''\n"
        f"sys.stderr.write('x' * 1_000_000)\nprint({GOOD!r})",
    )
    assert status_of(command) == {"token": "first"}


@pytest.mark.parametrize("ending", ["import time; time.sleep(600)", "while True: pass"])
def test_hanging_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    """The plugin has a child and does not end → killed with its child; the sentence has what it wrote, redacted."""
    monkeypatch.setattr(credential_plugin, "RUN_SECONDS", 2.0)
    said = "print('waiting for https://user:canary@sso.example', file=sys.stderr, flush=True)\n"
    text = failure_of(plugin(tmp_path, FORK + said + SAY_PID + ending))
    assert "did not end within 2 s and was killed; it wrote: waiting for https://user:" in text and "canary" not in text
    wait_until(lambda: child_of(tmp_path) is None, "the child's end")


@pytest.mark.parametrize("escaped", [False, True])
def test_child_that_holds_the_output(tmp_path: Path, escaped: bool) -> None:
    """The plugin ends well, but its child lives and holds its output → the status, long before the limit, and the child
    is killed, unless it has a session of its own."""
    fork = FORK.replace(")'])", ")'], start_new_session=True)") if escaped else FORK
    started = time.monotonic()
    assert status_of(plugin(tmp_path, fork + SAY_PID + f"print({GOOD!r}, flush=True)")) == {"token": "first"}
    assert time.monotonic() - started < credential_plugin.RUN_SECONDS / 2
    if escaped:
        child = child_of(tmp_path)
        assert child is not None
        child.kill()
    wait_until(lambda: child_of(tmp_path) is None, "the child's end")


@pytest.mark.parametrize(
    ("program", "text"),
    [
        ("import sys; sys.stderr.write('token=canary expired\\n'); sys.exit(1)", "ended with code 1; it wrote: token="),
        ("import sys; sys.exit(3)", "ended with code 3"),
        ("import os; os.kill(os.getpid(), 9)", "ended with code -9"),
        ("print('canary')", "did not print an ExecCredential"),
        ("", "did not print an ExecCredential"),
        ("print('[]')", "did not print an ExecCredential"),
        ('print(\'{"status": "canary"}\')', "did not print an ExecCredential"),
        (f"print({GOOD!r}.replace('/v1', '/v1beta1'))", "another apiVersion than client.authentication.k8s.io/v1"),
        (f"print({GOOD!r}.replace('token', 'tokens'))", "neither a token nor a client certificate"),
        ("import sys; sys.stdout.buffer.write(bytes(10_000_000))", "printed more than 1048576 bytes and was killed"),
        ("import sys\nwhile True: sys.stdout.write('canary' * 1000)", "printed more than 1048576 bytes"),
        ("import sys; sys.stderr.write('y' * 10_000_000); sys.exit(1)", "ended with code 1; it wrote: yyy"),
    ],
)
def test_faulty_plugin(tmp_path: Path, program: str, text: str) -> None:
    """The plugin fails, or prints something else than a credential → a bounded sentence that quotes only stderr,
    redacted."""
    said = failure_of(plugin(tmp_path, program))
    assert text in said and "canary" not in said and len(said) < 6_000


def test_missing_plugin(tmp_path: Path) -> None:
    """The command does not exist, or may not be executed → a sentence that names it."""
    for path in (tmp_path / "nowhere", tmp_path):
        assert f"the credential plugin {path} cannot be started" in failure_of([str(path)])


@pytest.mark.parametrize("turns", range(6))
def test_cancelled_at_the_start(tmp_path: Path, turns: int) -> None:
    """The driver ends when a plugin has started a child, but the event loop has not seen to the plugin's output yet →
    both are killed, and nothing waits for the child."""

    async def run_and_cancel() -> None:
        command = plugin(tmp_path, FORK + SAY_PID + "import time; time.sleep(600)")
        others = set(psutil.Process().children())
        running = asyncio.create_task(credential_plugin.run(command, {}, VERSION))
        while set(psutil.Process().children()) <= others:
            await asyncio.sleep(0)
        wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), "the child")
        for _ in range(turns):
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.wait([running], timeout=10.0)
        assert running.cancelled()

    asyncio.run(run_and_cancel())
    wait_until(lambda: child_of(tmp_path) is None, "the child's end")


def test_cancelled(tmp_path: Path) -> None:
    """The driver ends while a plugin runs → the plugin and its child are killed."""

    async def run_and_cancel() -> None:
        command = plugin(tmp_path, FORK + SAY_PID + "import time; time.sleep(600)")
        running = asyncio.create_task(credential_plugin.run(command, {}, VERSION))
        await until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), "the child")
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(run_and_cancel())
    wait_until(lambda: child_of(tmp_path) is None, "the child's end")


def test_calls_with_a_plugin(server: FakeApi, tmp_path: Path, logged: io.StringIO) -> None:
    """A kubeconfig names a plugin: at first it fails → calls wait and the log has the sentence; it is slower than one
    caller's time → it is not started again for the next one; it is run again after a 401."""
    server.tokens = {"first": "driver"}
    path = Path(server.kubeconfig(tmp_path / "kubeconfig"))
    content = json.loads(path.read_text())
    command, *arguments = plugin(tmp_path, "import sys; sys.exit('not logged in')")
    exec_ = {"apiVersion": VERSION, "command": command, "args": arguments, "env": [{"name": "LOUD", "value": "1"}]}
    content["users"][0]["user"] = {"exec": exec_}
    path.write_text(json.dumps(content))
    count = f"import os, time; os.environ['LOUD']; open({str(tmp_path / 'runs')!r}, 'a').write('x')\n"

    async def test(api: Api) -> None:
        calling = asyncio.create_task(api.call("GET", "/version"))
        await until(lambda: "ended with code 1; it wrote: not logged in" in logged.getvalue(), "the log line")
        calling.cancel()
        plugin(tmp_path, count + f"time.sleep(1.0); print({GOOD!r})")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await api.call("GET", "/version")
        await api.call("GET", "/version")
        assert (tmp_path / "runs").read_text() == "x"
        plugin(tmp_path, count + f"print({GOOD.replace('first', 'second')!r})")
        server.tokens = {"second": "driver"}
        await api.call("GET", "/version")
        assert (tmp_path / "runs").read_text() == "xx"

    run(str(path), test)
