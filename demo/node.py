"""The node of the demo: its directories, the command lines of its processes, and what they report."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import psutil

from cli.dev.layout import DIRECTORIES, container_flags, free_port
from demo.objects import PUBLISH_SECRET, STUB_OBJECTS, manifest, provider_class
from demo.output import Output
from kubelet_stub.config import Config as KubeletConfig
from kubelet_stub.pods import Secret
from runtime.flags import Duration

NAME = "demo-node"
SOCKET_DIRECTORIES = ("kubelet/plugins_registry", "csi", "providers")


@dataclass
class Node:
    """Everything that the steps share."""

    directory: Path
    port: int = field(default_factory=free_port)
    output: Output = field(default_factory=Output)

    @property
    def secret(self) -> Path:
        """The file in the store that holds the password."""
        return self.directory / "store" / "db-password"

    @property
    def class_file(self) -> Path:
        """The manifest of the class."""
        return self.directory / "manifests" / "app.yaml"

    @property
    def more_of_the_store(self) -> dict[str, str]:
        """What a reader who wants to know more of stores may do next, and why."""
        return {"make demo STORE=openbao": "the same with a real store"}

    @property
    def store_is(self) -> str:
        """What plays the store."""
        return "a directory with two files"

    @property
    def provider(self) -> str:
        """The provider's name."""
        return "stub"

    @property
    def parameters(self) -> dict[str, str]:
        """The parameters of the class."""
        return {"objects": STUB_OBJECTS}

    @property
    def publish_secret(self) -> dict[str, str]:
        """What the node publish Secret has for the provider."""
        return {}

    def set_up(self) -> None:
        """Create the directories, and the manifest of the class."""
        for name in (*DIRECTORIES, "store/api"):
            (self.directory / name).mkdir(parents=True)
        self.class_file.write_text(manifest(provider_class(self.provider, self.parameters)))

    @asynccontextmanager
    async def store(self) -> AsyncIterator[None]:
        """The store with its two secrets, inside the context: a directory."""
        await self.set_password("correct horse")
        (self.directory / "store" / "api" / "key").write_text("k-1")
        yield

    async def set_password(self, password: str) -> None:
        """Change the secret ``db-password`` in the store."""
        self.secret.write_text(password)

    def kubelet_secret(self) -> Secret:
        """The node publish Secret of the pod."""
        return Secret("demo", PUBLISH_SECRET, self.publish_secret)

    def provider_command(self) -> list[str]:
        """The provider stub: module and arguments."""
        return [
            "provider_stub.main",
            f"--endpoint=unix://{self.directory}/providers/stub.sock",
            f"--secrets-dir={self.directory}/store",
        ]

    def container_command(self) -> list[str]:
        """The container, which supervises driver, registrar and probe: module and arguments."""
        return ["container.start", *container_flags(self.directory, NAME, self.port)]

    def kubelet_config(self) -> KubeletConfig:
        """The kubelet stub's configuration; it republishes only when a step asks for it."""
        return KubeletConfig(root=f"{self.directory}/kubelet", republish_interval=Duration(0), node_name=NAME)

    async def is_healthy(self) -> bool:
        """Whether /healthz returns 200 ok; False while nobody listens."""
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{self.port}/healthz") as response,
            ):
                return (response.status, await response.text()) == (200, "ok")
        except aiohttp.ClientError:
            return False


def role_pids(supervisor: psutil.Process) -> dict[str, int]:
    """The pid of each process under the supervisor, by name."""
    pids = {}
    for process in supervisor.children():
        with suppress(psutil.NoSuchProcess):  # it may exit while it is looked at
            pids[process.name()] = process.pid
    return pids
