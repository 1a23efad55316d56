"""The class parameter ``objects``: mistakes are named by entry, field and line."""

import re
from collections.abc import Callable

import pytest

from provider_kit import InvalidRequest
from provider_kit.fields import Fields
from provider_kit.objects import entries

BLOCK = """\
# two secrets

- objectName: user
- objectName: password
  filePermission: {}
"""
FLOW = "[{{objectName: user}},\n {{objectName: password,\n   filePermission: {}}}]"
STRINGS = """\
array:
  - |
    objectName: user
  - |
    objectName: password
    filePermission: {}
"""


@pytest.mark.parametrize("form, line", [(BLOCK, 4), (FLOW, 2), (STRINGS, 4)], ids=["block", "flow", "strings"])
def test_a_wrong_field(form: str, line: int) -> None:
    """A field with a value that nobody means → the entry, the field, what to write, and the line where it begins."""
    assert entries(form.format("0400"), ["objectName", "filePermission"])[1][1].mode("filePermission") == 0o400
    for value in ("644", "'9'", "[1]"):
        [_, (_, fields)] = entries(form.format(value), ["objectName", "filePermission"])
        with pytest.raises(InvalidRequest) as caught:
            fields.mode("filePermission")
        assert str(caught.value) == (
            "objects entry 1 ('password'): filePermission must be octal permission bits, such as 0644 "
            f"(line {line} of objects)"
        )


@pytest.mark.parametrize(
    "text, phrase",
    [
        ("- objectName: a\n- objectAlias: b", "objects entry 1 has no objectName (line 2 of objects)"),
        ("- objectName: a\n\n- text", "objects entry 1 must be an object with at least objectName (line 3 of objects)"),
        ("- {objectName: a,\n   colour: red}", "objects entry 0 ('a') has the unknown field colour: "),
        ("- {objectName: a,\n   colour: red}", "(line 1 of objects)"),
        ("- objectName: a\n- objectName: [b", "objects is not valid YAML (line "),
    ],
)
def test_a_wrong_entry(text: str, phrase: str) -> None:
    """An entry that is none, or YAML that is none → the line."""
    with pytest.raises(InvalidRequest, match=re.escape(phrase)):
        entries(text, ["objectName"])


READERS: dict[str, Callable[[Fields], object]] = {
    "seconds": lambda fields: fields.seconds("field", 0.0),
    "number": lambda fields: fields.number("field", 0, 1, 2),
    "path": lambda fields: fields.path("field", fields.text("field")),
    "mapping": lambda fields: fields.mapping("field"),
}


@pytest.mark.parametrize("kind", READERS)
def test_every_kind_of_field(kind: str) -> None:
    """Durations, numbers, paths and objects that are wrong → the entry once, and the line once."""
    [(_, fields)] = entries("\n- objectName: a\n  field: ../-1", ["objectName", "field"])
    with pytest.raises(InvalidRequest) as caught:
        READERS[kind](fields)
    assert re.fullmatch(r"objects entry 0 \('a'\): field\b.*[^)] \(line 2 of objects\)", str(caught.value))
    assert str(caught.value).count("entry") == 1
