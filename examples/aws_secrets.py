"""A provider of secrets in AWS Secrets Manager and SSM Parameter Store.

    parameters:
      region: eu-central-1
      roleArn: arn:aws:iam::123456789012:role/app
      objects: |
        - {objectName: prod/db, objectAlias: db-password, jsonKey: password}
        - {objectName: /prod/flag, objectType: ssmparameter, objectAlias: flag}

Each pod's secrets are fetched as the role that its class names, which AWS gives for the token of the pod's service
account (audience ``sts.amazonaws.com``): the role's trust policy decides who that may be. Nothing is shared between
pods.
"""

import asyncio
import functools
import json
import sys
import threading
from dataclasses import dataclass
from typing import Any, Literal

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from provider_kit import (
    Failure,
    File,
    InvalidRequest,
    MountReply,
    MountRequest,
    NotFound,
    PermissionDenied,
    Provider,
    ResourceExhausted,
    ServeConfig,
    Unavailable,
    flag,
    run_command,
    withhold,
)
from provider_kit.objects import entries, refuse_overlap

PROGRAM = "secrets-store-provider-aws"
AUDIENCE = "sts.amazonaws.com"
FIELDS = ("objectName", "objectType", "objectAlias", "objectVersion", "objectVersionLabel", "jsonKey", "filePermission")
ObjectType = Literal["secretsmanager", "ssmparameter"]
# boto3 repeats what may succeed, with jitter; the driver repeats the rest.
LIMITS = Config(connect_timeout=5, read_timeout=10, retries={"max_attempts": 3, "mode": "standard"})


@dataclass(frozen=True)
class AwsConfig(ServeConfig):
    """The provider's flags."""

    endpoint: str = flag("unix:///var/run/secrets-store-csi-providers/aws.sock", "socket to serve")
    endpoint_url: str = flag("", "URL of an emulator, in place of AWS")


class AwsProvider(Provider):
    """``endpoint_url`` is that of an emulator; empty for AWS."""

    name = PROGRAM

    def __init__(self, endpoint_url: str = "") -> None:
        self._url = endpoint_url or None
        # It has the descriptions of AWS's services, which take 200 ms to load, and no credentials. Clients may be used
        # in any thread, but not made in two at a time.
        self._session = boto3.Session()
        self._making = threading.Lock()

    async def mount(self, request: MountRequest) -> MountReply:
        return await asyncio.to_thread(self._fetch, request)  # boto3 blocks

    def _fetch(self, request: MountRequest) -> MountReply:
        region, wanted = request.require("region"), entries(request.require("objects"), FIELDS)
        files, versions = [], {}
        credentials = self._assumed_role(request, region)
        client = functools.cache(lambda service: self._client(service, region, credentials))
        for name, fields in wanted:
            try:
                if fields.choice("objectType", ObjectType, "secretsmanager") == "ssmparameter":
                    contents, version = _parameter(client("ssm"), name, fields)
                else:
                    contents, version = _secret(client("secretsmanager"), name, fields)
            except (BotoCoreError, ClientError) as error:
                raise _failure(fields.what, error) from None
            withhold(contents)
            if key := fields.text("jsonKey"):
                contents = _member(fields.what, contents, key)
            path = fields.path("objectAlias", fields.text("objectAlias") or name.strip("/").replace("/", "_"))
            files.append(File(path, contents, fields.mode("filePermission")))
            versions[name] = version
        refuse_overlap([file.path for file in files], "give one of them an objectAlias")
        return MountReply(files, versions)

    def _client(self, service: str, region: str, credentials: dict[str, str]) -> Any:
        """A client with these credentials and no others."""
        with self._making:
            return self._session.client(
                service,
                region_name=region,
                endpoint_url=self._url,
                config=LIMITS,
                aws_access_key_id=credentials["AccessKeyId"],
                aws_secret_access_key=credentials["SecretAccessKey"],
                aws_session_token=credentials["SessionToken"],
            )

    def _assumed_role(self, request: MountRequest, region: str) -> dict[str, str]:
        """Credentials of the class's role, which AWS gives for the pod's own token."""
        # The token is what this call is made with: the credentials are none.
        none = dict.fromkeys(("AccessKeyId", "SecretAccessKey", "SessionToken"), "none")
        try:
            sts = self._client("sts", region, none)
            answer = sts.assume_role_with_web_identity(
                RoleArn=request.require("roleArn"),
                RoleSessionName=f"{request.pod.namespace}.{request.pod.name}"[:64],
                WebIdentityToken=request.token(AUDIENCE),
            )
        except (BotoCoreError, ClientError) as error:
            raise _failure("the parameter roleArn", error) from None
        given: dict[str, str] = answer["Credentials"]
        withhold(given["SecretAccessKey"], given["SessionToken"])
        return given


def _secret(client: Any, name: str, fields: Any) -> tuple[bytes, str]:
    chosen = {"VersionId": fields.text("objectVersion"), "VersionStage": fields.text("objectVersionLabel")}
    answer = client.get_secret_value(SecretId=name, **{key: value for key, value in chosen.items() if value})
    text = answer.get("SecretString")
    return (text.encode() if text is not None else answer["SecretBinary"]), answer["VersionId"]


def _parameter(client: Any, name: str, fields: Any) -> tuple[bytes, str]:
    chosen = fields.text("objectVersion") or fields.text("objectVersionLabel")
    answer = client.get_parameter(Name=f"{name}:{chosen}" if chosen else name, WithDecryption=True)["Parameter"]
    return answer["Value"].encode(), str(answer["Version"])


def _member(what: str, contents: bytes, key: str) -> bytes:
    try:
        value = json.loads(contents)[key]
    except (KeyError, TypeError, ValueError):  # whose texts quote the content
        raise NotFound(f"{what}: the secret is not a JSON object with the key {key!r}: correct jsonKey") from None
    return value.encode() if isinstance(value, str) else json.dumps(value).encode()


def _failure(what: str, error: Exception) -> Failure:
    """The failure for an error of boto3, without its text, which may quote the request."""
    code = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
    if code in ("ResourceNotFoundException", "ParameterNotFound", "ParameterVersionNotFound"):
        return NotFound(
            f"{what}: AWS has no such secret or version ({code}): correct objectName, objectVersion or region"
        )
    if code in ("AccessDenied", "AccessDeniedException", "InvalidIdentityToken", "ExpiredTokenException"):
        return PermissionDenied(f"{what}: AWS refuses it ({code}): correct the role's policies or its trust policy")
    if "Throttl" in code or code == "TooManyRequestsException":
        return ResourceExhausted(f"{what}: AWS limits the rate of calls ({code})")
    if code in ("ValidationException", "ValidationError", "InvalidParameterException", "InvalidRequestException"):
        return InvalidRequest(f"{what}: AWS does not accept it ({code}): correct the entry in the class")
    return Unavailable(f"{what}: AWS cannot be used ({code}): check region, and the network of this node")


if __name__ == "__main__":
    sys.exit(run_command(PROGRAM, AwsConfig, lambda config: AwsProvider(config.endpoint_url)))
