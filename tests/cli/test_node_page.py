"""``secrets-store status --open``: which pod, which port, and what happens to kubectl."""

import os
import signal
import stat
import subprocess
import sys
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from cli import node_page
from cli.main import main
from tests.cli.test_status import driver
from tests.support.fake_api import FakeApi
from tests.support.waiting import wait_until

# What the real one does: a line for each address, then it forwards until it is ended.
KUBECTL = """#!/bin/sh
echo "$@" > "$0.arguments"
echo $$ > "$0.pid"
echo "Forwarding from 127.0.0.1:40123 -> 9809"
exec sleep 60
"""


@pytest.fixture
def api() -> Iterator[FakeApi]:
    """Two nodes."""
    with FakeApi() as server:
        server.create(driver("n1"))
        server.create(driver("n2"))
        yield server


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in place of kubectl."""
    program = tmp_path / "bin" / "kubectl"
    program.parent.mkdir()
    program.write_text(KUBECTL)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return program


def pod(node: str, *arguments: str, **fields: Any) -> dict[str, Any]:
    """A driver's pod whose container has these arguments."""
    made = driver(node, **fields)
    made["spec"]["containers"] = [{"name": "driver", "args": list(arguments)}]
    return made


@pytest.mark.parametrize(
    "arguments, port",
    [
        ((), 9809),
        (("--v=5",), 9809),
        (("--status-endpoint=127.0.0.1:7000",), 7000),
        (("--status-endpoint=[::1]:7001", "--x"), 7001),
        (("--status-endpoint=0.0.0.0:9808",), 9808),
    ],
)
def test_port(arguments: tuple[str, ...], port: int) -> None:
    """The port is that of the flag in the pod, or the default."""
    assert node_page.find([pod("n1", *arguments)], "") == node_page.DriverPod("n1", "kube-system", "driver-n1", port)


def test_the_ready_one_of_two() -> None:
    """A roll-out surges, so that a node has two pods → the one that is ready."""
    broken: dict[str, Any] = {"phase": "Pending"}
    for pods in ([pod("n1", status=broken, name="new"), pod("n1")], [pod("n1"), pod("n1", status=broken, name="new")]):
        assert node_page.find(pods, "n1").name == "driver-n1"


@pytest.mark.parametrize(
    "pods, node, sentence",
    [
        ([pod("n1"), pod("n2")], "", "each node has a page of its own; name one with --node: n1, n2"),
        ([], "", "name one with --node: there is none"),
        ([pod("n1")], "n3", "there is no driver on node n3"),
        ([pod("n1", "--status-endpoint=")], "", "the status page is turned off: set statusEndpoint"),
        ([pod("n1", "--status-endpoint=nonsense")], "", "--status-endpoint of the pod driver-n1: invalid address"),
    ],
)
def test_no_page(pods: list[dict[str, Any]], node: str, sentence: str) -> None:
    """No pod, several, or none with a page → a sentence that says what to do."""
    with pytest.raises(click.ClickException) as raised:
        node_page.find(pods, node)
    assert sentence in raised.value.message


def test_it_is_forwarded_until_ctrl_c(
    api: FakeApi, tmp_path: Path, kubectl: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kubectl forwards a free port of this machine to the pod, the browser is opened there; Ctrl-C ends both."""
    config = api.kubeconfig(tmp_path / "kubeconfig")
    monkeypatch.setenv("BROWSER", f"sh -c 'echo %s > {tmp_path}/opened'")
    command = [sys.executable, "-m", "cli", "status", "--kubeconfig", config, "--node", "n2", "--open"]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    wait_until((tmp_path / "opened").exists, "the browser")
    running.send_signal(signal.SIGINT)
    output, _ = running.communicate(timeout=20)
    assert running.returncode == 0 and "The status page of n2: http://127.0.0.1:40123/ (until Ctrl-C)" in output
    assert (tmp_path / "opened").read_text().strip() == "http://127.0.0.1:40123/"
    arguments = Path(f"{kubectl}.arguments").read_text().split()
    assert arguments == [
        "port-forward", "--namespace=kube-system", "--address=127.0.0.1", f"--kubeconfig={config}",
        "pod/driver-n2", ":9809",
    ]  # fmt: skip  # as on a command line
    with pytest.raises(ProcessLookupError):
        os.kill(int(Path(f"{kubectl}.pid").read_text()), 0)


def run(api: FakeApi, tmp_path: Path, *options: str) -> tuple[int, str]:
    """Exit code and output."""
    config = api.kubeconfig(tmp_path / "kubeconfig")
    result = CliRunner().invoke(main, ["status", "--kubeconfig", config, "--node", "n1", "--open", *options])
    return result.exit_code, result.output


def test_kubectl_fails(api: FakeApi, tmp_path: Path, kubectl: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """kubectl is missing, cannot forward, or ends → exit code 1 and a sentence each; without a browser the address is
    said."""
    monkeypatch.setattr(webbrowser, "open", lambda _: False)
    kubectl.write_text("#!/bin/sh\nexit 1\n")
    assert run(api, tmp_path) == (1, "Error: kubectl could not forward the port; its lines above say why\n")
    kubectl.write_text(KUBECTL.replace("exec sleep 60", ""))
    code, output = run(api, tmp_path)
    assert code == 1 and "No browser can be opened here" in output and "kubectl ended; was the pod replaced?" in output
    kubectl.unlink()
    monkeypatch.setenv("PATH", str(kubectl.parent))
    code, output = run(api, tmp_path)
    assert code == 1 and "kubectl is needed to forward a port" in output


@pytest.mark.parametrize("options", [("--watch",), ("-o", "json")])
def test_usage(api: FakeApi, tmp_path: Path, options: tuple[str, ...]) -> None:
    """Options that make no sense with a page → exit code 2."""
    code, output = run(api, tmp_path, *options)
    assert code == 2 and "leave out --watch and --output" in output
