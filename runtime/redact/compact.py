"""The compact form in which texts are searched: without white space, escaped line breaks and backslashes.

What a shell, a regular expression or JSON in JSON escapes, and how many times, differs from program to program.
"""

import re

from runtime.redact.patterns import WITHHELD

_BACKSLASHES = re.compile(r"\\++[nrt]?")


def compact(text: str) -> str:
    """The compact form of a text."""
    if "\\" in text:
        text = _BACKSLASHES.sub("", text)
    return "".join(text.split())


def replace(text: str, spans: list[tuple[int, int]]) -> str:
    """The text with a mark in place of each span of its compact form."""
    left_out = {index for escaped in _BACKSLASHES.finditer(text) for index in range(escaped.start(), escaped.end())}
    where = [index for index, character in enumerate(text) if index not in left_out and not character.isspace()]
    result, shown = "", 0
    for start, end in sorted(spans):
        first, last = where[start], where[end - 1] + 1
        if last <= shown:
            continue
        if first >= shown:
            result += text[shown:first] + WITHHELD
        shown = last
    return result + text[shown:]
