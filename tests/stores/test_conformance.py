"""The OpenBao provider keeps the contract of providers: the conformance suite, against a real server."""

from pathlib import Path

import yaml

from provider_conformance.main import run
from provider_conformance.report import table
from provider_conformance.settings import Settings
from provider_kit.testing import running
from provider_openbao.main import OpenBaoConfig, make
from tests.stores.identities import Issuer, jwt_role
from tests.stores.openbao import OpenBao
from tests.stores.rig import secret
from tests.support.waiting import run_async


def test_conformance(tmp_path: Path, bao: OpenBao, issuer: Issuer) -> None:
    """A class with two keys, one that is missing, and a pod with a real token → every check passes but the restart,
    which needs a process of its own."""
    bao.put("conformance", user="alice-in-wonderland", password="correct-horse-battery")
    bao.policy("conformance", "secret/data/conformance read")
    jwt_role(bao, "conformance", "default", "conformance")
    path = "secret/data/conformance"
    good = [secret("user", path, "user"), secret("app/password", path, filePermission=0o400)]
    parameters = {
        "vaultAddress": bao.url,
        "vaultAuthMountPath": "jwt",
        "roleName": "conformance",
        "audience": "vault",
        "objects": yaml.safe_dump(good),
    }
    settings = Settings(
        good=parameters,
        missing={**parameters, "objects": yaml.safe_dump([*good, secret("none", path, "no-such-key")])},
        modes={"app/password": 0o400},
        tokens={"vault": issuer.token("default", "vault")},
        seconds=60,
    )

    async def scenario() -> None:
        async with running(make(OpenBaoConfig()), tmp_path / "openbao.sock") as served:
            results = await run(served.path, settings)
        report = table(results)
        assert [item.check.name for item in results if item.outcome != "pass"] == ["restart"], report
        assert not any("alice" in item.reason for item in results)

    run_async(scenario)
