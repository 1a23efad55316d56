"""Reads a command line by the flags that one or several dataclasses declare."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from runtime.errors import ConfigurationError
from runtime.flags.spec import Flag, Ignored, flags_of
from runtime.flags.values import format_value, parse_value

_ARGUMENT = re.compile(r"--?([^-=][^=]*)(?:=(.*))?", re.DOTALL)


class UsageError(ConfigurationError):
    """The command line itself is malformed: exit code 2, as in Go's flag package."""


class HelpRequested(Exception):
    """``-h``: print the usage and exit 0; ``str(error)`` is the usage."""


class Parsed(NamedTuple):
    """The values given on the command line, by dataclass and field (those not given are absent), and the warnings
    they caused."""

    values: Mapping[type, Mapping[str, Any]]
    warnings: Sequence[str]


class FlagSet:
    """The flags of one command, collected from one dataclass or several."""

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
                item = item._replace(name=names[item.field])
            if item.name in self._flags:
                raise ValueError(f"flag {item.name} is declared twice")
            self._flags[item.name] = (spec, item)
        return self

    def ignore(self, flags: Sequence[Ignored]) -> "FlagSet":
        """Accept these with a warning; a flag that is already offered keeps its meaning."""
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
            try:
                values[spec][item.field] = parse_value(item.kind, value)
            except ValueError as error:
                raise UsageError(f'invalid value "{value}" for flag -{name}: {error}') from None
        return Parsed(values, warnings)

    def usage(self) -> str:
        """What ``-h`` prints."""
        lines = [f"Usage of {self.program}:"]
        for _, item in sorted(self._flags.values(), key=lambda pair: pair[1].name):
            lines.append(f"  --{item.name} {'' if item.is_switch else item.kind}".rstrip())
            lines.append(f"        {item.help} (default {format_value(item.default)})")
        return "\n".join(lines)

    def _pairs(self, argv: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Name and value of each flag that was given, in order."""
        rest = list(argv)
        while rest:
            argument = rest.pop(0)
            match = _ARGUMENT.fullmatch(argument)
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
