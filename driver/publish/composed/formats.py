"""The text of a file with a value for each key.

- json: one map of strings, in the order of the class.
- dotenv: ``KEY=value`` lines that a POSIX shell reads back exactly; so do programs that follow its rules for quotes.
- properties: as ``java.util.Properties`` reads it.
"""

import json
import re
from collections.abc import Callable, Mapping

from runtime.errors import PreconditionFailed

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+,=-]*")


def render(kind: str, values: Mapping[str, str]) -> str:
    """The text. Raises PreconditionFailed."""
    if kind not in WRITERS:
        raise PreconditionFailed(f"format {kind} is unknown: use {', '.join(WRITERS)}, or template")
    return WRITERS[kind](values)


def _json(values: Mapping[str, str]) -> str:
    return json.dumps(dict(values), ensure_ascii=False, indent=2) + "\n"


def _dotenv(values: Mapping[str, str]) -> str:
    lines = []
    for key, value in values.items():
        if not _VARIABLE.fullmatch(key):
            raise PreconditionFailed(f"key {key} cannot be a variable: use letters, digits and '_', not a digit first")
        if "\0" in value:
            raise PreconditionFailed(f"the value of key {key} has a NUL character, which no variable can have")
        lines.append(f"{key}={_shell_quoted(value)}\n")
    return "".join(lines)


def _shell_quoted(value: str) -> str:
    """https://pubs.opengroup.org/onlinepubs/9699919799/utilities/V3_chap02.html#tag_18_02"""
    if _PLAIN.fullmatch(value):
        return value
    if "'" not in value:
        return f"'{value}'"
    return '"' + re.sub(r'([\\"$`])', r"\\\1", value) + '"'


def _properties(values: Mapping[str, str]) -> str:
    from javaproperties import join_key_value

    return "".join(join_key_value(key, value) + "\n" for key, value in values.items())


WRITERS: Mapping[str, Callable[[Mapping[str, str]], str]] = {
    "json": _json,
    "dotenv": _dotenv,
    "properties": _properties,
}
