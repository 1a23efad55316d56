"""The example provider of AWS's stores against moto's server, through the whole driver."""

import json
from pathlib import Path
from typing import Any

import yaml

from tests.stores.identities import Issuer
from tests.stores.moto import AUDIENCE, ENVIRONMENT, REGION, ROLE, Moto
from tests.support.provider_calls import started
from tests.support.rig import rig
from tests.support.waiting import run_async

SECRET = "S3cret-of-the-emulator"


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
        async with (
            rig(tmp_path) as made,
            started(moto.provider(), made.providers_dir / "aws.sock", ENVIRONMENT),
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
            write_class(objects, region="no region")
            found, sentence = await made.volume("no-region", attributes=attributes).failure()
            assert found.name == "UNAVAILABLE" and "check region" in sentence
            write_class(objects)
            found, sentence = await made.volume("no-token").failure()
            assert found.name == "INVALID_ARGUMENT" and AUDIENCE in sentence

    run_async(scenario)
