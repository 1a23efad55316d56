"""Files that a class composes from several objects."""

import subprocess
from typing import Any

import pytest

from driver import limits
from driver.ports import ComposedFile
from driver.providers.wire import MountReply
from driver.publish.composed.compose import with_composed_files
from driver.volume.payload import File, Leaf, Tree, plan
from runtime.errors import PreconditionFailed

OBJECTS = (("user", "user"), ("db/password", "password"))
HOSTILE = "a'b\"c$d`e\\f\ng=#h é"


def reply(user: str = "app", password: str = "s3cret", **others: bytes) -> MountReply:
    """A provider's reply with two objects, and others."""
    files = [File("user", 0o644, user.encode()), File("db/password", 0o600, password.encode())]
    files += [File(name, 0o644, contents) for name, contents in others.items()]
    return MountReply({"user": "1"}, plan(files, readable_by_group=False))


def composed(reply: MountReply, **fields: Any) -> Leaf:
    """The one file that is composed with these fields."""
    values = {"path": "app.env", "format": "", "template": "", "objects": OBJECTS, **fields}
    found: Leaf | Tree = with_composed_files(reply, [ComposedFile(**values)], 100).payload[values["path"]]
    assert isinstance(found, Leaf)
    return found


@pytest.mark.parametrize(
    ("kind", "contents"),
    [
        ("dotenv", b"user=app\npassword=s3cret\n"),
        ("json", b'{\n  "user": "app",\n  "password": "s3cret"\n}\n'),
        ("properties", b"user=app\npassword=s3cret\n"),
    ],
)
def test_formats(kind: str, contents: bytes) -> None:
    """Scenario: a format. Expected: an entry for each object, in the class's order, readable by whom all of its objects
    are readable; the objects' own files are still there."""
    leaf = composed(reply(), format=kind)
    assert leaf == Leaf(0o600, contents)


def test_dotenv_is_read_back_by_a_shell() -> None:
    """Scenario: values with every character that a shell interprets. Expected: sh reads them back exactly."""
    for value in (HOSTILE, "it's", "$HOME", "a b", "", "line\nline", 'say "hi"'):
        script = composed(reply(password=value), format="dotenv").contents.decode() + 'printf %s "$password"'
        read = subprocess.run(["sh", "-c", script], capture_output=True, check=True)
        assert read.stdout.decode() == value


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("postgres://${user}:${password}@db/app", "postgres://app:p@ss/w?rd@db/app"),
        ("postgres://${user}:${password|url}@db/app", "postgres://app:p%40ss%2Fw%3Frd@db/app"),
        ('{"p": "${password|json}"}', '{"p": "p@ss/w?rd"}'),
        ("${ password | base64 }", "cEBzcy93P3Jk"),
        ("$${user} $user ${user}$", "${user} $user app$"),
        ("no placeholder", "no placeholder"),
    ],
)
def test_templates(template: str, text: str) -> None:
    """Scenario: a template. Expected: its placeholders replaced and filtered, all else as it is."""
    assert composed(reply(password="p@ss/w?rd"), template=template).contents.decode() == text


def test_values_are_not_templates() -> None:
    """Scenario: a value that looks like a placeholder. Expected: it is not replaced again."""
    assert composed(reply(user="${password}"), template="${user}").contents == b"${password}"


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"format": "yaml"}, "spec.files[0]: format yaml is unknown: use json, dotenv, properties, or template"),
        ({}, "set either format (json, dotenv or properties) or template, and not both"),
        ({"format": "json", "template": "x"}, "set either format"),
        ({"format": "json", "path": ""}, "path is empty"),
        ({"format": "json", "path": "../x"}, "spec.files: invalid path '../x'"),
        ({"format": "json", "path": "user"}, "path user is also the name of an object"),
        ({"format": "json", "path": "user/x"}, "is a file of the same payload"),
        ({"format": "json", "objects": ()}, "objects is empty"),
        ({"format": "json", "objects": (("nothing", "x"),)}, "file matching objectName nothing not found"),
        ({"format": "json", "objects": (("", "x"),)}, "an objectName is empty"),
        ({"format": "json", "objects": (("user", ""),)}, "the key of objectName user is empty"),
        ({"format": "json", "objects": (("user", "x"), ("db/password", "x"))}, "key x is listed twice"),
        ({"format": "dotenv", "objects": (("user", "a-b"),)}, "key a-b cannot be a variable"),
        ({"format": "json", "objects": (("binary", "b"),)}, "objectName binary is not UTF-8 text"),
        ({"template": "${none}"}, "template: none is no key of objects: user, password"),
        ({"template": "${user|upper}"}, "filter upper is unknown: use url, json, base64"),
        ({"template": "${user"}, "a ${ is not closed"),
        ({"template": "${}"}, "a placeholder without a name is no key"),
        ({"template": "${user}" * (limits.MAX_COMPOSED_OBJECTS + 1)}, "placeholders"),
    ],
)
def test_mistakes(fields: dict[str, Any], sentence: str) -> None:
    """Scenario: a mistake in spec.files. Expected: a sentence that names the field and what to write, and no value."""
    with pytest.raises(PreconditionFailed) as raised:
        composed(reply(password="v4lue", binary=b"\xff"), **fields)
    assert sentence in str(raised.value) and "v4lue" not in str(raised.value)


def test_too_large() -> None:
    """Scenario: a placeholder repeated until the file would have more than its limit. Expected: a sentence."""
    with pytest.raises(PreconditionFailed, match=str(limits.MAX_COMPOSED_BYTES)):
        composed(reply(user="x" * 100_000), template="${user}" * 20)


def test_a_provider_that_writes_itself() -> None:
    """Scenario: a reply without files. Expected: a sentence that says why nothing can be composed."""
    with pytest.raises(PreconditionFailed, match="the provider wrote the files to the volume itself"):
        composed(MountReply({"user": "1"}, {}), format="json")
