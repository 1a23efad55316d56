"""The example provider of AWS's stores against moto's server, through the whole driver. Both run in an environment of
their own, as a provider does that has nothing of the driver."""

import json
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.processes import Process
from tests.stores.conftest import REQUIRED
from tests.stores.identities import Issuer
from tests.support.ports import free_port
from tests.support.provider_calls import ROOT, started
from tests.support.rig import rig
from tests.support.waiting import run_async, wait_until

PYTHON = ROOT / "build" / "stores" / "bin" / "python"
AUDIENCE, REGION, ROLE = "sts.amazonaws.com", "eu-central-1", "arn:aws:iam::123456789012:role/app"
SECRET = "S3cret-of-the-emulator"


class Moto:
    """Its server on the loopback interface."""

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

    def answers(self) -> bool:
        """Whether it has started."""
        try:
            with urllib.request.urlopen(f"{self.url}/moto-api/data.json", timeout=30):
                return True
        except OSError:
            return False


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    """moto's server; skip or fail if it is not installed."""
    if not PYTHON.exists():
        sentence = "no moto: make test-stores installs it"
        if os.environ.get(REQUIRED) == "1":
            pytest.fail(sentence, pytrace=False)
        pytest.skip(sentence)
    port = free_port()
    log = tmp_path_factory.mktemp("moto") / "moto.log"
    process = Process("moto", [str(PYTHON), "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], log)
    process.start()
    try:
        found = Moto(port)
        wait_until(found.answers, f"moto to answer: {log}", 60)
        yield found
    finally:
        process.stop()


def test_both_stores(tmp_path: Path, moto: Moto, issuer: Issuer) -> None:
    """A secret, one of its keys and a parameter → the files and AWS's versions; a new value → the next mount has it;
    what does not exist → the entry and what to correct, and no secret in the sentence."""
    content = json.dumps({"password": SECRET, "port": 5432})
    moto.call("secretsmanager", "secretsmanager.CreateSecret", Name="prod/db", SecretString=content)
    moto.call("ssm", "AmazonSSM.PutParameter", Name="/prod/flag", Value="on", Type="SecureString")
    objects: list[Any] = [
        {"objectName": "prod/db", "objectAlias": "password", "jsonKey": "password", "filePermission": 0o400},
        {"objectName": "/prod/flag", "objectType": "ssmparameter"},
    ]

    async def scenario() -> None:
        command = [str(PYTHON), str(ROOT / "examples" / "aws_secrets.py"), f"--endpoint-url={moto.url}"]
        environment = {"PYTHONPATH": str(ROOT)}
        async with (
            rig(tmp_path) as made,
            started(command, made.providers_dir / "aws.sock", environment),
        ):

            def write_class(items: list[Any], **more: str) -> None:
                values = {"region": REGION, "roleArn": ROLE, "objects": yaml.safe_dump(items), **more}
                made.write_class(provider="aws", parameters=values)

            write_class(objects)
            attributes = issuer.attributes(audience=AUDIENCE)
            volume = made.volume(attributes=attributes)
            await volume.publish()
            assert volume.read() == SECRET.encode()
            assert volume.read("prod_flag") == b"on"
            assert (volume.target / "password").stat().st_mode & 0o777 == 0o400

            moto.call(
                "ssm", "AmazonSSM.PutParameter", Name="/prod/flag", Value="off", Type="SecureString", Overwrite=True
            )
            second = made.volume("pod-2", attributes=attributes)
            await second.publish()
            assert second.read("prod_flag") == b"off"

            for number, (item, code, words) in enumerate(
                (
                    ({"objectName": "absent"}, "NOT_FOUND", "correct objectName"),
                    ({"objectName": "/absent", "objectType": "ssmparameter"}, "NOT_FOUND", "correct objectName"),
                    ({"objectName": "prod/db", "jsonKey": "absent"}, "NOT_FOUND", "correct jsonKey"),
                    ({"objectName": "prod/db", "objectType": "s3"}, "INVALID_ARGUMENT", "objectType must be one of"),
                )
            ):
                write_class([item])
                found, sentence = await made.volume(f"wrong-{number}", attributes=attributes).failure()
                assert found.name == code, sentence
                assert words in sentence and "objects entry 0" in sentence and SECRET not in sentence
            write_class(objects)
            found, sentence = await made.volume("no-token").failure()
            assert found.name == "INVALID_ARGUMENT" and AUDIENCE in sentence

    run_async(scenario)
