"""Fails where two places name different versions, or where the changelog is not in the form that a release needs.

python -m tools.check_release            what `make lint` and CI run
python -m tools.check_release v0.2.0     before tagging: also the tag, and that nothing is left under [Unreleased]

setup.cfg is the source: the distribution, `--version` and the image take the version from there. Exit codes: 0 all
agree, 1 with one line on stderr for each disagreement, 2 wrong usage.
"""

import configparser
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
UNRELEASED = "[Unreleased]"
# Both a valid PEP 440 version and a valid Semantic Version; pre-releases are spelled differently in the two.
VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
RELEASED = re.compile(rf"\[({VERSION.pattern})\] - (\d{{4}}-\d\d-\d\d)")


def problems(root: Path, tag: str | None = None) -> Iterator[str]:
    """One sentence for each disagreement in the tree under `root`; `tag` is the Git tag about to be made, if any.

    Raises OSError for a file that is missing, and ValueError (with the file's name) for one that cannot be parsed.
    """
    config = configparser.ConfigParser()
    config.read_string((root / "setup.cfg").read_text(), "setup.cfg")
    version = config.get("metadata", "version", fallback="")
    if not VERSION.fullmatch(version):
        yield f"setup.cfg: version is {version!r}: write MAJOR.MINOR.PATCH, for example 0.2.0"
        return
    yield from _changelog((root / "CHANGELOG.md").read_text(), version, releasing=tag is not None)
    for name in ("helm/Chart.yaml", "helm/sync/Chart.yaml"):
        chart = _mapping(root / name)
        for field in ("version", "appVersion"):
            if str(chart.get(field)) != version:
                yield f"{name}: {field} is {chart.get(field)}, setup.cfg has {version}: set it to {version}"
    yield from _image(root, str(_mapping(root / "helm" / "Chart.yaml").get("appVersion")))
    yield from _kubelet_stub(root / "kubelet_stub" / "pyproject.toml", version)
    if tag is not None and tag != f"v{version}":
        yield f"the tag is {tag}, setup.cfg has {version}: tag v{version}, or change the version first"


def _changelog(text: str, version: str, releasing: bool) -> Iterator[str]:
    """The order and form that https://keepachangelog.com/en/1.1.0/ asks for, newest first."""
    head, *sections = re.split(r"^## +", text, flags=re.MULTILINE)
    titles = [section.partition("\n")[0].strip() for section in sections]
    if titles[:1] != [UNRELEASED]:
        yield f"CHANGELOG.md: the first section must be '## {UNRELEASED}'; add it, empty if nothing has changed"
        return
    if releasing and sections[0].partition("\n")[2].strip():
        yield f"CHANGELOG.md: '## {UNRELEASED}' is not empty: move its entries to '## [{version}] - {date.today()}'"
    found: list[tuple[tuple[int, ...], date]] = []
    for title in titles[1:]:
        match = RELEASED.fullmatch(title)
        day = _date(match[match.lastindex or 0]) if match else None
        if not match or not day:
            yield f"CHANGELOG.md: '## {title}' is not of the form '## [0.2.0] - 2026-01-31'"
            return
        found.append((tuple(int(part) for part in match[1].split(".")), day))
    for newer, older in zip(found, found[1:], strict=False):
        if newer[0] <= older[0] or newer[1] < older[1]:
            yield f"CHANGELOG.md: {_show(newer[0])} stands above {_show(older[0])}: put the newest first"
    newest = _show(found[0][0]) if found else "missing"
    if newest != version:
        yield f"CHANGELOG.md: the newest version is {newest}, setup.cfg has {version}: add '## [{version}] - DATE'"


def _image(root: Path, app_version: str) -> Iterator[str]:
    """The image that the chart pulls by default is the one that docker/build.sh makes."""
    image = (_mapping(root / "helm" / "values.yaml").get("linux") or {}).get("image") or {}
    pulled = f"{image.get('repository')}:{image.get('tag') or app_version}"
    environment = {name: value for name, value in os.environ.items() if name != "TAG"}
    command = [str(root / "docker" / "build.sh"), "--print-tag"]
    built = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()
    if pulled != built:
        yield f"helm/values.yaml: the chart pulls {pulled}, docker/build.sh builds {built}: make linux.image name that"


def _kubelet_stub(path: Path, version: str) -> Iterator[str]:
    """The kubelet stub is a distribution of its own, with the version of the main one, which it requires."""
    try:
        project = tomllib.loads(path.read_text()).get("project", {})
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: invalid TOML: {error}") from error
    if project.get("version") != version:
        yield f"kubelet_stub/pyproject.toml: version is {project.get('version')}, setup.cfg has {version}: correct it"
    required = f"secrets-store-csi=={version}"
    if required not in project.get("dependencies", []):
        yield f"kubelet_stub/pyproject.toml: {required} is not among the dependencies: correct the version there"


def _mapping(path: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: invalid YAML: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path}: expected a mapping, found {type(found).__name__}")
    return found


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _show(version: tuple[int, ...]) -> str:
    return ".".join(str(part) for part in version)


def main(arguments: Sequence[str], root: Path = ROOT) -> int:
    """Print each problem on a line of its own."""
    if len(arguments) > 1 or any(item.startswith("-") for item in arguments):
        print("usage: python -m tools.check_release [TAG]", file=sys.stderr)
        return 2
    try:
        found = list(problems(root, *arguments))
    except (OSError, ValueError, configparser.Error) as error:
        found = [str(error)]
    except subprocess.CalledProcessError as error:
        found = [f"docker/build.sh --print-tag failed with exit code {error.returncode}: {error.stderr.strip()}"]
    for problem in found:
        print(f"check_release: {problem}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
