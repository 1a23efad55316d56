"""The processes of a run, and the files that they are started from."""

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import yaml

from cli.dev.layout import DIRECTORIES, container_flags, free_port
from cli.validate.users import CLASS_ATTRIBUTE, DRIVER

NODE = "dev"
STOP_SECONDS = 10.0
_LOG_TAIL = 3000
_MESSAGE = re.compile(r'"(?:[^"\\]|\\.)*"')
# Until the driver is registered, which takes a moment.
_STARTING = "not found in the list of registered CSI drivers"
# A distribution of its own, for developers.
_KUBELET = "import sys; from kubelet_stub.main import main; sys.exit(main())"


class Setup:
    """Everything in one ``directory``. ``pod`` is the user's file; without it there is a pod of the class."""

    def __init__(self, directory: Path, provider: Path, class_file: Path, pod: Path | None) -> None:
        self.pods_directory = directory / "kubelet" / "pods"
        self._directory = directory
        self._provider, self._class, self._pod = provider, class_file, pod
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._seen: dict[Path, int] = {}
        self._read: dict[str, int] = {}

    def start(self) -> None:
        """Start all processes. Raises ClickException for a class that names no provider."""
        if find_spec("kubelet_stub") is None:
            raise click.ClickException("the kubelet stub is not installed: pip install ./kubelet_stub in a clone")
        for name in DIRECTORIES:
            (self._directory / name).mkdir(parents=True)
        for path in filter(None, (self._class, self._provider, self._pod)):
            self._changed(path)
        self._copy_class()
        self._start_provider()
        self._start("container", "-m", "container.start", *container_flags(self._directory, NODE, free_port()))
        self._start_kubelet()

    def reload(self) -> None:
        """Start anew what has changed."""
        if self._changed(self._class):
            click.secho(f"{self._class} has changed", fg="cyan")
            self._copy_class()
        if self._changed(self._provider) or self._has_ended("provider"):
            click.secho(f"{self._provider} is started again", fg="cyan")
            self._end("provider")
            self._start_provider()
        if self._pod is not None and self._changed(self._pod):
            click.secho(f"{self._pod} has changed", fg="cyan")
            self._end("kubelet")
            self._start_kubelet()

    def show_problems(self) -> None:
        """Print what the provider wrote, and what kubelet reports as failed."""
        for line in self._new_lines("provider"):
            click.echo(f"provider: {line}")
        for line in self._new_lines("kubelet"):
            message = _MESSAGE.search(line)
            if "Failed" in line and message and _STARTING not in line:
                click.secho(f"kubelet: {json.loads(message[0])}", fg="red")

    def show_logs(self) -> None:
        """Print the ends of all logs."""
        for name in self._processes:
            click.echo(f"--- {name}\n{self._log(name).read_text(errors='replace')[-_LOG_TAIL:]}", err=True)

    def stop(self) -> None:
        """End all processes; kubelet first, which unmounts the volume."""
        for name in ("kubelet", "container", "provider"):
            self._end(name)

    def _copy_class(self) -> None:
        draft = self._directory / "manifests" / "class.draft"
        draft.write_bytes(self._class.read_bytes())
        draft.replace(draft.with_suffix(".yaml"))  # the driver never reads half a file

    def _class_document(self) -> dict[str, Any]:
        try:
            found = next(item for item in yaml.safe_load_all(self._class.read_text()) if item)
            if isinstance(found["spec"]["provider"], str) and isinstance(found["metadata"]["name"], str):
                return dict(found)
        except (yaml.YAMLError, LookupError, StopIteration, TypeError):
            pass
        raise click.ClickException(
            f"{self._class} is not a class with metadata.name and spec.provider: secrets-store validate {self._class}"
        )

    def _start_provider(self) -> None:
        name = self._class_document()["spec"]["provider"]
        path = str(self._provider.resolve())
        endpoint = f"--endpoint=unix://{self._directory}/providers/{name}.sock"
        command = [sys.executable, path] if path.endswith(".py") else [path]
        self._spawn("provider", [*command, endpoint])

    def _start_kubelet(self) -> None:
        pod = self._pod or self._directory / "pod.yaml"
        if self._pod is None:
            pod.write_text(yaml.safe_dump(_pod_of(self._class_document())))
        root = f"--root={self._directory}/kubelet"
        self._start("kubelet", "-c", _KUBELET, root, f"--pod={pod}", "--republish-interval=1s", "--v=1")

    def _start(self, name: str, *arguments: str) -> None:
        self._spawn(name, [sys.executable, *arguments])

    def _spawn(self, name: str, command: list[str]) -> None:
        with self._log(name).open("ab") as log:
            self._processes[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def _end(self, name: str) -> None:
        process = self._processes.pop(name, None)
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _has_ended(self, name: str) -> bool:
        process = self._processes.get(name)
        return process is not None and process.poll() is not None

    def _changed(self, path: Path) -> bool:
        """Whether a file has another time than when it was asked last; while it is replaced it may be missing."""
        try:
            found = path.stat().st_mtime_ns
        except OSError:
            return False
        before = self._seen.get(path)
        self._seen[path] = found
        return before != found

    def _log(self, name: str) -> Path:
        return self._directory / f"{name}.log"

    def _new_lines(self, name: str) -> list[str]:
        with suppress(OSError), self._log(name).open("rb") as log:
            log.seek(self._read.get(name, 0))
            content = log.read()
            complete = content[: content.rfind(b"\n") + 1]
            self._read[name] = self._read.get(name, 0) + len(complete)
            return complete.decode(errors="replace").splitlines()
        return []


def _pod_of(found: dict[str, Any]) -> dict[str, Any]:
    name, namespace = found["metadata"]["name"], found["metadata"].get("namespace", "default")
    csi = {"driver": DRIVER, "readOnly": True, "volumeAttributes": {CLASS_ATTRIBUTE: name}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "dev", "namespace": namespace},
        "spec": {"volumes": [{"name": "secrets", "csi": csi}]},
    }
