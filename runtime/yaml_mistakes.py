"""What is wrong with a text that is not valid YAML, in a sentence that says what to write.

A parser says what it expected next, which helps few authors. The sentences never have a part of the text in them but
names of keys, because a value may be confidential. Whoever reads YAML from an author uses it: manifests, the command
line, providers.
"""

import re
from collections.abc import Iterator
from typing import Any

import yaml

_TAB = re.compile(r"[\s-]*\t")
_ALIGN = "align it with the lines of the same level"
# The texts of libyaml and of PyYAML's own parser, which differ.
_SENTENCES = (
    (
        r"mapping values are not allowed",
        f"a colon where none may be: put the value in quotes; or, if the line is indented by mistake, {_ALIGN}",
    ),
    (r"sequence entries are not allowed", "a list begins in the line after its key: move `- ` there"),
    (r"expected '-' indicator", "an item of the list is missing its `- `, or is indented by mistake"),
    (
        r"expected key|expected <block end>",
        f"the line is indented by mistake: {_ALIGN}; or a quotation mark is missing",
    ),
    (r"could not find expected ':'", "a line without a colon: write KEY: VALUE"),
    (r"cannot start any token", "a value begins with a character that YAML reserves (@, %, `): put it in quotes"),
    (r"expected '<?document start>?'?|expected <document start>", "separate objects by a line with nothing but ---"),
    (r"unexpected (end of stream|document)", "a quotation mark is never closed"),
    (r"expected ',' or '[\]}]'", "a bracket is never closed, or a comma is missing"),
    (r"undefined alias|alphabetic or numeric", "a value that begins with * or & must be in quotes"),
    (r"unhashable key", "a value that begins with { or [ must be in quotes"),
    (r"characters are not allowed", "it has control characters: remove them"),
    (r"unknown escape character", "an unknown escape: write \\\\ for \\, or use single quotes"),
)


class RepeatedKey(yaml.MarkedYAMLError):
    """A key that stands twice in a map; YAML's parsers would silently take the last."""


def explain(error: yaml.YAMLError, text: str) -> tuple[int, str]:
    """The line, counted from 1, or 0 if it is unknown; and the sentence, empty for a mistake that is not known."""
    problem = str(getattr(error, "problem", None) or getattr(error, "reason", None) or "")
    mark = getattr(error, "problem_mark", None)
    if "unexpected" in problem:  # what is not closed began earlier
        mark = getattr(error, "context_mark", None) or mark
    line = mark.line + 1 if mark is not None else 0
    if isinstance(error, RepeatedKey):
        return line, problem
    if line and _has_tab(text, line):
        return line, "a tab in the indentation: replace it with spaces"
    return line, next((sentence for pattern, sentence in _SENTENCES if re.search(pattern, problem)), "")


def check_keys(root: yaml.Node) -> None:
    """Raises RepeatedKey; overriding a merged key (``<<``) is fine."""
    for node in _maps(root, set()):
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in lines:
                    raise RepeatedKey(
                        problem=f"the key {key.value} is already in line {lines[key.value]}: remove one of the two",
                        problem_mark=key.start_mark,
                    )
                lines[key.value] = key.start_mark.line + 1


def parts(node: yaml.Node) -> Any:
    """The nodes in a collection: keys and values, or items."""
    return [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value


def _maps(node: yaml.Node, seen: set[int]) -> Iterator[yaml.MappingNode]:
    """Each once, however many aliases stand for it."""
    if isinstance(node, yaml.ScalarNode) or id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        yield node
    for part in parts(node):
        yield from _maps(part, seen)


def _has_tab(text: str, line: int) -> bool:
    around = text.splitlines()[max(line - 2, 0) : line]  # an error in the indentation may be noticed one line later
    return any(_TAB.match(one) for one in around)
