"""Each check fails for a provider with the defect that it is about, and no other check does."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from provider_conformance import check
from provider_conformance.check import Result
from provider_conformance.checks import CHECKS
from provider_conformance.main import run
from provider_conformance.settings import Settings
from provider_stub.running import running as stub_running
from tests.provider_conformance.defective import LARGE, serving

SETTINGS = Settings(
    good={"names": "user,password"},
    missing={"names": "user,nobody"},
    modes={"password": 0o400},
    secrets={"login": "the-pods-own-login"},
    seconds=30,
)
SLOW = replace(SETTINGS, slow={"names": "user", "slow": "true"})
DEFECTS = {
    "open to all": "socket",
    "refuses localhost": "authority",
    "hangs on other authorities": "other-authorities",
    "breaks on other authorities": "other-authorities",
    "other API version": "version",
    "no runtime version": "version",
    "no Version": "version",
    "malformed Version": "version",
    "malformed reply": "mount",
    "no files": "mount",
    "error code": "mount",
    "absolute path": "paths",
    "path with two dots": "paths",
    "path of the driver": "paths",
    "unclean path": "paths",
    "long name": "paths",
    "same path twice": "paths",
    "file as directory": "paths",
    "mode 0": "modes",
    "setuid": "modes",
    "other mode": "modes",
    "own idea of the permission": "permission",
    "no versions": "object-versions",
    "empty version": "object-versions",
    "two versions": "object-versions",
    "long version": "object-versions",
    "version of the call": "same-versions",
    "content as version": "versions-reveal-nothing",
    "digest as version": "versions-reveal-nothing",
    "large reply": "reply-size",
    "refuses unknown fields": "unknown-fields",
    "refuses unknown attributes": "unknown-fields",
    "refuses requests without secrets": "no-secrets",
    "refuses large requests": "large-request",
    "names what is gone": "current-versions",
    "accepts any attributes": "bad-attributes",
    "breaks on bad attributes": "bad-attributes",
    "breaks on bad secrets": "bad-requests",
    "breaks on bad parameters": "bad-parameters",
    "leaves out what is missing": "missing-object",
    "missing is unavailable": "error-codes",
    "unknown errors": "error-codes",
    "says nothing": "error-codes",
    "echoes secrets": "secrets-not-echoed",
    "echoes attributes": "secrets-not-echoed",
    "one call at a time": "concurrency",
    "works on for nobody": "given-up",
}


def failed(socket: Path, settings: Settings) -> dict[str, str]:
    """The checks that fail, with their reasons."""
    results = asyncio.run(run(socket, settings, target_directory=str(socket.parent)))
    assert [result.check for result in results] == list(CHECKS)
    return {result.check.name: result.reason for result in results if result.outcome == "FAIL"}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect(tmp_path: Path, defect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One defect → the check that is about it fails, and no other."""
    monkeypatch.setattr(check, "RECOVERY_SECONDS", 0.5)
    settings = {
        "hangs on other authorities": replace(SETTINGS, seconds=5),
        "large reply": replace(SETTINGS, max_reply_bytes=LARGE),
        "refuses requests without secrets": replace(SETTINGS, secrets={}),
        "works on for nobody": replace(SLOW, seconds=5),
    }.get(defect, SETTINGS)
    with serving(tmp_path / "lab.sock", defect):
        assert list(failed(tmp_path / "lab.sock", settings)) == [DEFECTS[defect]]


def test_no_defect(tmp_path: Path) -> None:
    """A provider without defects → every check passes, but the one of the restart, for which there is no command."""
    with serving(tmp_path / "lab.sock"):
        results = asyncio.run(run(tmp_path / "lab.sock", SLOW))
    assert [(result.check.name, result.reason) for result in results if result.outcome != "pass"] == [
        ("restart", "the settings have no command that restarts the provider")
    ]


def test_a_provider_that_writes_itself(tmp_path: Path) -> None:
    """The stub in its self-writing mode → its files are found in the target directory, with their modes, and judged as
    those of a reply are; nothing is left of the targets."""
    good = {"selfWrite": "true", "objects": "[{objectName: user}, {objectName: app/pin, filePermission: 0400}]"}
    settings = Settings(good=good, modes={"app/pin": 0o400}, seconds=30)
    (tmp_path / "store/app").mkdir(parents=True)
    (tmp_path / "targets").mkdir()

    async def scenario() -> list[Result]:
        async with stub_running(tmp_path / "stub.sock", tmp_path / "store") as stub:
            stub.put("user", "alice-in-wonderland")
            stub.put("app/pin", "0000-1111-2222")
            return await run(stub.path, settings, target_directory=str(tmp_path / "targets"))

    results = asyncio.run(scenario())
    assert {result.check.name for result in results if result.outcome != "pass"} == {"missing-object", "restart"}
    assert list((tmp_path / "targets").iterdir()) == []


def test_every_check_is_tested() -> None:
    """Each check has a defect here, or is the restart, which ``test_main.py`` tests."""
    assert {item.name for item in CHECKS} == {*DEFECTS.values(), "restart"}
