"""Known vulnerabilities of what the locks name: pip-audit for the Python distributions, debsecan for Debian's packages.

    python -m docker.audit      (`make audit`)

Exits with 0 only if every locked version was looked up and none has a known vulnerability, with 1 if one has, and with
2 if something could not be looked up: no answer is not a good answer. pip-audit by itself also ends with 0 when the
index that it asks knows nothing about a distribution.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from docker.debian_lock import ARCHITECTURES, LOCK, Package, for_architecture, read_lock
from docker.python_lock import BUILD, IMAGE

SUITE = "trixie"
PIP_AUDIT, DEBSECAN = str(Path(sys.executable).with_name("pip-audit")), "debsecan"
SECONDS = 600.0
_LOCKED = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.MULTILINE)
_BINARY_REBUILD = re.compile(r"[+]b[0-9]+$")  # of a source that did not change


class Unanswered(Exception):
    """A tool gave no answer; the text says why."""


@dataclass
class Report:
    """About one lock: what is vulnerable, and what was not checked and why, a line each."""

    lock: str
    vulnerable: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """For a person."""
        yield from (f"{self.lock}: VULNERABLE: {line}" for line in self.vulnerable)
        yield from (f"{self.lock}: NOT CHECKED: {line}" for line in self.unchecked)
        if not self.vulnerable and not self.unchecked:
            yield f"{self.lock}: checked, nothing known"


def audit_python(lock: Path, tool: str = PIP_AUDIT) -> Report:
    """Ask pip-audit about each distribution of the lock."""
    report = Report(lock.name)
    locked = dict(_LOCKED.findall(lock.read_text()))
    options = ["--format", "json", "--progress-spinner", "off", "--disable-pip", "--require-hashes"]
    try:
        answers = _read_report(_ask([tool, *options, "--requirement", str(lock)]))
    except Unanswered as error:
        report.unchecked.append(f"all {len(locked)} distributions: {error}")
        return report
    for name, version in locked.items():
        answer = answers.get(name, {})
        if "vulns" not in answer or answer.get("version") != version:
            report.unchecked.append(f"{name} {version}: {answer.get('skip_reason', 'pip-audit does not mention it')}")
        for found in answer.get("vulns", []):
            fixed = ", ".join(found.get("fix_versions", [])) or "no version yet"
            report.vulnerable.append(f"{name} {version}: {found['id']}, fixed in {fixed}")
    if len(report.unchecked) == len(locked) > 1:
        report.unchecked = [f"all {len(locked)} distributions, such as {report.unchecked[0]}"]
    return report


def audit_debian(lock: Path, architecture: str, tool: str = DEBSECAN) -> Report:
    """Ask debsecan which vulnerabilities of the locked packages Debian has fixed in a later version."""
    report = Report(f"{lock.name}, {architecture}")
    packages = for_architecture(read_lock(lock), architecture)
    with NamedTemporaryFile("w", suffix=".status") as status:
        status.write("\n".join(_status(package) for package in packages))
        status.flush()
        try:
            done = _ask([tool, "--suite", SUITE, "--only-fixed", "--status", status.name])
            if done.returncode != 0:
                raise Unanswered(_last_line(done))
            report.vulnerable += filter(None, done.stdout.splitlines())
        except Unanswered as error:
            report.unchecked.append(f"all {len(packages)} packages: {error}")
    return report


def _status(package: Package) -> str:
    """As dpkg's database has it, which debsecan reads."""
    version = _BINARY_REBUILD.sub("", package.version)
    return (
        f"Package: {package.name}\nStatus: install ok installed\n"
        f"Architecture: {package.architecture}\nSource: {package.source}\nVersion: {version}\n"
    )


def _ask(command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except FileNotFoundError:
        raise Unanswered(f"{Path(command[0]).name} is not installed") from None
    except subprocess.TimeoutExpired:
        raise Unanswered(f"{Path(command[0]).name} did not end within {SECONDS:.0f} s") from None


def _read_report(done: "subprocess.CompletedProcess[str]") -> dict[str, dict[str, Any]]:
    """What pip-audit says of each distribution, by name. Its exit status tells nothing: 1 is a vulnerability or an
    error."""
    try:
        return {item["name"]: item for item in json.loads(done.stdout)["dependencies"]}
    except (ValueError, LookupError, TypeError):
        raise Unanswered(f"pip-audit gave no report: {_last_line(done)}") from None


def _last_line(done: "subprocess.CompletedProcess[str]") -> str:
    lines = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
    return f"{lines[-1]} (exit status {done.returncode})"


def main() -> int:
    """Audit all locks and print what was found."""
    reports = [audit_python(lock) for lock in (IMAGE, BUILD)]
    reports += [audit_debian(LOCK, architecture) for architecture in ARCHITECTURES]
    for report in reports:
        print(*report.lines(), sep="\n")
    vulnerable = sum(len(report.vulnerable) for report in reports)
    unchecked = sum(bool(report.unchecked) for report in reports)
    print(f"audit: {vulnerable} known vulnerabilities; {unchecked} of {len(reports)} locks not checked, or not in full")
    return 1 if vulnerable else 2 if unchecked else 0


if __name__ == "__main__":
    sys.exit(main())
