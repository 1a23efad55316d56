"""How flags are declared: as fields of a dataclass, or as names that are accepted and ignored."""

import dataclasses
from typing import Any, NamedTuple, get_type_hints


class Flag(NamedTuple):
    """One flag as it is written on the command line; ``kind`` names the type of its value (see ``values``)."""

    name: str
    field: str
    kind: str
    default: Any
    help: str
    deprecated: str = ""

    @property
    def is_switch(self) -> bool:
        """Whether it is a boolean, which takes its value only after ``=``."""
        return self.kind == "bool"


class Ignored(NamedTuple):
    """A flag without effect here: accepted with a warning that says why."""

    name: str
    why: str
    is_switch: bool = False


SIDECAR_GO_ONLY = (
    Ignored("automaxprocs", "it tunes Go's scheduler", is_switch=True),
    Ignored("vmodule", "verbosity is set for the whole process with -v"),
    Ignored("log-flush-frequency", "each line is written at once"),
    Ignored("log-text-split-stream", "all lines go to stderr", is_switch=True),
    Ignored("log-text-info-buffer-size", "each line is written at once"),
    Ignored("log-json-split-stream", "all lines go to stderr", is_switch=True),
    Ignored("log-json-info-buffer-size", "each line is written at once"),
)
"""Flags that both Go sidecars (node-driver-registrar and livenessprobe) have and that mean nothing here."""


def flag(default: Any, help: str, *, name: str = "", deprecated: str = "") -> Any:
    """A dataclass field that is a flag; ``name`` where it differs from the field's, ``deprecated`` what to use
    instead."""
    return dataclasses.field(default=default, metadata={"help": help, "name": name, "deprecated": deprecated})


def flags_of(spec: type) -> list[Flag]:
    """The flags that a dataclass declares, in the order of its fields; docs and tests read them too."""
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
