"""A text that is not valid YAML → its line and what to write, with both of PyYAML's parsers."""

from typing import Any

import pytest
import yaml

from runtime import yaml_mistakes

LOADERS = [loader for name in ("SafeLoader", "CSafeLoader") if (loader := getattr(yaml, name, None))]


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize(
    "text, line, sentence",
    [
        ("a: b: c", 1, "a colon where none may be"),
        ("a:\n  b\n c: d", 3, "align it with the lines of the same level"),
        ("a: - b", 1, "a list begins in the line after its key"),
        ("a: 'it's'", 1, "a quotation mark is missing"),
        ("a: 1\nb\n", 3, "a line without a colon: write KEY: VALUE"),
        ("a: @x", 1, "put it in quotes"),
        ("{a: 1}\n{b: 2}", 2, "a line with nothing but ---"),
        ('a:\n  "x\nb: c', 2, "a quotation mark is never closed"),
        ("a: 'x\n---\nb: c", 1, "a quotation mark is never closed"),
        ("a: [x\nb: c", 2, "a bracket is never closed"),
        ("a: {x: 1\nb: c", 2, "a bracket is never closed"),
        ("a: *x", 1, "must be in quotes"),
        ("a: &", 1, "must be in quotes"),
        ("a: {{ x }}", 1, "must be in quotes"),
        ("a: \x01", 0, "it has control characters"),
        ('a: "\\q"', 1, "an unknown escape"),
        ("a:\n\t- b", 2, "a tab in the indentation"),
        ("- \tx: 1\n  y: 2", 1, "a tab in the indentation"),
        ("a: !foo x", 1, ""),
    ],
)
def test_sentences(text: str, line: int, sentence: str, loader: Any) -> None:
    """A mistake → where it is and what to write; nothing for one that is not known."""
    with pytest.raises(yaml.YAMLError) as error:
        list(yaml.load_all(text, loader))
    found = yaml_mistakes.explain(error.value, text)
    assert found[0] == line and (sentence in found[1] if sentence else not found[1]), found


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize(
    "text, line",
    [
        ("a: 1\nb: 2\na: 3", 3),
        ("x:\n  - a: 1\n    a: 2", 3),
        ("x: {a: 1, a: 2}", 1),
        ("base: &base {a: 1}\nx:\n  <<: *base\n  a: 2", 0),
        ("x: &x [1]\ny: *x\nz: *x", 0),
        ("x: &x\n  y: *x", 0),
    ],
)
def test_repeated_keys(text: str, line: int, loader: Any) -> None:
    """A key stands twice in a map → its second line; one that overrides a merged one, and aliases, are fine."""
    node = yaml.compose(text, loader)
    assert node is not None
    if line == 0:
        yaml_mistakes.check_keys(node)
        return
    with pytest.raises(yaml_mistakes.RepeatedKey) as error:
        yaml_mistakes.check_keys(node)
    found, sentence = yaml_mistakes.explain(error.value, text)
    assert found == line and sentence.startswith("the key a is already in line ")
