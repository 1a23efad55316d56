"""Every value of the chart as a Markdown table, from its schema and its defaults:
``python -m tests.helm.values_page > docs/values.md``."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any

import yaml

from tests.helm import chart

HEAD = """# Chart values

Names and meaning are those of the Go trio's chart; what that one does not have is marked *new*, and what became of its
other values is in [migration.md](migration.md). A value of a wrong type, form or name fails the render with a sentence
that names it. Flags: [flags.md](flags.md).

There is no PodDisruptionBudget: `kubectl drain` leaves a DaemonSet's pods alone, and the eviction API cannot count a
percentage or a `maxUnavailable` of a DaemonSet, which has no scale subresource. `linux.updateStrategy` bounds what an
upgrade takes down at a time; `linux.priorityClassName: system-node-critical` keeps the pod on a full node.

This page is written by `python -m tests.helm.values_page > docs/values.md`; a test compares the two.
"""
NEW = (
    "syncSecret.namespaces",
    "tmpfsSize",
    "volumeAttributesOverride",
    "volumeCondition",
    "startupTaint",
    "podMonitor",
    "prometheusRule",
    "networkPolicy",
    "rbac.goDriver",
    "linux.extraArgs",
)
TITLES = {"linux": "Linux", "windows": "Windows", "": "Both"}


@dataclass(frozen=True)
class Row:
    """One value: where it is, what it is without a word of the user's, and which flag it sets, if it is one."""

    path: tuple[str, ...]
    default: Any  # Ellipsis where values.yaml does not have it
    flag: str
    meaning: str

    @property
    def key(self) -> str:
        """As a person writes it after ``--set``."""
        return ".".join(self.path)

    @property
    def new(self) -> bool:
        """Whether the trio's chart does not have it."""
        return any(f"{self.key}.".startswith(f"{key}.") for key in NEW)

    def __str__(self) -> str:
        default = "" if self.default is ... else f"`{json.dumps(self.default, ensure_ascii=False)}`"
        flag = f"`--{self.flag}`" if self.flag else ""
        return f"| `{self.key}` | {default} | {flag} | {'*new*: ' if self.new else ''}{self.meaning} |"


def rows() -> Iterator[Row]:
    """All values, in the schema's order: a value is whatever has a description there."""
    defaults = yaml.safe_load((chart.CHART / "values.yaml").read_text())
    yield from _rows(json.loads((chart.CHART / "values.schema.json").read_text()), (), defaults)


def _rows(schema: dict[str, Any], path: tuple[str, ...], defaults: dict[str, Any]) -> Iterator[Row]:
    for name, part in schema.get("properties", {}).items():
        if "description" in part:
            yield Row((*path, name), find(defaults, (*path, name)), part.get("flag", ""), part["description"])
        else:
            yield from _rows(part, (*path, name), defaults)


def find(values: Any, path: tuple[str, ...]) -> Any:
    """What stands at a path; Ellipsis if nothing does."""
    return reduce(lambda found, name: found.get(name, ...) if isinstance(found, dict) else ..., path, values)


def page() -> str:
    """The page."""
    parts = [HEAD]
    found = list(rows())
    for group, title in TITLES.items():
        mine = [row for row in found if (row.path[0] if row.path[0] in TITLES else "") == group]
        parts.append(f"## {title}\n\n| value | default | flag | meaning |\n| --- | --- | --- | --- |")
        parts.append("\n".join(str(row) for row in mine) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    print(page(), end="")
