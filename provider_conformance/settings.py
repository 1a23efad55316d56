"""What the checks are run with: classes of the provider, a pod, and bounds."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml

_CLASSES = ("good", "missing", "slow")


class UsageError(Exception):
    """The command line or the file of settings is wrong; ``str(error)`` is a sentence for users. Exit code 2."""


@dataclass(frozen=True)
class Settings:
    """All settings; the file has the same names.

    ``good``, ``missing`` and ``slow`` are the parameters of three classes: one whose objects exist, one that names an
    object that does not, and one whose objects take at least ``seconds`` to fetch; the last two are optional. ``modes``
    are the permission bits that files of the good class must have, by path. ``pod`` has the keys namespace, name, uid
    and serviceAccount; ``secrets`` are the data of its nodePublishSecretRef, and ``tokens`` its service account tokens
    by audience. ``seconds`` is the deadline of a call, ``concurrency`` the number of calls at a time, and ``restart``
    the command that restarts the provider, ended after a minute.
    """

    good: Mapping[str, str] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    slow: Mapping[str, str] = field(default_factory=dict)
    modes: Mapping[str, int] = field(default_factory=dict)
    pod: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    tokens: Mapping[str, str] = field(default_factory=dict, repr=False)
    seconds: float = 20.0
    concurrency: int = 20
    max_reply_bytes: int = 4 * 1024 * 1024
    restart: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.seconds <= 0 or self.concurrency < 1 or self.max_reply_bytes < 1:
            raise UsageError("seconds, concurrency and max_reply_bytes must be greater than 0")

    def with_parameters(self, name: str, pairs: Sequence[str]) -> "Settings":
        """A copy with more parameters for one of the three classes, each written ``NAME=VALUE``."""
        if wrong := [pair for pair in pairs if not pair.partition("=")[1]]:
            raise UsageError(f"{wrong[0]!r} is not a parameter: write NAME=VALUE")
        added = {key: value for key, _, value in (pair.partition("=") for pair in pairs)}
        changed: dict[str, Any] = {name: {**getattr(self, name), **added}}
        return replace(self, **changed)


def load(path: str) -> Settings:
    """The settings in a YAML file. Raises UsageError, which names the line or the field that is wrong."""
    try:
        found = yaml.safe_load(Path(path).read_text())
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        raise UsageError(f"{path}{f', line {mark.line + 1}' if mark else ''}: invalid YAML") from None
    if not isinstance(found, dict):
        raise UsageError(f"{path}: must be an object with the field good")
    known = {item.name for item in fields(Settings)}
    if unknown := sorted(str(key) for key in found if key not in known):
        raise UsageError(f"{path}: unknown field {unknown[0]}: the fields are {', '.join(sorted(known))}")
    try:
        return Settings(**{name: _value(name, value) for name, value in found.items()})
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def _value(name: str, value: Any) -> Any:
    if name == "restart":
        return _command(value)
    if name == "modes":
        return _table(name, value, int, "an octal number, such as 0400")
    if name in (*_CLASSES, "pod", "secrets", "tokens"):
        return _table(name, value, str, "a string: quote it")
    kinds = (int, float) if name == "seconds" else (int,)
    if not isinstance(value, kinds) or isinstance(value, bool):
        raise UsageError(f"{name} must be a number")
    return value


def _command(value: Any) -> Sequence[str]:
    if isinstance(value, str):
        return split_command(value)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise UsageError("restart must be a command: a string or a list of strings")
    return tuple(value)


def split_command(text: str) -> Sequence[str]:
    """The words of a command line, quoted as in a shell."""
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise UsageError(f"the restart command {text!r} is malformed: {error}") from None


def _table(name: str, value: Any, kind: type, wanted: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"{name} must be an object")
    for key, item in value.items():
        if not isinstance(key, str) or not isinstance(item, kind) or isinstance(item, bool):
            raise UsageError(f"{name}.{key} must be {wanted}")
    return value
