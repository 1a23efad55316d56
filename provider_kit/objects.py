"""The class parameter ``objects``, in the forms that well-known providers accept, for providers that take it.

Either a list of objects (as for Vault, AWS, GCP), or an object whose key ``array`` holds a list of strings that are
YAML themselves (as for Azure). A failure names the entry and says what to write instead, and never shows a value that
might be secret. The only module of the kit that needs PyYAML.
"""

import base64
import binascii
import posixpath
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Literal

import yaml

from provider_kit.fields import Fields
from runtime import yaml_mistakes
from runtime.errors import InvalidRequest

Encoding = Literal["utf-8", "base64", "hex"]
_MOST_SHOWN = 80
# Ten times as fast, where PyYAML was built with libyaml.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def entries(text: str, known: Iterable[str], ignored: Iterable[str] = ()) -> list[tuple[str, Fields]]:
    """The entries: the ``objectName`` of each and its fields, of which each must be among ``known`` or ``ignored``."""
    items = _load(text, "objects")
    if isinstance(items, dict):
        if set(items) != {"array"}:
            raise InvalidRequest(
                "objects must be a YAML list (begin each object with `- `), or an object whose only key is array"
            )
        items = items["array"]
    if not isinstance(items, list) or not items:
        raise InvalidRequest("objects must be a YAML list with at least one entry, or such a list under the key array")
    known = sorted(known)
    accepted = {*known, *ignored}
    return [_entry(number, item, known, accepted, partial(_line, text, number)) for number, item in enumerate(items)]


def decode(name: str, contents: bytes, encoding: Encoding) -> bytes:
    """The content of the object ``name`` as it is written to its file, from what the store holds."""
    try:
        if encoding == "base64":
            return base64.b64decode(b"".join(contents.split()), validate=True)
        if encoding == "hex":
            return bytes.fromhex(contents.decode("ascii"))
    except (binascii.Error, ValueError):
        raise InvalidRequest(
            f"the content of {name!r} is not valid {encoding}: correct it in the store or remove encoding"
        ) from None
    return contents


def refuse_overlap(paths: list[str], remedy: str) -> None:
    """InvalidRequest, with what to do about it, if two entries write the same file, or if one is a directory of
    another."""
    seen: set[str] = set()
    for path in paths:
        if path in seen:
            raise InvalidRequest(f"two objects entries write the file {path!r}: {remedy}")
        seen.add(path)
    for path in paths:
        parent = posixpath.dirname(path)
        while parent:
            if parent in seen:
                raise InvalidRequest(
                    f"the objects entries {parent!r} and {path!r} conflict: one is a file, the other needs a directory"
                )
            parent = posixpath.dirname(parent)


def _entry(number: int, item: Any, known: list[str], accepted: set[str], line: Callable[[], int]) -> tuple[str, Fields]:
    what = f"objects entry {number}"
    if isinstance(item, str):
        item = _load(item, what)
    fields = Fields(what, item if isinstance(item, dict) else {}, line)
    if not isinstance(item, dict):
        raise fields.wrong("must be an object with at least objectName")
    name = fields.text("objectName")
    if not name:
        raise fields.wrong("has no objectName")
    # What to do about it must not be cut off because a name is long.
    fields.what = f"{what} ({name if len(name) <= _MOST_SHOWN else f'{name[:_MOST_SHOWN]}…'!r})"
    unknown = sorted(str(key) for key in set(item) - accepted)
    if unknown:
        raise fields.wrong(f"has the unknown field {unknown[0]}: the known fields are {', '.join(known)}")
    return name, fields


def _line(text: str, number: int) -> int:
    """The line at which an entry of ``objects``, in either form, begins; 0 if it cannot be said."""
    node = yaml.compose(text, _LOADER)
    if isinstance(node, yaml.MappingNode) and node.value:
        node = node.value[0][1]  # that of array, the only key
    if not isinstance(node, yaml.SequenceNode) or number >= len(node.value):
        return 0
    return int(node.value[number].start_mark.line) + 1


def _load(text: str, what: str) -> Any:
    loader = None
    try:
        loader = _LOADER(text)
        node = loader.get_single_node()
        if node is None:
            return None
        yaml_mistakes.check_keys(node)
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        line, sentence = yaml_mistakes.explain(error, text)
        place = f" (line {line})" if line else ""
        raise InvalidRequest(f"{what} is not valid YAML{place}{': ' if sentence else ''}{sentence}") from None
    # PyYAML raises many kinds of errors for a value like the date 2001-02-30.
    except (ArithmeticError, AttributeError, LookupError, RecursionError, ValueError):
        raise InvalidRequest(f"{what} is not valid YAML") from None
    finally:
        if loader is not None:
            loader.dispose()
