"""What each provider of this repository does in each check of the conformance suite, against a real store:

    python -m tests.stores.conformance              prints the table
    python -m tests.stores.conformance --update     writes it into docs/provider-conformance.md

Needs what ``make test-stores`` installs. A test compares the page with a run.
"""

import argparse
import asyncio
import dataclasses
import json
import re
import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from provider_conformance.check import Result
from provider_conformance.main import run
from provider_conformance.settings import Settings
from tests.stores import moto
from tests.stores.identities import Issuer, enable_jwt, jwt_role
from tests.stores.moto import Moto, moto_server
from tests.stores.openbao import OpenBao
from tests.stores.rig import secret
from tests.support.provider_calls import ROOT, restartable

PAGE = ROOT / "docs" / "provider-conformance.md"
_BEGIN, _END = "<!-- python -m tests.stores.conformance --update -->\n", "<!-- end -->\n"
SECRET = "correct-horse-battery"


@dataclass(frozen=True)
class Served:
    """A provider's program, and what it is checked with."""

    title: str
    command: Sequence[str]
    settings: Settings
    environment: Mapping[str, str] = field(default_factory=dict)


def stub(directory: Path) -> Served:
    """The provider stub, with the settings that the page shows."""
    (directory / "password").write_text(SECRET)
    [example] = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    command = [sys.executable, "-m", "provider_stub.main", f"--secrets-dir={directory}", "--allow-error-orders"]
    return Served("provider stub", command, Settings(**yaml.safe_load(example)))


def openbao(bao: OpenBao, issuer: Issuer, silent: str) -> Served:
    """The OpenBao provider, with a role for one service account; ``silent`` is the URL of a server that never
    answers."""
    bao.put("conformance", user="alice-in-wonderland", password=SECRET)
    bao.policy("conformance", "secret/data/conformance read")
    jwt_role(bao, "conformance", "default", "conformance")
    path = "secret/data/conformance"
    objects = [secret("user", path, "user"), secret("app/password", path, filePermission=0o400)]
    good = {
        "vaultAddress": bao.url,
        "vaultAuthMountPath": "jwt",
        "roleName": "conformance",
        "audience": "vault",
        "objects": yaml.safe_dump(objects),
    }
    settings = Settings(
        good=good,
        missing={**good, "objects": yaml.safe_dump([*objects, secret("none", path, "no-such-key")])},
        slow={**good, "vaultAddress": silent},
        modes={"app/password": 0o400},
        tokens={"vault": issuer.token("default", "vault")},
    )
    return Served("OpenBao provider", [sys.executable, "-m", "provider_openbao.main", "--timeout=60s"], settings)


def aws(emulator: Moto, issuer: Issuer) -> Served:
    """The example, with a secret and a parameter."""
    content = json.dumps({"password": SECRET})
    emulator.call("secretsmanager", "secretsmanager.CreateSecret", Name="conformance", SecretString=content)
    emulator.call("ssm", "AmazonSSM.PutParameter", Name="/conformance", Value="alice-in-wonderland", Type="String")
    objects = [
        {"objectName": "conformance", "objectAlias": "app/password", "jsonKey": "password", "filePermission": 0o400},
        {"objectName": "/conformance", "objectType": "ssmparameter", "objectAlias": "user"},
    ]
    good = {"region": moto.REGION, "roleArn": moto.ROLE, "objects": yaml.safe_dump(objects)}
    settings = Settings(
        good=good,
        missing={**good, "objects": yaml.safe_dump([*objects, {"objectName": "none"}])},
        modes={"app/password": 0o400},
        tokens={moto.AUDIENCE: issuer.token("default", moto.AUDIENCE)},
    )
    return Served("AWS example", emulator.provider(), settings, moto.ENVIRONMENT)


async def results_of(served: Served, directory: Path) -> list[Result]:
    """All checks of a provider that runs as a process of its own, and is killed and started again by one of them."""
    path = directory / "provider.sock"
    async with restartable(served.command, path, served.environment) as restart:
        return await run(path, dataclasses.replace(served.settings, restart=restart, seconds=30))


def all_results(bao: OpenBao, emulator: Moto, issuer: Issuer) -> dict[str, list[Result]]:
    """The results of all three, by title."""
    # Connections are accepted by the kernel, and nobody reads.
    with tempfile.TemporaryDirectory(prefix="c") as home, socket.create_server(("127.0.0.1", 0)) as listener:
        secrets = Path(home) / "secrets"
        secrets.mkdir()
        found: dict[str, list[Result]] = {}
        silent = f"http://127.0.0.1:{listener.getsockname()[1]}"
        for served in (stub(secrets), openbao(bao, issuer, silent), aws(emulator, issuer)):
            directory = Path(home) / str(len(found))
            directory.mkdir()
            found[served.title] = asyncio.run(results_of(served, directory))
        return found


def table(results: Mapping[str, Sequence[Result]]) -> str:
    """A line for each check, in Markdown."""
    columns = list(results.values())
    lines = [f"| check | {' | '.join(results)} |", "| --- " * (len(columns) + 1) + "|"]
    for row in zip(*columns, strict=True):
        cells = [f"`{row[0].check.name}`", *(_cell(result) for result in row)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def shown() -> str:
    """The table that the page has."""
    return PAGE.read_text().partition(_BEGIN)[2].partition(_END)[0].strip() + "\n"


def update(text: str) -> None:
    """Write a table into the page."""
    before, _, rest = PAGE.read_text().partition(_BEGIN)
    PAGE.write_text(f"{before}{_BEGIN}\n{text}\n{_END}{rest.partition(_END)[2]}")


def _cell(result: Result) -> str:
    return result.outcome if result.outcome == "pass" else f"{result.outcome}: {result.reason}"


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser("python -m tests.stores.conformance", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--update", action="store_true", help=f"write the table into docs/{PAGE.name}")
    write = parser.parse_args(argv).update
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stores-")))
        bao = stack.enter_context(OpenBao(directory))
        emulator = stack.enter_context(moto_server(directory))
        issuer = Issuer()
        enable_jwt(bao, issuer)
        results = all_results(bao, emulator, issuer)
    text = table(results)
    if write:
        update(text)
    else:
        print(text, end="")
    return int(any(item.outcome == "FAIL" for column in results.values() for item in column))


if __name__ == "__main__":
    sys.exit(main())
