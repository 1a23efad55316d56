"""Command-line flags in Go's spelling, declared as the fields of one frozen dataclass per command.

A field made with ``flag(default, help)`` is a flag: its name with dashes, its type from the annotation (``str``,
``int``, ``bool``, ``Duration``, ``tuple[str, ...]`` for a comma-separated list). As in Go's ``flag`` package
(https://pkg.go.dev/flag) the command line takes ``-x`` and ``--x``, ``--x=v`` and ``--x v``; a boolean only ``--x`` or
``--x=false``. An unknown flag ends the program with exit code 2. A flag that has a meaning in Go programs only is
declared as ``Ignored`` and accepted with a warning, so that command lines written for the Go trio keep working.
"""

from runtime.flags.flagset import FlagSet, HelpRequested, Parsed, UsageError
from runtime.flags.spec import SIDECAR_GO_ONLY, Flag, Ignored, flag, flags_of
from runtime.flags.values import Duration, format_value, parse_duration

__all__ = [
    "SIDECAR_GO_ONLY",
    "Duration",
    "Flag",
    "FlagSet",
    "HelpRequested",
    "Ignored",
    "Parsed",
    "UsageError",
    "flag",
    "flags_of",
    "format_value",
    "parse_duration",
]
