"""One node for the whole run. Where something that it needs is missing the tests are skipped with one line, or fail if
``SECRETS_STORE_REQUIRE_CLUSTER=1``."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import build, processes
from tests.kubelet import private
from tests.kubelet.node import KUBELET_DIR, NETWORK_NAMESPACES, Node
from tests.kubelet.rig import PROVIDERS, KubeletRig

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
TOOLS = ("containerd", "ctr", "runc", "iptables", "ip", "busybox", "gcc")
IMAGE = ROOT / "build" / "secrets-store-csi.tar"
# What kubelet, containerd, the CNI plugins and the chart write to at paths that cannot be configured.
OWN = (
    KUBELET_DIR,
    PROVIDERS,
    NETWORK_NAMESPACES,
    Path("/etc/kubernetes/secrets-store-csi-providers"),
    Path("/var/lib/cni"),
    Path("/var/log/containers"),
    Path("/run/containerd"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Pods need more time than other tests."""
    for item in items:
        if HERE in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(240))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A table of the tests with their times."""
    reports = [
        item
        for key in ("passed", "failed")
        for item in terminalreporter.stats.get(key, [])
        if item.nodeid.startswith("tests/kubelet/")
    ]
    rows = [item for item in reports if item.when == "call"]
    if rows:
        terminalreporter.section("tests on a real node")
        for item in rows:
            terminalreporter.write_line(f"{item.outcome:8} {item.duration:6.1f} s  {item.nodeid.split('::')[-1]}")


def missing() -> str:
    """A sentence about what is missing; empty if nothing is."""
    if os.getuid() != 0:
        return "a real kubelet needs root"
    tools = [tool for tool in TOOLS if shutil.which(tool) is None]
    if tools:
        packages = "containerd runc containernetworking-plugins iptables busybox-static gcc"
        return f"not installed: {', '.join(tools)} ({packages})"
    programs = [*build.GROUPS["apiserver"].missing, *build.GROUPS["node"].missing, *build.GROUPS["helm"].missing]
    if programs:
        return f"not built: {', '.join(programs)} (python -m tests.cluster.build)"
    return "" if IMAGE.exists() else "no image: make image"


@pytest.fixture(scope="session")
def node() -> Iterator[Node]:
    """A ready node with our image; nothing of it stays on the machine."""
    what = missing()
    if what and os.environ.get("SECRETS_STORE_REQUIRE_CLUSTER") == "1":
        pytest.fail(what, pytrace=False)
    if what:
        pytest.skip(what)
    if processes.any_started():
        pytest.fail("run tests/kubelet by itself: the servers of another suite are in another network namespace")
    directory = Path(tempfile.mkdtemp(prefix="node-"))
    started = time.monotonic()
    try:
        with private.alone(), private.directories(directory / "private", OWN), Node(directory) as running:
            running.import_image(IMAGE)
            print(f"node ready after {time.monotonic() - started:.1f} s")
            yield running
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def rig(node: Node) -> KubeletRig:
    """The node, which came up with the startup taint, with our chart and a provider installed."""
    made = KubeletRig(node, IMAGE)
    made.put("password", "first")
    made.install()
    return made
