"""YAML files of Kubernetes objects, with the line of each field, and a sentence for each mistake in the YAML itself.

Stricter than YAML: a key that stands twice in a map is an error, as it is for kubectl; a parser would take the last.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from driver import limits
from runtime import yaml_mistakes
from runtime.errors import PreconditionFailed

# Files are read at each publish, and libyaml, if PyYAML was built with it, takes a tenth of the time.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# What PyYAML raises, beside its own errors, for a value that is not of the type that it looks like or is tagged with.
_UNREADABLE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)

NOT_UTF_8 = "it is not UTF-8 text: save it as UTF-8"
_TEMPLATE_HINT = "; if it is a template of a chart, render it first: helm template …"

FieldPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Document:
    """One YAML document: its ``value``, and the ``node`` from which it was made."""

    value: Any
    node: yaml.Node = field(repr=False)

    def line(self, path: FieldPath = ()) -> int:
        """The line of a field, counted from 1; of the nearest field around it if there is no such field."""
        node, line = self.node, _first_line(self.node)
        for name in path:
            found = _child(node, name)
            if found is None:
                break
            line, node = found
        return line

    def below(self, path: FieldPath) -> "Document":
        """A part of the document, which exists."""
        value, node = self.value, self.node
        for name in path:
            found = _child(node, name)
            assert found is not None
            value, node = value[name], found[1]
        return Document(value, node)


class NotYaml(PreconditionFailed):
    """A file that is not valid YAML. ``line`` is counted from 1, or 0 if it is unknown; ``sentence`` is without it."""

    def __init__(self, name: object, line: int, sentence: str) -> None:
        where = f" line {line}" if line else ""
        super().__init__(f"{name}{where}: {sentence}")
        self.line = line
        self.sentence = sentence


def read(path: Path) -> Iterator[Document]:
    """The documents of a file. Raises NotYaml."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise NotYaml(path, 0, f"cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise NotYaml(path, 0, NOT_UTF_8) from None
    yield from parse(text, path)


def parse(text: str, name: object) -> Iterator[Document]:
    """The documents of a text, without empty ones. Raises NotYaml, with ``name`` in it."""
    try:
        yield from _load_all(text)
    except RecursionError:
        raise NotYaml(name, 0, "cannot be read: it is nested too deeply") from None
    except yaml.YAMLError as error:
        line, sentence = yaml_mistakes.explain(error, text)
        sentence = sentence or getattr(error, "problem", None) or "cannot be read"
        hint = _TEMPLATE_HINT if "{{" in text else ""
        raise NotYaml(name, line, f"not valid YAML: {sentence}{hint}") from None


def _load_all(text: str) -> Iterator[Document]:
    """Raises YAMLError also for a document that its aliases make enormous: each alias may stand for nodes with aliases
    of their own, and whoever then prints or compares the document does not come to an end."""
    loader = _LOADER(text)
    loader.construct_object = partial(_construct, loader.construct_object)
    try:
        while loader.check_node():
            node = loader.get_node()
            if _size(node, {}) > limits.MAX_YAML_NODES:
                raise yaml.MarkedYAMLError(
                    problem=f"its aliases stand for more than {limits.MAX_YAML_NODES} values",
                    problem_mark=node.start_mark,
                )
            yaml_mistakes.check_keys(node)
            value = loader.construct_document(node)
            if value is not None:
                yield Document(value, node)
    finally:
        loader.dispose()


def _construct(construct: Callable[..., Any], node: yaml.Node, deep: bool = False) -> Any:
    """The value of a node. Raises YAMLError with its place also for one like the date 2001-02-30."""
    try:
        return construct(node, deep)
    except _UNREADABLE:
        kind = node.tag.rpartition(":")[2]
        raise yaml.MarkedYAMLError(
            problem=f"a value cannot be read as {kind}: if it is a text, put it in quotes", problem_mark=node.start_mark
        ) from None


def _size(node: yaml.Node, known: dict[int, float]) -> float:
    """How many nodes there are with all aliases written out; infinitely many for one that contains itself."""
    if id(node) not in known:
        known[id(node)] = float("inf")  # until its parts are counted
        parts = yaml_mistakes.parts(node)
        known[id(node)] = 1 + (0 if isinstance(node, yaml.ScalarNode) else sum(_size(part, known) for part in parts))
    return known[id(node)]


def _first_line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _child(node: yaml.Node, name: str | int) -> tuple[int, yaml.Node] | None:
    """The line of a key or an item, and the node of its value."""
    if isinstance(node, yaml.MappingNode):
        # The last one, because keys of a merge come first.
        for key, value in reversed(node.value):
            if key.value == str(name):
                return _first_line(key), value
    if isinstance(node, yaml.SequenceNode) and isinstance(name, int) and name < len(node.value):
        return _first_line(node.value[name]), node.value[name]
    return None
