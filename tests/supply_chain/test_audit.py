"""The audit: no answer is never a good answer."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from docker import audit
from docker.audit import Report, audit_debian, audit_python
from docker.python_lock import IMAGE

DEBIAN = f"libssl3t64 amd64 3.5.9-1+b2 openssl sha256:{'0' * 64}\nlibc6 amd64 2.41-12 glibc sha256:{'1' * 64}\n"


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    """Two distributions."""
    path = tmp_path / "requirements.lock"
    path.write_text("# comment\nfirst==1.0 \\\n    --hash=sha256:00\nsecond==2.0 \\\n    --hash=sha256:11\n")
    return path


@pytest.fixture
def debian(tmp_path: Path) -> Path:
    """Two packages."""
    path = tmp_path / "debian.lock"
    path.write_text(DEBIAN)
    return path


def tool(tmp_path: Path, output: str, code: int = 0, error: str = "") -> str:
    """A program that prints this and ends so; it keeps its arguments and the file that the last one names."""
    path = tmp_path / "tool"
    path.write_text(
        f"#!{sys.executable}\nimport sys\nfrom pathlib import Path\n"
        f"Path({str(tmp_path / 'arguments')!r}).write_text(' '.join(sys.argv[1:]))\n"
        f"Path({str(tmp_path / 'input')!r}).write_text(Path(sys.argv[-1]).read_text())\n"
        f"print({output!r})\nprint({error!r}, file=sys.stderr)\nsys.exit({code})\n"
    )
    path.chmod(0o755)
    return str(path)


def report(**second: Any) -> str:
    """pip-audit's report: nothing about the first distribution, this about the second."""
    first = {"name": "first", "version": "1.0", "vulns": []}
    return json.dumps({"dependencies": [first, {"name": "second", **second}], "fixes": []})


def test_nothing_known(tmp_path: Path, lock: Path) -> None:
    """Scenario: each distribution was looked up. Expected: a clean report; hashes were demanded."""
    found = audit_python(lock, tool(tmp_path, report(version="2.0", vulns=[])))
    assert list(found.lines()) == ["requirements.lock: checked, nothing known"]
    assert "--require-hashes" in (tmp_path / "arguments").read_text()


def test_vulnerable(tmp_path: Path, lock: Path) -> None:
    """Scenario: one has two vulnerabilities, and pip-audit exits with 1. Expected: both, with what fixes them."""
    vulns = [{"id": "PYSEC-1", "fix_versions": ["2.1", "3.0"]}, {"id": "PYSEC-2", "fix_versions": []}]
    found = audit_python(lock, tool(tmp_path, report(version="2.0", vulns=vulns), code=1))
    assert list(found.lines()) == [
        "requirements.lock: VULNERABLE: second 2.0: PYSEC-1, fixed in 2.1, 3.0",
        "requirements.lock: VULNERABLE: second 2.0: PYSEC-2, fixed in no version yet",
    ]


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        ({"skip_reason": "Dependency not found"}, "Dependency not found"),
        ({"version": "1.9", "vulns": []}, "pip-audit does not mention it"),
        ({"version": "2.0"}, "pip-audit does not mention it"),
    ],
    ids=["skipped", "another version", "no answer"],
)
def test_a_distribution_that_was_not_looked_up(tmp_path: Path, lock: Path, second: dict[str, Any], reason: str) -> None:
    """Scenario: pip-audit exits with 0 and says that no vulnerabilities are known, but has skipped one. Expected: that
    one is not checked."""
    found = audit_python(lock, tool(tmp_path, report(**second), error="No known vulnerabilities found"))
    assert found.unchecked == [f"second 2.0: {reason}"]


def test_no_distribution_was_looked_up(tmp_path: Path, lock: Path) -> None:
    """Scenario: the index knows nothing. Expected: one line for all, not one each."""
    found = audit_python(lock, tool(tmp_path, json.dumps({"dependencies": []})))
    assert found.unchecked == ["all 2 distributions, such as first 1.0: pip-audit does not mention it"]


@pytest.mark.parametrize("output", ["", "[]", "{}", "null", '{"dependencies": [{}]}', "Error"])
def test_no_report(tmp_path: Path, lock: Path, output: str) -> None:
    """Scenario: pip-audit breaks off, with 1 as for a vulnerability. Expected: not checked, with its last line."""
    found = audit_python(lock, tool(tmp_path, output, code=1, error="Traceback\nConnectionError: no route"))
    assert found.unchecked == [
        "all 2 distributions: pip-audit gave no report: ConnectionError: no route (exit status 1)"
    ]


def test_no_tool(tmp_path: Path, lock: Path, debian: Path) -> None:
    """Scenario: a tool is not installed. Expected: not checked, and which."""
    assert audit_python(lock, str(tmp_path / "pip-audit")).unchecked == [
        "all 2 distributions: pip-audit is not installed"
    ]
    assert audit_debian(debian, "amd64", str(tmp_path / "debsecan")).unchecked == [
        "all 2 packages: debsecan is not installed"
    ]


def test_a_tool_that_hangs(tmp_path: Path, debian: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenario: no answer comes. Expected: it is ended, and nothing is checked."""
    hanging = tmp_path / "debsecan"
    hanging.write_text("#!/bin/sh\nexec sleep 60\n")
    hanging.chmod(0o755)
    monkeypatch.setattr(audit, "SECONDS", 0.2)
    assert audit_debian(debian, "amd64", str(hanging)).unchecked == ["all 2 packages: debsecan did not end within 0 s"]


def test_debian(tmp_path: Path, debian: Path) -> None:
    """Scenario: Debian has fixed something. Expected: its lines; debsecan got source packages and source versions."""
    found = audit_debian(debian, "amd64", tool(tmp_path, "CVE-1 libssl3t64 (fixed)"))
    assert found.vulnerable == ["CVE-1 libssl3t64 (fixed)"] and not found.unchecked
    assert "--only-fixed" in (tmp_path / "arguments").read_text()
    assert "Source: openssl\nVersion: 3.5.9-1\n" in (tmp_path / "input").read_text()
    assert "Source: glibc\nVersion: 2.41-12\n" in (tmp_path / "input").read_text()


def test_debian_with_nothing_known(tmp_path: Path, debian: Path) -> None:
    """Scenario: debsecan prints nothing but a line end. Expected: a clean report."""
    found = audit_debian(debian, "amd64", tool(tmp_path, ""))
    assert list(found.lines()) == ["debian.lock, amd64: checked, nothing known"]


def test_debian_without_network(tmp_path: Path, debian: Path) -> None:
    """Scenario: debsecan cannot download. Expected: not checked, with its words."""
    found = audit_debian(debian, "amd64", tool(tmp_path, "", code=1, error="error: while downloading"))
    assert found.unchecked == ["all 2 packages: error: while downloading (exit status 1)"]


@pytest.mark.parametrize(
    ("report", "code"),
    [
        (Report("lock"), 0),
        (Report("lock", unchecked=["some"]), 2),
        (Report("lock", vulnerable=["some"], unchecked=["other"]), 1),
    ],
    ids=["clean", "unchecked", "vulnerable"],
)
def test_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], report: Report, code: int
) -> None:
    """Scenario: the reports of all locks. Expected: the code of the worst, and both numbers."""
    monkeypatch.setattr(audit, "audit_python", lambda lock: report if lock == IMAGE else Report("other"))
    monkeypatch.setattr(audit, "audit_debian", lambda lock, architecture: Report("other"))
    assert audit.main() == code
    closing = capsys.readouterr().out.splitlines()[-1]
    assert closing.startswith(
        f"audit: {len(report.vulnerable)} known vulnerabilities; {int(bool(report.unchecked))} of 4"
    )
