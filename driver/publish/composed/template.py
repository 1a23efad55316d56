"""Templates with placeholders and nothing else: no expression, no loop, no function that could run.

``${key}`` becomes the value of the key, ``${key|filter}`` the filtered one, and ``$${`` a literal ``${``. Filters:

- ``url``: percent-encoded, for any part of a URL (https://www.rfc-editor.org/rfc/rfc3986#section-2.1);
- ``json``: as a JSON string without its quotes;
- ``base64``: https://www.rfc-editor.org/rfc/rfc4648#section-4.

Every key must be used: ``{{ key }}`` and ``$key``, as other languages write it, would be text without any value.
"""

import json
import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from urllib.parse import quote

from driver import limits
from runtime.errors import PreconditionFailed

FILTERS: Mapping[str, Callable[[str], str]] = {
    "url": lambda value: quote(value, safe=""),
    "json": lambda value: json.dumps(value, ensure_ascii=False)[1:-1],
    "base64": lambda value: b64encode(value.encode()).decode(),
}
_PLACEHOLDER = re.compile(r"\$\$\{|\$\{([^}]*)(\}?)")


def render(template: str, values: Mapping[str, str]) -> str:
    """The template with its placeholders replaced. Raises PreconditionFailed."""
    parts: list[str] = []
    unused = dict.fromkeys(values)
    size = end = 0
    for number, match in enumerate(_PLACEHOLDER.finditer(template), 1):
        parts.append(template[end : match.start()])
        end = match.end()
        parts.append("${" if match[0] == "$${" else _value(match, values, unused))
        size += len(parts[-1]) + len(parts[-2])
        if number > limits.MAX_COMPOSED_OBJECTS or size > limits.MAX_COMPOSED_BYTES:
            raise PreconditionFailed(
                f"template: it may have {limits.MAX_COMPOSED_OBJECTS} placeholders and make "
                f"{limits.MAX_COMPOSED_BYTES} bytes at most"
            )
    if unused:
        key = next(iter(unused))
        raise PreconditionFailed(f"template: key {key} of objects is not in it: write ${{{key}}}, or remove the key")
    return "".join(parts) + template[end:]


def _value(match: "re.Match[str]", values: Mapping[str, str], unused: dict[str, None]) -> str:
    if not match[2]:
        raise PreconditionFailed("template: a ${ is not closed: write ${key}, or $${ for a literal ${")
    key, has_filter, name = (part.strip() for part in match[1].partition("|"))
    if key not in values:
        raise PreconditionFailed(
            f"template: {key or 'a placeholder without a name'} is no key of objects: {', '.join(values)}"
        )
    unused.pop(key, None)
    if not has_filter:
        return values[key]
    if name not in FILTERS:
        raise PreconditionFailed(f"template: filter {name} is unknown: use {', '.join(FILTERS)}")
    return FILTERS[name](values[key])
