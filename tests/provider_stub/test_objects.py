"""The ``objects`` parameter in its forms, and what is refused in it."""

import pytest

from provider_stub import objects
from runtime.errors import InvalidRequest

AZURE = """
array:
  - |
    objectName: secret1
    objectAlias: alias/one
    objectType: secret
    objectVersion: ""
    filePermission: 0400
  - "objectName: secret2"
"""
VAULT = """
- objectName: db-password
  secretPath: secret/data/db
  secretKey: password
  filePermission: "0640"
  encoding: base64
- objectName: plain
"""


def test_both_forms() -> None:
    """A YAML list under array as strings, and a plain list: same fields, octal modes from numbers and strings."""
    first, second = objects.parse(AZURE)
    assert (first.name, first.path, first.source) == ("secret1", "alias/one", "secret1")
    assert (first.mode, first.version) == (0o400, "")
    assert (second.path, second.mode) == ("secret2", None)
    first, second = objects.parse(VAULT)
    assert (first.name, first.path) == ("db-password", "db-password")
    assert (first.source, first.mode) == ("secret/data/db/password", 0o640)
    assert first.decode(b"Zm9v\n") == b"foo"
    assert objects.parse("[{objectName: x, encoding: hex}]")[0].decode(b"666f6f\n") == b"foo"


@pytest.mark.parametrize(
    "text, phrase",
    [
        ("", "at least one entry"),
        ("[]", "at least one entry"),
        ("array: []", "at least one entry"),
        ("a: 1", "only key is array"),
        ("- [", "not valid YAML"),
        ("- {objectName: ok}\n- {objectAlias: x}", "entry 1 has no objectName"),
        ("- objectName: 2001-02-30", "not valid YAML"),
        ("- objectName: !!int one", "not valid YAML"),
        ("- objectName: !!bool maybe", "not valid YAML"),
        ("- !!timestamp soon", "not valid YAML"),
        ("[" * 100_000, "not valid YAML"),
        ("- 'objectName: [a'", "entry 0 is not valid YAML"),
        ("- just text", "entry 0 must be an object"),
        ("- {objectName: a, colour: red}", "entry 0 ('a') has the unknown field colour"),
        ("- {objectName: a, filePermission: 644}", "such as 0644"),
        ("- {objectName: a, filePermission: '9'}", "such as 0644"),
        ("- {objectName: a, filePermission: true}", "such as 0644"),
        ("- {objectName: a, encoding: rot13}", "encoding must be one of utf-8, base64, hex"),
        ("- {objectName: a, rotationPeriod: soon}", "want a duration"),
        ("- {objectName: a, length: 3}", "8 to 256"),
        ("- {objectName: a, objectAlias: /a}", "relative path"),
        ("- {objectName: ../a}", "relative path"),
        ("- {objectName: a, objectAlias: ..data}", "relative path"),
        ("- {objectName: a, objectAlias: a//b}", "relative path"),
        ("- {objectName: a, objectAlias: .}", "relative path"),
        ("- {objectName: a}\n- {objectName: b, objectAlias: a}", "two objects entries write the file 'a'"),
        ("- {objectName: q}\n- {objectName: q/r}", "'q' and 'q/r' conflict"),
    ],
)
def test_refusals(text: str, phrase: str) -> None:
    """Each bad form is refused with a sentence that names the entry or what to write."""
    with pytest.raises(InvalidRequest) as caught:
        objects.parse(text)
    assert phrase in str(caught.value)


def test_bad_encoding_keeps_the_secret() -> None:
    """Content that is not what its encoding says is refused without being quoted."""
    with pytest.raises(InvalidRequest) as caught:
        objects.parse("[{objectName: x, encoding: base64}]")[0].decode(b"hunter2!!")
    assert "not valid base64" in str(caught.value) and "hunter2" not in str(caught.value)
