"""The coverage table and its floors."""

import configparser
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tools import coverage_table
from tools.coverage_table import Count, by_package, shortfalls, table

ROOT = Path(__file__).resolve().parent.parent.parent


def entry(statements: int, missing: int, branches: int = 0, missing_branches: int = 0) -> dict[str, Any]:
    """A file in coverage's JSON report."""
    return {
        "summary": {
            "num_statements": statements,
            "missing_lines": missing,
            "num_branches": branches,
            "missing_branches": missing_branches,
        }
    }


COUNTS = by_package(
    {
        "files": {
            "driver/main.py": entry(10, 1),
            "driver/cluster/api.py": entry(60, 6, 20, 8),
            "driver/cluster/crds.py": entry(10, 5),
            "probe/__init__.py": entry(0, 0),
        }
    }
)


def test_counts() -> None:
    """Count some files → a folder has its own files, a top-level folder and the total all below them; an empty package
    has 100 %."""
    assert COUNTS["driver/cluster"] == Count(70, 11, 20, 8)
    assert COUNTS["driver"] == COUNTS["total"] == Count(80, 12, 20, 8)
    assert (COUNTS["driver"].percent, COUNTS["probe"].percent) == (80.0, 100.0)


def test_table() -> None:
    """Print the table → one line per folder in order, the total last, with floors where there are any."""
    lines = list(table(COUNTS, {"driver": 90.0}))
    assert [line.split()[0] for line in lines] == ["package", "driver", "driver/cluster", "probe", "total"]
    assert lines[1].split() == ["driver", "80", "12", "20", "8", "80.0", "%", "90", "%"]


@pytest.mark.parametrize(
    ("floors", "named"),
    [
        ({"driver": 80.0, "total": 80.0}, []),
        ({"driver": 80.1}, ["driver has 80.0 %"]),
        ({"driver": 81.0, "total": 81.0}, ["--include=driver/*", "total has 80.0 %"]),
        ({"probe": 0.0}, ["nothing of probe"]),
        ({"registrar": 1.0}, ["nothing of registrar"]),
    ],
)
def test_floors(floors: dict[str, float], named: list[str]) -> None:
    """Compare counts with floors → one sentence per package that is below its floor or was not measured."""
    found = list(shortfalls(COUNTS, floors))
    assert len(found) == len(named)
    assert all(part in sentence for part, sentence in zip(named, found, strict=True))


def test_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Run the command → 0 if all floors are reached, 1 with one sentence for each that is not, 2 for an argument."""
    monkeypatch.setattr(coverage_table, "_report", lambda: {"files": {"driver/a.py": entry(100, 10)}})
    assert coverage_table.main([]) == 0
    monkeypatch.setattr(coverage_table, "_report", lambda: {"files": {"driver/a.py": entry(100, 16)}})
    assert coverage_table.main([]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 2
    assert coverage_table.main(["--help"]) == 2


def test_no_data(tmp_path: Path) -> None:
    """Nothing was measured → exit code 2 and one line that says what to run."""
    done = subprocess.run(
        [sys.executable, "-m", "tools.coverage_table"],
        env={"COVERAGE_FILE": str(tmp_path / "none"), "PATH": "/usr/bin:/bin"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "") and "tox run -e unit" in done.stderr


def test_every_package_is_measured() -> None:
    """Compare setup.cfg's lists → coverage measures all packages of the distributions except the generated one."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    shipped = {name.rstrip("*") for name in config["options.packages.find"]["include"].split()}
    measured = set(config["coverage:run"]["source_pkgs"].split())
    assert measured == (shipped | {"kubelet_stub", "provider_conformance"}) - {"protos"}
