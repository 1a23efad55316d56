"""What each role imports: the real process observed with ``-X importtime``, at its start and after its first work.

    python -m tests.container.imports      rewrites imports.json, whose diff is then to be reviewed

Listed are top-level packages (of ``kubernetes`` its modules) and the number of all modules, without packages that are
not installed, which some libraries try to import, and without the machine's own customisations.
"""

import json
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TypedDict

from bench.processes import PYTHON, ROOT, Child, Generator
from bench.rig import Pod, volume
from tests.cluster.pki import Authority
from tests.support.fake_api import FakeApi
from tests.support.mounts import unmount_below
from tests.support.ports import free_port
from tests.support.waiting import wait_until

LIST = Path(__file__).with_name("imports.json")
_LINE = re.compile(r"^import time:\s*\d+ \|\s*\d+ \|\s*(\S+)$", re.MULTILINE)
_IN_A_POD = """
import os, sys
from tests.support import namespaces
from driver.volume import syscalls
namespaces.enter_private()
run = os.open("/run", os.O_PATH)
syscalls.mount("tmpfs", run, "tmpfs", 0, "")
os.makedirs("/run/secrets/kubernetes.io/serviceaccount")
for name in ("token", "ca.crt"):
    with open(f"/run/secrets/kubernetes.io/serviceaccount/{name}", "w") as file:
        file.write(os.environ["FILE_" + name.upper().replace(".", "_")])
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


class Imports(TypedDict("Imports", {"at start": list[str], "after its first work": list[str]})):
    """The imports of one role."""

    modules: int


STANDARD = sys.stdlib_module_names
_THE_MACHINES = ("sitecustomize", "usercustomize", "apport_python_hook")

Found = dict[str, Imports]


def collect() -> Found:
    """Observe all roles."""
    with tempfile.TemporaryDirectory(prefix="imports-") as name:
        directory = Path(name)
        return {
            "driver": _driver(directory),
            "driver, --manifests": _driver_without_cluster(directory),
            "registrar": _role(directory, "registrar"),
            "probe": _role(directory, "probe"),
        }


def _driver(directory: Path) -> Imports:
    """The driver as in a pod, with an API server, publishes a volume of a class without secretObjects."""
    authority = Authority()
    with FakeApi(authority) as api:
        api.create(_CLASS)
        flags = _driver_flags(directory, "cluster")
        environment = {
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": api.url.rpartition(":")[2],
            "FILE_TOKEN": "token",
            "FILE_CA_CRT": authority.pem.decode(),
        }
        command = [PYTHON, "-c", _IN_A_POD, "-X", "importtime", "-m", "driver.main", *flags]
        return _observe(
            directory / "driver.log",
            command,
            directory / "cluster.sock",
            lambda: _publish(directory, "cluster"),
            environment,
        )


def _driver_without_cluster(directory: Path) -> Imports:
    (directory / "classes").mkdir()
    (directory / "classes" / "app.yaml").write_text(json.dumps(_CLASS))
    command = [
        PYTHON,
        "-X",
        "importtime",
        "-m",
        "driver.main",
        *_driver_flags(directory, "manifests"),
        f"--manifests={directory}/classes",
    ]
    return _observe(
        directory / "manifests.log", command, directory / "manifests.sock", lambda: _publish(directory, "manifests")
    )


def _driver_flags(directory: Path, name: str) -> list[str]:
    (directory / name / "pods").mkdir(parents=True)
    port = free_port()
    return [
        f"--endpoint=unix://{directory}/{name}.sock",
        "--nodeid=node",
        f"--provider-volume={directory}",
        "--additional-provider-volume-paths=",
        f"--kubelet-pods-dir={directory}/{name}/pods",
        f"--status-directory={directory}/status-{name}",
        f"--metrics-addr=127.0.0.1:{port}",
    ]


def _publish(directory: Path, name: str) -> None:
    """Publish and unpublish a volume, with the benchmark's provider."""
    provider = Child([PYTHON, "-m", "bench.provider", f"{directory}/bench.sock"], directory / "provider.log")
    generator = Generator()
    try:
        wait_until((directory / "bench.sock").exists, "the provider")
        pod = volume(directory / name / "pods", Pod("pod", "uid", "app"))
        for what in ("publish", "unpublish"):
            result = generator.do(what, socket=f"{directory}/{name}.sock", volumes=[pod], capabilities=2)
            if result["failures"]:
                raise AssertionError(result["failures"][0])
    finally:
        generator.stop()
        provider.stop()
        unmount_below(directory / name / "pods")


def _role(directory: Path, role: str) -> Imports:
    """The registrar, called as by kubelet, or the probe, asked for health, with a driver beside it."""
    driver = Child(
        [PYTHON, "-m", "driver.main", *_driver_flags(directory, role), f"--manifests={directory}"],
        directory / "beside.log",
    )
    generator = Generator()
    port = free_port()
    registry = directory / f"{role}-registry"
    registry.mkdir()
    flags = [
        f"--csi-address={directory}/{role}.sock",
        f"--status-directory={directory}/own-{role}",
        f"--http-endpoint=127.0.0.1:{port}",
    ]
    if role == "registrar":
        flags += [f"--kubelet-registration-path={directory}/x.sock", f"--plugin-registration-path={registry}"]

    def work() -> None:
        if role == "registrar":
            wait_until(lambda: list(registry.glob("*-reg.sock")), "the registration socket")
            generator.do("getinfo", socket=str(next(registry.glob("*-reg.sock"))), count=2)
        else:
            generator.do("http", host="127.0.0.1", port=port, count=2, keep=True, connections=1)

    try:
        ready = directory / f"own-{role}" / f"{role}.status.sock"
        return _observe(
            directory / f"{role}.log", [PYTHON, "-X", "importtime", "-m", f"{role}.main", *flags], ready, work
        )
    finally:
        generator.stop()
        driver.stop()


def _observe(
    log: Path, command: Sequence[str], ready: Path, work: Callable[[], None], environment: dict[str, str] | None = None
) -> Imports:
    child = Child(command, log, **(environment or {}))
    try:
        wait_until(ready.exists, lambda: f"{ready.name}: {child.tail()[-500:]}")
        wait_until(lambda: _settled(log), "no more imports")
        start = _names(log.read_text())
        try:
            work()
        except AssertionError as error:
            output = [line for line in log.read_text().splitlines() if not line.startswith("import time:")]
            raise AssertionError(f"{error}\n" + "\n".join(output[-20:])) from None
        wait_until(lambda: _settled(log), "no more imports")
        later = _names(log.read_text())[len(start) :]
        return {
            "modules": len(start) + len(later),
            "at start": _packages(start),
            "after its first work": _packages(later),
        }
    finally:
        child.stop()


def _settled(log: Path) -> bool:
    """Whether nothing was imported for half a second: late imports of the start still belong to the start."""
    before = log.stat().st_size
    threading.Event().wait(0.5)
    return log.stat().st_size == before


def _names(text: str) -> list[str]:
    names = [name for name in _LINE.findall(text) if not name.startswith("_") and name not in _THE_MACHINES]
    return [name for name in names if _is_installed(name.partition(".")[0])]


@cache
def _is_installed(package: str) -> bool:
    return package in sys.builtin_module_names or find_spec(package) is not None


def _packages(names: Iterable[str]) -> list[str]:
    return sorted({name if name.startswith("kubernetes.") else name.partition(".")[0] for name in names})


_CLASS = {
    "apiVersion": "secrets-store.csi.x-k8s.io/v1",
    "kind": "SecretProviderClass",
    "metadata": {"name": "app", "namespace": "bench"},
    "spec": {"provider": "bench", "parameters": {"payload": "small"}},
}


def main() -> None:
    """Rewrite the list, in a private mount namespace."""
    code = (
        "from tests.support import namespaces; namespaces.enter_private()\n"
        "from tests.container import imports; import json\n"
        "imports.LIST.write_text(json.dumps({'python': imports.python(), **imports.collect()}, indent=1) + '\\n')"
    )
    subprocess.run([PYTHON, "-c", code], cwd=ROOT, check=True)


def python() -> str:
    """The Python version to which the standard library's part of the list belongs."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


if __name__ == "__main__":
    main()
