"""tools/check_release.py on copies of the files that name the version."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tools.check_release import ROOT, main

STUB = "kubelet_stub/pyproject.toml"
CHART, SYNC_CHART = "helm/Chart.yaml", "helm/sync/Chart.yaml"
FILES = ("setup.cfg", "CHANGELOG.md", CHART, SYNC_CHART, "helm/values.yaml", "docker/build.sh", STUB)
CHANGELOG = """# Changelog

## [Unreleased]

## [0.2.0] - 2026-02-01

### Added

- Something.

## [0.1.0] - 2026-01-31
"""

Replace = Callable[[str, str, str], None]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy at version 0.2.0, in which everything agrees."""
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    current = (ROOT / "setup.cfg").read_text().partition("\nversion = ")[2].partition("\n")[0]
    for name in ("setup.cfg", CHART, SYNC_CHART, STUB):
        path = tmp_path / name
        path.write_text(path.read_text().replace(current, "0.2.0"))
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    return tmp_path


@pytest.fixture
def replace(tree: Path) -> Replace:
    """Change one text in one file of the copy; the text must be there."""

    def change(name: str, old: str, new: str) -> None:
        text = (tree / name).read_text()
        assert old in text
        (tree / name).write_text(text.replace(old, new))

    return change


def test_this_repository() -> None:
    """The repository itself: everything agrees."""
    assert main([]) == 0


def test_a_release(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A tree whose files agree, and the tag of that version: exit code 0, and nothing is printed."""
    assert main(["v0.2.0"], tree) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    "name, old, new, expected",
    [
        (
            "setup.cfg",
            "version = 0.2.0",
            "version = 0.3.0",
            ["CHANGELOG.md", "version is 0.2.0", "appVersion is 0.2.0", STUB],
        ),
        ("setup.cfg", "version = 0.2.0", "version = 0.2", ["setup.cfg: version is '0.2'"]),
        ("setup.cfg", "version = 0.2.0", "version = 0.2.0rc1", ["setup.cfg: version is '0.2.0rc1'"]),
        ("setup.cfg", "version = 0.2.0", "", ["setup.cfg: version is ''"]),
        ("setup.cfg", "[metadata]", "metadata", ["setup.cfg"]),
        ("helm/Chart.yaml", "\nversion: 0.2.0", "\nversion: 0.2.1", ["helm/Chart.yaml: version is 0.2.1"]),
        ("helm/Chart.yaml", "appVersion: 0.2.0", "appVersion: 0.1.0", ["appVersion is 0.1.0", "the chart pulls"]),
        ("helm/Chart.yaml", "appVersion: 0.2.0", "", ["appVersion is None"]),
        ("helm/Chart.yaml", "name: ", "name: [", ["helm/Chart.yaml: invalid YAML"]),
        ("helm/values.yaml", 'tag: ""', "tag: 0.1.0", ["the chart pulls secrets-store-csi:0.1.0"]),
        ("helm/values.yaml", "repository: secrets-store-csi ", "repository: other ", ["the chart pulls other:0.2.0"]),
        (
            "docker/build.sh",
            "secrets-store-csi:$VERSION",
            "secrets-store-csi:latest",
            ["builds secrets-store-csi:latest"],
        ),
        ("docker/build.sh", "--print-tag)", "--other)", ["docker/build.sh --print-tag failed with exit code 2"]),
        (STUB, 'version = "0.2.0"', 'version = "0.1.0"', [f"{STUB}: version is 0.1.0"]),
        (STUB, "secrets-store-csi==0.2.0", "secrets-store-csi", ["secrets-store-csi==0.2.0 is not among"]),
        (STUB, "[project", "[other", [f"{STUB}: version is None"]),
        (STUB, "[project]", "[project", [STUB, "invalid TOML"]),
        ("CHANGELOG.md", "## [Unreleased]\n", "", ["the first section must be '## [Unreleased]'"]),
        ("CHANGELOG.md", "[0.2.0] - 2026-02-01", "[0.2.0]", ["'## [0.2.0]' is not of the form"]),
        ("CHANGELOG.md", "2026-02-01", "2026-02-30", ["'## [0.2.0] - 2026-02-30' is not of the form"]),
        ("CHANGELOG.md", "2026-02-01", "1 February", ["is not of the form"]),
        ("CHANGELOG.md", "[0.2.0]", "[0.10.0]", ["the newest version is 0.10.0"]),
        ("CHANGELOG.md", "[0.1.0]", "[0.2.0]", ["0.2.0 stands above 0.2.0"]),
        ("CHANGELOG.md", "2026-01-31", "2026-02-02", ["0.2.0 stands above 0.1.0"]),
    ],
)
def test_a_disagreement(
    tree: Path, replace: Replace, capsys: pytest.CaptureFixture[str], name: str, old: str, new: str, expected: list[str]
) -> None:
    """One file names another version, or is malformed: exit code 1, and stderr names the file and what to do."""
    replace(name, old, new)
    assert main([], tree) == 1
    printed = capsys.readouterr().err
    assert [text for text in expected if text not in printed] == []
    assert "Traceback" not in printed


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file(tree: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """A file that is not there: exit code 1, and stderr names it."""
    (tree / name).unlink()
    assert main([], tree) == 1
    assert name in capsys.readouterr().err


def test_ten_is_newer_than_nine(tree: Path, replace: Replace) -> None:
    """Versions are compared as numbers: 0.10.0 above 0.9.0 is in order."""
    replace("CHANGELOG.md", "[0.2.0]", "[0.10.0]")
    replace("CHANGELOG.md", "[0.1.0]", "[0.9.0]")
    replace("setup.cfg", "version = 0.2.0", "version = 0.10.0")
    for name in (CHART, SYNC_CHART, STUB):
        replace(name, "0.2.0", "0.10.0")
    assert main([], tree) == 0


@pytest.mark.parametrize("tag", ["0.2.0", "v0.2.1", "release-0.2.0"])
def test_another_tag(tree: Path, capsys: pytest.CaptureFixture[str], tag: str) -> None:
    """A tag that is not v and the version: exit code 1, and stderr names both."""
    assert main([tag], tree) == 1
    assert f"the tag is {tag}, setup.cfg has 0.2.0" in capsys.readouterr().err


def test_unreleased_changes(tree: Path, replace: Replace, capsys: pytest.CaptureFixture[str]) -> None:
    """Entries under [Unreleased]: fine between releases, refused when a tag is about to be made."""
    replace("CHANGELOG.md", "## [Unreleased]\n", "## [Unreleased]\n\n### Fixed\n\n- A bug.\n")
    assert main([], tree) == 0
    assert main(["v0.2.0"], tree) == 1
    assert "'## [Unreleased]' is not empty" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--help"], ["v0.2.0", "v0.2.1"]])
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A flag, or two tags: exit code 2 and the usage."""
    assert main(arguments) == 2
    assert "usage: " in capsys.readouterr().err
