"""Adds the files of ``spec.files`` to a provider's reply, before it is written: they are part of the same payload.

A problem is a PreconditionFailed that names the field of the class and what to write, and nothing of an object's
content.

A class may make much out of little: 64 files that have one object 256 times each. So what is read is counted before
anything is decoded, what is made while it is made, and much of it is made beside the event loop.
"""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial

from driver import limits
from driver.ports import ComposedFile
from driver.providers.pool import ProviderPool
from driver.providers.wire import MountReply
from driver.publish.composed import formats, template
from driver.volume.payload import File, files_of, first_names, plan
from runtime import redact
from runtime.errors import Failure, InvalidRequest, PreconditionFailed
from runtime.limits import REDACTED_VALUE_BYTES


async def add_composed_files(
    reply: MountReply, files: Sequence[ComposedFile], max_entries: int, providers: ProviderPool, held: AsyncExitStack
) -> MountReply:
    """``with_composed_files``; what takes long or much memory has a thread, and memory that is reserved until ``held``
    is closed. Raises PreconditionFailed, or ResourceExhausted."""
    size = _most(reply, files)
    compose = partial(with_composed_files, reply, files, max_entries)
    if size <= limits.LARGE_COMPOSITION_BYTES:
        return compose()
    return await providers.derive(compose, size, held)


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
    objects = {file.path: file for file in files_of(reply.payload)}
    composed: dict[str, File] = {}
    size, most = 0, limits.MAX_ALL_COMPOSED_BYTES
    for number, item in enumerate(files):
        field = f"spec.files[{number}]"
        try:
            file = _compose(item, objects)
            _require(file.path not in objects, f"path {file.path} is also the name of an object: choose another one")
            _require(file.path not in composed, f"path {file.path} is listed twice")
            size += len(file.contents)
            _require(size <= most, f"the files have {size} bytes so far, and at most {most} are possible in all")
        except Failure as failure:
            raise PreconditionFailed(f"{field}: {failure}") from None
        composed[file.path] = file
    redact.withhold(*(file.contents[:REDACTED_VALUE_BYTES] for file in composed.values()))
    try:
        payload = plan([*objects.values(), *composed.values()], readable_by_group=False, max_entries=max_entries)
    except InvalidRequest as error:
        raise PreconditionFailed(f"spec.files: {error}") from None
    return replace(reply, payload=payload, large=reply.large or size > limits.LARGE_COMMIT_BYTES)


def _most(reply: MountReply, files: Sequence[ComposedFile]) -> int:
    """The bytes that the files may have in all."""
    sizes = {file.path: len(file.contents) for file in files_of(reply.payload)} if files else {}
    size = 0
    for item in files[: limits.MAX_COMPOSED_FILES]:
        found = [sizes.get(name, 0) for name, _ in item.objects[: limits.MAX_COMPOSED_OBJECTS]]
        values = max(found, default=0) * item.template.count("${") if item.template else sum(found)
        size += min(limits.COMPOSED_EXPANSION * values + len(item.template), limits.MAX_COMPOSED_BYTES)
    return min(size, limits.MAX_ALL_COMPOSED_BYTES)


def _compose(item: ComposedFile, objects: Mapping[str, File]) -> File:
    _require(item.path, "path is empty: name the file")
    _require(item.path.isprintable(), f"path {item.path!r} must be text without control characters")
    _require(
        bool(item.format) != bool(item.template),
        "set either format (json, dotenv or properties) or template, and not both",
    )
    _require(item.objects, "objects is empty: list objectName and key of each object that the file is made of")
    most = limits.MAX_COMPOSED_OBJECTS
    _require(len(item.objects) <= most, f"{len(item.objects)} objects are listed, and at most {most} are possible")
    size = sum(len(objects[name].contents) for name, _ in item.objects if name in objects)
    most = limits.MAX_COMPOSED_BYTES
    _require(size <= most, f"its objects have {size} bytes together, and at most {most} are possible")
    values: dict[str, str] = {}
    mode = 0o777
    for object_name, key in item.objects:
        _require(object_name, "an objectName is empty: name a file of the provider's reply")
        _require(key, f"the key of objectName {object_name} is empty")
        _require(key not in values, f"key {key} is listed twice")
        _require(
            object_name in objects,
            f"file matching objectName {object_name} not found in the provider's reply, which has: "
            f"{first_names(objects)}",
        )
        values[key] = _text(object_name, objects[object_name].contents)
        mode &= objects[object_name].mode
    text = template.render(item.template, values) if item.template else formats.render(item.format, values)
    contents = text.encode("utf-8", "surrogateescape")
    _require(len(contents) <= most, f"the file has {len(contents)} bytes, and at most {most} are possible")
    return File(item.path, mode, contents)


def _text(object_name: str, contents: bytes) -> str:
    try:
        return contents.decode()
    except UnicodeDecodeError:
        raise PreconditionFailed(
            f"objectName {object_name} is not UTF-8 text: mount it as a file of its own, or store it as base64"
        ) from None


def _require(condition: object, sentence: str) -> None:
    if not condition:
        raise PreconditionFailed(sentence)
