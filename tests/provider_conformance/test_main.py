"""The command: its settings, its reports and exit codes; the stub and the documented provider keep the contract."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from provider_conformance import check, main
from provider_conformance.checks import CHECKS
from provider_conformance.settings import Settings, UsageError, load
from tests.provider_conformance.defective import serving
from tests.support.provider_calls import ROOT, restartable

PAGE = (ROOT / "docs" / "provider-conformance.md").read_text()
STUB = [sys.executable, "-m", "provider_stub.main"]


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does."""
    program = [sys.executable, "-m", "provider_conformance", *arguments]
    return subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_the_stub_passes(tmp_path: Path) -> None:
    """The provider stub, with the settings that the page shows, restarted by a kill → every check passes; the table and
    the JUnit file have all of them."""
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/password").write_text("correct-horse-battery")
    socket, config = tmp_path / "stub.sock", tmp_path / "conformance.yaml"
    [example] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    stub = [*STUB, "--secrets-dir", str(tmp_path / "secrets"), "--allow-error-orders"]

    async def scenario() -> subprocess.CompletedProcess[str]:
        async with restartable(stub, socket) as restart:
            config.write_text(yaml.safe_dump({**yaml.safe_load(example), "restart": restart}))
            return await asyncio.to_thread(
                command, str(socket), "--config", str(config), "--junit", str(tmp_path / "junit.xml")
            )

    done = asyncio.run(scenario())
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(CHECKS)} passed, 0 failed, 0 skipped" in done.stdout
    [suite] = ElementTree.parse(tmp_path / "junit.xml").getroot()
    assert [case.get("name") for case in suite] == [item.name for item in CHECKS]
    assert (suite.get("tests"), suite.get("failures"), len(suite.findall("*/*"))) == (str(len(CHECKS)), "0", 0)


@pytest.mark.parametrize("restart, outcome", [("true", "pass"), ("false", "skip"), ("sh -c 'rm $SOCKET'", "FAIL")])
def test_restart(
    tmp_path: Path, restart: str, outcome: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A provider that serves after the command; a command that fails; a provider that is gone after it."""
    socket = tmp_path / "lab.sock"
    monkeypatch.setenv("SOCKET", str(socket))
    monkeypatch.setattr(check, "RECOVERY_SECONDS", 0.1)
    with serving(socket):
        code = main.main(
            [str(socket), "--parameter=names=user", "--only=restart", f"--restart={restart}", "--seconds=3"]
        )
    assert re.search(rf"^restart +{outcome}\b", capsys.readouterr().out, re.MULTILINE)
    assert code == (1 if outcome == "FAIL" else 0)


def test_a_failure(tmp_path: Path) -> None:
    """A provider with a defect → exit code 1, the reason in the table and in the JUnit file; checks can be left out."""
    socket, junit = tmp_path / "lab.sock", tmp_path / "junit.xml"
    arguments = [str(socket), "--parameter=names=user", "--only=version", "--only=mount", f"--junit={junit}"]
    with serving(socket, "other API version"):
        failed = command(*arguments)
        suite = ElementTree.parse(junit).getroot()[0]
        without = command(*arguments, "--skip=version")
    assert failed.returncode == 1 and "version is 'v1': answer 'v1alpha1'" in failed.stdout
    [failure] = suite.findall("testcase/failure")
    assert "answer 'v1alpha1'" in (failure.get("message") or "") and suite.get("failures") == "1"
    assert without.returncode == 0 and "1 failed" not in without.stdout


@pytest.mark.parametrize(
    "text, phrase",
    [
        ("good: {names: a", "line 1: invalid YAML"),
        ("- good", "must be an object"),
        ("goods: {}", "unknown field goods"),
        ("good: {names: 1}", "good.names must be a string"),
        ("modes: {a: rw}", "modes.a must be an octal number"),
        ("seconds: soon", "seconds must be a number"),
        ("seconds: 0", "greater than 0"),
        ("restart: {a: b}", "restart must be a command"),
        ('restart: "sh -c \'x"', "malformed"),
    ],
)
def test_bad_settings(tmp_path: Path, text: str, phrase: str) -> None:
    """Settings that cannot be meant → a sentence that names the file and the field."""
    path = tmp_path / "conformance.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=re.escape(phrase)) as caught:
        load(str(path))
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "arguments, phrase",
    [
        ([], "give the path"),
        (["{}/missing.sock"], "is not a socket"),
        (["{}"], "is not a socket"),
        (["{}/lab.sock", "--config={}/missing.yaml"], "cannot read"),
        (["{}/lab.sock", "--skip=everything"], "no check 'everything'"),
        (["{}/lab.sock", "--parameter=names"], "write NAME=VALUE"),
        (["{}/lab.sock", "--target-directory={}/missing"], "missing"),
        (["{}/lab.sock", "--junit={}/missing/junit.xml", "--only=socket"], "missing/junit.xml"),
    ],
)
def test_bad_command_lines(
    tmp_path: Path, arguments: list[str], phrase: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A command that cannot be carried out → exit code 2, and one sentence."""
    with serving(tmp_path / "lab.sock"):
        assert main.main([argument.format(tmp_path) for argument in arguments]) == 2
    printed = capsys.readouterr()
    assert phrase in printed.err and printed.err.count("\n") == 1


def test_nothing_secret_is_shown() -> None:
    """The settings' secrets and tokens → not in their repr."""
    shown = repr(Settings(secrets={"login": "correct-horse"}, tokens={"vault": "battery-staple"}))
    assert "correct-horse" not in shown and "battery-staple" not in shown


def test_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    """``--list`` and the page have every check, in the same words."""
    assert main.main(["--list"]) == 0
    assert capsys.readouterr().out.splitlines() == [f"{item.name}: {item.what}" for item in CHECKS]
    section = PAGE.partition("\n## Checks\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([\w-]+)` \| (.*?) \| .* \|$", section, re.MULTILINE)
    assert rows == [(item.name, item.what) for item in CHECKS]
