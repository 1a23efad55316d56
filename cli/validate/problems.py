"""An object in a file, and what is wrong with a field of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cli.findings import Finding, Level
from driver.manifests.documents import Document, FieldPath
from driver.manifests.schema import dotted

# A text that begins in the line after its field.
_BLOCK_STYLES = ("|", ">")


@dataclass(frozen=True)
class Checked:
    """``offset`` is the line of the problem within the text of the field, which is YAML itself."""

    path: FieldPath
    sentence: str
    level: Level = Level.ERROR
    offset: int = 0


@dataclass(frozen=True)
class Object:
    """A Kubernetes object; what is not a text where one belongs is empty."""

    file: str
    document: Document

    @property
    def value(self) -> Mapping[str, Any]:
        """The object."""
        value: Mapping[str, Any] = self.document.value
        return value

    @property
    def kind(self) -> str:
        """Its kind."""
        return _text(self.value.get("kind"))

    @property
    def name(self) -> str:
        """Its name."""
        return _text(self._metadata.get("name"))

    @property
    def namespace(self) -> str:
        """Its namespace; empty if whoever applies the file chooses it."""
        return _text(self._metadata.get("namespace"))

    def finding(self, problem: Checked) -> Finding:
        """A problem with its place."""
        line = self.document.line(problem.path)
        if problem.offset:
            node = self.document.below(problem.path).node
            line += problem.offset if getattr(node, "style", "") in _BLOCK_STYLES else 0
        return Finding(self.file, line, dotted(problem.path), problem.sentence, problem.level)

    @property
    def _metadata(self) -> Mapping[str, Any]:
        found = self.value.get("metadata")
        return found if isinstance(found, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
