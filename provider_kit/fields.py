"""Typed access to the fields of one ``objects`` entry. Every InvalidRequest names the entry and says what to write."""

from collections.abc import Callable, Mapping
from typing import Any, get_args

from provider_kit.reply import is_clean_path
from runtime.errors import InvalidRequest
from runtime.flags import parse_duration


class Fields:
    """The fields of one entry; ``what`` names the entry in failures, and ``line`` finds its line in ``objects`` (from 1
    on, 0 if unknown), which costs as much as parsing it.

    YAML parses an unquoted number as a number, so numbers are accepted where a name or version is expected.
    """

    def __init__(self, what: str, item: Mapping[str, Any], line: Callable[[], int] = lambda: 0) -> None:
        self.what = what
        self._item = item
        self._line = line

    def wrong(self, problem: str) -> InvalidRequest:
        """The failure to raise: the entry, followed by ``problem``, such as ``has no secretPath``, and the line."""
        line = self._line()
        place = f" (line {line} of objects)" if line else ""
        return InvalidRequest(f"{self.what}{'' if problem.startswith(':') else ' '}{problem}{place}")

    def text(self, key: str) -> str:
        """A string; empty if absent."""
        value = self._item.get(key)
        if value is None:
            return ""
        if isinstance(value, (str, int, float)) and not isinstance(value, bool):
            return str(value)
        raise self.wrong(f": {key} must be a string")

    def mapping(self, key: str) -> Mapping[str, Any]:
        """An object, whatever its values are; empty if absent."""
        value = self._item.get(key)
        if value is None:
            return {}
        if isinstance(value, dict) and all(isinstance(name, str) for name in value):
            return value
        raise self.wrong(f": {key} must be an object, such as {{ttl: 1h}}")

    def choice(self, key: str, choices: Any, default: str) -> Any:
        """One of the strings of the ``Literal`` type ``choices``."""
        value = self.text(key) or default
        allowed = get_args(choices)
        if value not in allowed:
            raise self.wrong(f": {key} must be one of {', '.join(filter(None, allowed))}")
        return value

    def number(self, key: str, default: int, least: int, most: int) -> int:
        """A whole number from ``least`` to ``most``."""
        value = self.text(key)
        if not value:
            return default
        if not value.isascii() or not value.isdecimal() or not least <= int(value) <= most:
            raise self.wrong(f": {key} must be a number from {least} to {most}")
        return int(value)

    def seconds(self, key: str, default: float) -> float:
        """A duration, in seconds."""
        if not self.text(key):
            return default
        try:
            return seconds(f": {key}", self.text(key))
        except InvalidRequest as error:
            raise self.wrong(str(error)) from None

    def mode(self, key: str) -> int | None:
        """Permission bits. YAML itself reads ``0644`` as octal, and a string is read as octal here, too; a decimal 644
        exceeds 0777 and is refused, because nobody means it.
        """
        value = self._item.get(key)
        if value is None:
            return None
        try:
            mode = int(value, 8) if isinstance(value, str) else value
        except ValueError:
            mode = -1
        if not isinstance(mode, int) or isinstance(mode, bool) or not 0 <= mode <= 0o777:
            raise self.wrong(f": {key} must be octal permission bits, such as 0644")
        return mode

    def path(self, key: str, path: str) -> str:
        """``path`` if the driver accepts it as a file of a volume: relative, clean, without ``..``."""
        if not is_clean_path(path):
            raise self.wrong(f": {key} must be a relative path without .. or empty elements, such as app/password")
        return path


def seconds(what: str, text: str) -> float:
    """A duration such as ``90s`` or ``24h`` in seconds, not negative; ``what`` names it in failures."""
    try:
        duration = parse_duration(text)
    except ValueError as error:
        raise InvalidRequest(f"{what}: {error}") from None
    if duration < 0:
        raise InvalidRequest(f"{what} must not be negative")
    return duration
