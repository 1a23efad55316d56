"""The parameters of well-known providers: their names, and the list of objects, which is YAML within a text.

``providers.yaml`` has what the providers document. It says what is known, not what is allowed: providers get new
parameters, so an unknown one is mentioned only if it looks like a misspelt one.
"""

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from cli.validate.problems import Checked
from driver.manifests import documents
from driver.manifests.documents import Document, FieldPath
from driver.manifests.schema import did_you_mean

_ARRAY = "write `array:`, and below it each object as `- |` and, indented further, its fields"
_DATA = Path(__file__).parent / "providers.yaml"


@dataclass(frozen=True)
class Provider:
    """``list_parameter`` has the list; ``array``: its items may be texts below the key array, and
    must be unless it is ``plain``. ``file`` are the fields that
    name an object's file, the first one that is set counts; ``translation`` is the parameter that says what becomes of
    a slash in that name. ``values`` are the possible ones of a field. With one of ``expands`` an object has other
    files."""

    parameters: tuple[str, ...]
    fields: tuple[str, ...] = ()
    list_parameter: str = "objects"
    list_required: bool = True
    array: bool = False
    plain: bool = True
    required: tuple[str, ...] = ()
    file: tuple[str, ...] = ()
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    translation: str = ""
    expands: tuple[str, ...] = ()


@lru_cache
def providers() -> Mapping[str, Provider]:
    """The known providers by name."""
    data = yaml.safe_load(_DATA.read_text())
    return {
        name: Provider(**{key: _frozen(value) for key, value in fields.items() if key != "source"})
        for name, fields in data.items()
    }


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: tuple(item) for key, item in value.items()}
    return tuple(value) if isinstance(value, list) else value


def check(name: str, parameters: Mapping[str, str]) -> Generator[Checked, None, set[str] | None]:
    """What is wrong with the parameters. Returns the names of the files that the provider will deliver, or None if they
    are not known."""
    if name not in providers():
        hint = did_you_mean(name, providers()) if name else ""
        if hint:
            yield Checked(("spec", "provider"), f"unknown provider {name}{hint}")
        return None
    provider = providers()[name]
    for parameter in parameters:
        hint = did_you_mean(parameter, provider.parameters)
        if parameter not in provider.parameters and hint:
            yield Checked(("spec", "parameters", parameter), f"provider {name} has no such parameter{hint}")
    path: FieldPath = ("spec", "parameters", provider.list_parameter)
    text = parameters.get(provider.list_parameter)
    if text is None:
        if provider.list_required:
            yield Checked(path, "it is missing: it is a YAML list of what to fetch")
        return None
    names = yield from _objects(path, text, provider)
    return names and {_translated(file, parameters.get(provider.translation), provider) for file in names}


def _translated(file: str, replacement: str | None, provider: Provider) -> str:
    """The provider for AWS replaces slashes by an underscore, by another text, or, for False, by nothing else."""
    if not provider.translation or (replacement or "").lower() == "false":
        return file
    return file.replace("/", replacement or "_")


def _objects(path: FieldPath, text: str, provider: Provider) -> Generator[Checked, None, set[str] | None]:
    try:
        found = next(documents.parse(text, "it"), None)
    except documents.NotYaml as failure:
        yield Checked(path, failure.sentence, offset=failure.line)
        return None
    items = found.value if found else None
    below: FieldPath = ()
    if isinstance(items, dict) and provider.array:
        items, below = items.get("array"), ("array",)
    elif not provider.plain:
        items = None
    if found is None or not isinstance(items, list) or not items:
        how = "begin each object with `- `" if provider.plain else _ARRAY
        yield Checked(path, f"it must be a YAML list: {how}")
        return None
    names: set[str] = set()
    complete = True
    for number in range(len(items)):
        part = found.below((*below, number))
        before = len(names)
        problems = list(_object(part, provider, names))
        complete = complete and len(names) > before
        for sentence, line in problems:
            yield Checked(path, f"object {number + 1}: {sentence}", offset=line)
        complete = complete and not (isinstance(part.value, dict) and set(provider.expands) & part.value.keys())
    return names if complete and provider.file else None


def _object(part: Document, provider: Provider, names: set[str]) -> Iterator[tuple[str, int]]:
    """Sentences, with lines from that of the parameter on. The name of the object's file is added to ``names``."""
    value, line, first = part.value, part.line(), part
    if isinstance(value, str) and provider.array:
        inner = None
        try:
            inner = next(documents.parse(value, "it"), None)
        except documents.NotYaml as failure:
            yield failure.sentence, line
        if inner is None:
            return
        value, first = inner.value, inner
    if not isinstance(value, dict):
        yield f"it must be a map: write {(provider.required or ('objectName',))[0]}: …", line
        return
    nested = first is not part
    for name, item in value.items():
        where = line + first.line((name,)) if nested else part.line((name,))
        if name not in provider.fields:
            hint = did_you_mean(str(name), provider.fields, f": there are {', '.join(provider.fields)}")
            yield f"unknown field {name}{hint}", where
        known = provider.values.get(name)
        if known and item not in ("", *known):
            yield f"{name} must be one of {', '.join(known)}{did_you_mean(str(item), known)}", where
    missing = [name for name in provider.required if not value.get(name)]
    if missing:
        yield f"it has no {' and no '.join(missing)}", line
    file = next((value[name] for name in provider.file if value.get(name)), None)
    if file is None:
        return
    if str(file) in names:
        yield f"its file {file} is already that of another object: set {provider.file[0]}", line
    names.add(str(file))
