"""Adds the files of ``spec.files`` to a provider's reply, before it is written: they are part of the same payload.

A problem is a PreconditionFailed that names the field of the class and what to write, and nothing of an object's
content.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from driver import limits
from driver.ports import ComposedFile
from driver.providers.wire import MountReply
from driver.publish.composed import formats, template
from driver.volume.payload import File, Leaf, Tree, plan
from runtime import redact
from runtime.errors import Failure, InvalidRequest, PreconditionFailed


def with_composed_files(reply: MountReply, files: Sequence[ComposedFile], max_entries: int) -> MountReply:
    """The reply with these files as well. Raises PreconditionFailed."""
    if not files:
        return reply
    _require(
        reply.payload,
        "spec.files: the provider wrote the files to the volume itself, so none can be composed from them: remove "
        "spec.files, or use a provider (or its setting) that replies with the files",
    )
    _require(
        len(files) <= limits.MAX_COMPOSED_FILES,
        f"spec.files: {len(files)} files are listed, and at most {limits.MAX_COMPOSED_FILES} are possible",
    )
    objects = {file.path: file for file in _files(reply.payload)}
    composed: dict[str, File] = {}
    for number, item in enumerate(files):
        field = f"spec.files[{number}]"
        try:
            file = _compose(item, objects)
            _require(file.path not in objects, f"path {file.path} is also the name of an object: choose another one")
            _require(file.path not in composed, f"path {file.path} is listed twice")
        except Failure as failure:
            raise PreconditionFailed(f"{field}: {failure}") from None
        composed[file.path] = file
    redact.withhold(*(file.contents for file in composed.values()))
    try:
        payload = plan([*objects.values(), *composed.values()], readable_by_group=False, max_entries=max_entries)
    except InvalidRequest as error:
        raise PreconditionFailed(f"spec.files: {error}") from None
    return replace(reply, payload=payload)


def _files(tree: Tree, prefix: str = "") -> Iterator[File]:
    for name, below in tree.items():
        if isinstance(below, Leaf):
            yield File(prefix + name, below.mode, below.contents)
        else:
            yield from _files(below, f"{prefix}{name}/")


def _compose(item: ComposedFile, objects: Mapping[str, File]) -> File:
    _require(item.path, "path is empty: name the file")
    _require(
        bool(item.format) != bool(item.template),
        "set either format (json, dotenv or properties) or template, and not both",
    )
    _require(item.objects, "objects is empty: list objectName and key of each object that the file is made of")
    most = limits.MAX_COMPOSED_OBJECTS
    _require(len(item.objects) <= most, f"{len(item.objects)} objects are listed, and at most {most} are possible")
    values: dict[str, str] = {}
    mode = 0o777
    for object_name, key in item.objects:
        _require(object_name, "an objectName is empty: name a file of the provider's reply")
        _require(key, f"the key of objectName {object_name} is empty")
        _require(key not in values, f"key {key} is listed twice")
        _require(
            object_name in objects,
            f"file matching objectName {object_name} not found in the provider's reply, which has: {_names(objects)}",
        )
        values[key] = _text(object_name, objects[object_name].contents)
        mode &= objects[object_name].mode
    text = template.render(item.template, values) if item.template else formats.render(item.format, values)
    contents = text.encode("utf-8", "surrogateescape")
    most = limits.MAX_COMPOSED_BYTES
    _require(len(contents) <= most, f"the file has {len(contents)} bytes, and at most {most} are possible")
    return File(item.path, mode, contents)


def _text(object_name: str, contents: bytes) -> str:
    try:
        return contents.decode()
    except UnicodeDecodeError:
        raise PreconditionFailed(
            f"objectName {object_name} is not UTF-8 text: mount it as a file of its own, or store it as base64"
        ) from None


def _names(objects: Mapping[str, File]) -> str:
    shown = sorted(objects)[:10]
    return ", ".join(shown) + (", …" if len(objects) > len(shown) else "")


def _require(condition: object, sentence: str) -> None:
    if not condition:
        raise PreconditionFailed(sentence)
