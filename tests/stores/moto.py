"""moto's server, an emulator of AWS, on the loopback interface, and the example provider that is tested with it. Both
run in an environment of their own, as a provider does that has nothing of the driver."""

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.cluster.processes import Process
from tests.support.ports import free_port
from tests.support.provider_calls import ROOT
from tests.support.waiting import wait_until

PYTHON = ROOT / "build" / "stores" / "bin" / "python"
AUDIENCE, REGION, ROLE = "sts.amazonaws.com", "eu-central-1", "arn:aws:iam::123456789012:role/app"
ENVIRONMENT = {"PYTHONPATH": str(ROOT)}


class Moto:
    """The running server."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def call(self, service: str, target: str, **body: Any) -> None:
        """A call of a JSON API as an administrator; moto believes any signature."""
        scope = f"admin/20260101/{REGION}/{service}/aws4_request"
        headers = {
            "X-Amz-Target": target,
            "Content-Type": "application/x-amz-json-1.1",
            "Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=none",
        }
        made = urllib.request.Request(self.url, json.dumps(body).encode(), headers, method="POST")
        with urllib.request.urlopen(made, timeout=30):
            pass

    def provider(self) -> list[str]:
        """The command of the example provider, which takes this server for AWS."""
        return [str(PYTHON), str(ROOT / "examples" / "aws_secrets.py"), f"--endpoint-url={self.url}"]

    def answers(self) -> bool:
        """Whether it has started."""
        try:
            with urllib.request.urlopen(f"{self.url}/moto-api/data.json", timeout=30):
                return True
        except OSError:
            return False


@contextmanager
def moto_server(directory: Path) -> Iterator[Moto]:
    """The server, which logs into ``directory``."""
    port = free_port()
    log = directory / "moto.log"
    process = Process("moto", [str(PYTHON), "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], log)
    process.start()
    try:
        found = Moto(port)
        wait_until(found.answers, f"moto to answer: {log}", 60)
        yield found
    finally:
        process.stop()
