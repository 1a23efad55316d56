"""Command-line flags in Go's spelling, from one frozen dataclass a command.

A field made with ``flag(default, help)`` is a flag: its name with dashes, its type from the annotation (``str``,
``int``, ``bool``, ``Duration``, ``tuple[str, ...]`` for a comma list). Go's ``flag`` package takes ``-x`` and
``--x``, ``--x=v`` and ``--x v``; a boolean only ``--x`` or ``--x=false``. An unknown flag is exit code 2. A flag that
has a meaning in Go programs only is declared with ``ignored`` and accepted with a warning, so that command lines
written for the trio keep working.
"""

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NewType, get_type_hints

from runtime.errors import ConfigurationError

Duration = NewType("Duration", float)
"""Seconds; written as Go writes durations: ``2m30s``, ``500ms``, ``1.5h``, ``0``."""

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_TRUE, _FALSE = ("1", "t", "T", "true", "TRUE", "True"), ("0", "f", "F", "false", "FALSE", "False")


class UsageError(ConfigurationError):
    """The command line itself is wrong: exit code 2, as Go's flag package has it."""


class HelpRequested(Exception):
    """``-h``: print the usage and exit 0; ``str(error)`` is the usage."""


@dataclass(frozen=True)
class Flag:
    """One flag as it stands on the command line."""

    name: str
    field: str
    kind: str
    default: Any
    help: str
    deprecated: str = ""

    @property
    def is_switch(self) -> bool:
        """A boolean takes its value only after ``=``."""
        return self.kind == "bool"


@dataclass(frozen=True)
class Ignored:
    """A flag without meaning here: accepted with a warning that says why."""

    name: str
    why: str
    is_switch: bool = False


@dataclass(frozen=True)
class Parsed:
    """The values given on the command line, by dataclass and field (those not given are absent), and the warnings
    they caused."""

    values: Mapping[type, Mapping[str, Any]]
    warnings: Sequence[str]


def flag(default: Any, help: str, *, name: str = "", deprecated: str = "") -> Any:
    """A dataclass field that is a flag; ``name`` where it differs from the field's, ``deprecated`` what to use in its
    place."""
    return dataclasses.field(default=default, metadata={"help": help, "name": name, "deprecated": deprecated})


def flags_of(spec: type) -> list[Flag]:
    """The flags that a dataclass declares, in its order; docs and tests read them too."""
    hints = get_type_hints(spec)
    return [
        Flag(
            name=field.metadata["name"] or field.name.replace("_", "-"),
            field=field.name,
            kind=_kind(hints[field.name]),
            default=field.default,
            help=field.metadata["help"],
            deprecated=field.metadata["deprecated"],
        )
        for field in dataclasses.fields(spec)
        if "help" in field.metadata
    ]


def _kind(hint: Any) -> str:
    return "list" if hint == tuple[str, ...] else str(hint.__name__).lower()


class FlagSet:
    """The flags of one command, gathered from one dataclass or several."""

    def __init__(self, program: str) -> None:
        self.program = program
        self._flags: dict[str, tuple[type, Flag]] = {}
        self._ignored: dict[str, Ignored] = {}

    def add(self, spec: type, names: Mapping[str, str] | None = None) -> "FlagSet":
        """Offer the dataclass's flags; ``names`` maps field to flag name where only some are offered, under other
        names."""
        for item in flags_of(spec):
            if names is not None:
                if item.field not in names:
                    continue
                item = dataclasses.replace(item, name=names[item.field])
            if item.name in self._flags:
                raise ValueError(f"flag {item.name} is declared twice")
            self._flags[item.name] = (spec, item)
        return self

    def ignore(self, flags: Sequence[Ignored]) -> "FlagSet":
        """Accept these with a warning; one that is offered already keeps its meaning."""
        self._ignored.update({item.name: item for item in flags if item.name not in self._flags})
        return self

    def parse(self, argv: Sequence[str]) -> Parsed:
        """Read the command line. Raises UsageError with a sentence, or HelpRequested."""
        values: dict[type, dict[str, Any]] = {spec: {} for spec, _ in self._flags.values()}
        warnings: list[str] = []
        for name, value in self._pairs(argv):
            if name in self._ignored:
                warnings.append(f"--{name} has no effect: {self._ignored[name].why}")
                continue
            spec, item = self._flags[name]
            if item.deprecated:
                warnings.append(f"--{name} is deprecated: {item.deprecated}")
            values[spec][item.field] = _convert(item, value)
        return Parsed(values, warnings)

    def usage(self) -> str:
        """What ``-h`` prints."""
        lines = [f"Usage of {self.program}:"]
        for _, item in sorted(self._flags.values(), key=lambda pair: pair[1].name):
            lines.append(f"  --{item.name} {'' if item.is_switch else item.kind}".rstrip())
            lines.append(f"        {item.help} (default {format_value(item.default)})")
        return "\n".join(lines)

    def _pairs(self, argv: Sequence[str]) -> Iterator[tuple[str, str]]:
        rest = list(argv)
        while rest:
            argument = rest.pop(0)
            match = re.fullmatch(r"--?([^-=][^=]*)(?:=(.*))?", argument, re.DOTALL)
            if match is None:
                raise UsageError(
                    f"unexpected argument {argument!r}: flags are written --name=value (a boolean needs the =)"
                )
            name, value = match.group(1), match.group(2)
            if name in ("h", "help"):
                raise HelpRequested(self.usage())
            known = self._ignored.get(name) or (self._flags[name][1] if name in self._flags else None)
            if known is None:
                raise UsageError(f"flag provided but not defined: -{name} (see {self.program} --help)")
            if value is None and known.is_switch:
                value = "true"
            elif value is None:
                if not rest:
                    raise UsageError(f"flag needs an argument: -{name}")
                value = rest.pop(0)
            yield name, value


def _convert(item: Flag, text: str) -> Any:
    convert = _CONVERT[item.kind]
    try:
        return convert(text)
    except ValueError as error:
        raise UsageError(f'invalid value "{text}" for flag -{item.name}: {error}') from None


def parse_duration(text: str) -> Duration:
    """Go's duration syntax, in seconds. Raises ValueError with a sentence."""
    sign, rest = (-1.0, text[1:]) if text.startswith("-") else (1.0, text.removeprefix("+"))
    if rest == "0":
        return Duration(0.0)
    parts = list(_DURATION.finditer(rest))
    if not parts or "".join(part.group(0) for part in parts) != rest:
        raise ValueError("want a duration such as 2m, 90s, 1h30m or 500ms")
    return Duration(sign * sum(float(part.group(1)) * _UNITS[part.group(2)] for part in parts))


def format_value(value: Any) -> str:
    """A default as it would be written on the command line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return format_duration(value)
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value) if value != "" else '""'


def format_duration(seconds: float) -> str:
    """``90.0`` → ``1m30s``, as Go prints it."""
    if 0 < abs(seconds) < 1:
        return f"{seconds * 1000:g}ms"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    text = f"{hours}h" if hours else ""
    text += f"{minutes}m" if minutes else ""
    return text + (f"{rest:g}s" if rest or not text else "")


def _bool(text: str) -> bool:
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError("want true or false")


def _int(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise ValueError("want a whole number") from None


def _list(text: str) -> tuple[str, ...]:
    # An empty element would become a relative path in the working directory, as it does in the Go driver.
    return tuple(part for part in (piece.strip() for piece in text.split(",")) if part)


_CONVERT: Mapping[str, Callable[[str], Any]] = {
    "str": str,
    "int": _int,
    "bool": _bool,
    "duration": parse_duration,
    "list": _list,
}
