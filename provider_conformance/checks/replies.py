"""What the reply for the good class contains."""

import base64
import hashlib
from collections import Counter
from collections.abc import Iterator

from provider_conformance.answers import Answer
from provider_conformance.check import Check, Failed, Skipped, Subject

MAX_PATH_BYTES, MAX_NAME_BYTES = 4096, 255
MAX_VERSION_BYTES, MAX_VERSIONS_BYTES, MAX_OBJECTS = 4096, 512 * 1024, 4096
OTHER_PERMISSION = 0o440
_HASHES = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512")
# A version that is shorter tells little, and may equal the beginning of a digest by chance.
_LEAST_DIGEST = 8


async def paths(subject: Subject) -> None:
    """What drivers refuse, or write only in part."""
    found = [file.path for file in subject.good.files]
    for path in found:
        if problem := _problem(path):
            raise Failed(f"the path {path[:80]!r} is refused by drivers: {problem}")
    if twice := [path for path, times in Counter(found).items() if times > 1]:
        raise Failed(f"the path {twice[0][:80]!r} is there twice: one of the files is lost")
    parents = {path.rsplit("/", depth)[0] for path in found for depth in range(1, path.count("/") + 1)}
    if both := sorted(parents & set(found)):
        raise Failed(f"{both[0][:80]!r} is a file, and the directory of another file")


def _problem(path: str) -> str:
    names = path.split("/")
    if not path or path.startswith("/"):
        return "it must be relative, and not empty"
    if "" in names or "." in names or ".." in names:
        return "it must be in its shortest form: no empty element, no '.' and no '..'"
    if names[0].startswith(".."):
        return "names that begin with two dots are the driver's own"
    if "\0" in path:
        return "it contains NUL"
    if len(path.encode()) > MAX_PATH_BYTES or any(len(name.encode()) > MAX_NAME_BYTES for name in names):
        return f"it is longer than {MAX_PATH_BYTES} bytes, or one of its elements than {MAX_NAME_BYTES}"
    return ""


async def modes(subject: Subject) -> None:
    """Drivers apply permission bits only, and 0 is a file that nobody but root can read."""
    for file in subject.good.files:
        if not 0 < file.mode <= 0o777:
            raise Failed(f"the mode of {file.path!r} is {file.mode:#o}: reply with permission bits, 0001 to 0777")
        wanted = subject.settings.modes.get(file.path, file.mode)
        if file.mode != wanted:
            raise Failed(f"the mode of {file.path!r} is {file.mode:04o}, and the settings say {wanted:04o}")
    if absent := sorted(set(subject.settings.modes) - set(subject.good.contents)):
        raise Failed(f"there is no file {absent[0]!r}, of which the settings give the mode")


async def permission(subject: Subject) -> None:
    """A file either has a mode of its own, the same in every call, or the one that the driver asks for."""
    answer = await subject.client.mount(subject.client.request(permission=OTHER_PERMISSION))
    await subject.delivered(f"a call with permission {OTHER_PERMISSION} (mode {OTHER_PERMISSION:04o})", answer)
    before = {file.path: file.mode for file in subject.good.files}
    for file in answer.files:
        if file.mode not in (before[file.path], OTHER_PERMISSION):
            raise Failed(f"with permission {OTHER_PERMISSION:04o}, {file.path!r} has the mode {file.mode:04o}")


async def object_versions(subject: Subject) -> None:
    """Drivers refuse a reply without versions, and write them to the pod status."""
    found = subject.good.reply.object_version
    if not found:
        raise Failed("the reply names no object versions: drivers refuse it")
    if any(not item.id or not item.version for item in found):
        raise Failed("an object version has an empty id or version")
    if twice := [name for name, times in Counter(item.id for item in found).items() if times > 1]:
        raise Failed(f"the object {twice[0][:80]!r} has two versions")
    lengths = [len(text.encode()) for item in found for text in (item.id, item.version)]
    if len(found) > MAX_OBJECTS or sum(lengths) > MAX_VERSIONS_BYTES or max(lengths) > MAX_VERSION_BYTES:
        raise Failed(
            f"the versions of {len(found)} objects have {sum(lengths)} bytes, the longest text {max(lengths)}: "
            f"at most {MAX_OBJECTS}, {MAX_VERSIONS_BYTES} and {MAX_VERSION_BYTES} fit into a pod status"
        )


async def same_versions(subject: Subject) -> None:
    """A version that changes without the content is a rotation that did not happen."""
    again = await subject.client.mount(subject.client.request())
    await subject.delivered("the same call, repeated,", again)
    if again.contents != subject.good.contents:
        raise Skipped("the content of the good class changes with each call")
    if changed := [name for name, value in again.versions.items() if subject.good.versions[name] != value]:
        raise Failed(f"the version of {changed[0]!r} has changed, and the content has not")


async def versions_reveal_nothing(subject: Subject) -> None:
    """The pod status is read by many, and a short secret can be guessed by its plain digest."""
    derived = {text: what for contents in subject.good.contents.values() for what, text in _derived(contents)}
    for name, version in subject.good.versions.items():
        for text, what in derived.items():
            same = version == text if what == "content" else len(version) >= _LEAST_DIGEST and text.startswith(version)
            if same:
                raise Failed(
                    f"the version of {name!r} is the {what} of a file: use the store's version or a keyed digest"
                )


def _derived(contents: bytes) -> Iterator[tuple[str, str]]:
    if contents:
        yield "content", contents.decode(errors="replace")
    for name in _HASHES:
        digest = hashlib.new(name, contents, usedforsecurity=False).digest()
        yield name, digest.hex()
        yield name, digest.hex().upper()
        yield name, base64.b64encode(digest).decode()
        yield name, base64.urlsafe_b64encode(digest).decode()


async def reply_size(subject: Subject) -> None:
    """gRPC's default limit, which is also the drivers' default."""
    answer: Answer = subject.good
    if answer.size > subject.settings.max_reply_bytes:
        raise Failed(f"the reply has {answer.size} bytes: drivers receive {subject.settings.max_reply_bytes}")


CHECKS = (
    Check("paths", "paths are relative, normalized, not too long, and do not exclude each other", paths),
    Check("modes", "modes are permission bits, and those that the settings give", modes),
    Check("permission", "files without a mode of their own get the mode that the driver asks for", permission),
    Check("object-versions", "each object has one version, and all of them fit into a pod status", object_versions),
    Check("same-versions", "a repeated call with the same content has the same versions", same_versions),
    Check(
        "versions-reveal-nothing", "no version is the content of a file or its plain digest", versions_reveal_nothing
    ),
    Check("reply-size", "the reply is not larger than drivers receive", reply_size),
)
