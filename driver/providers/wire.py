"""A provider's request and reply as types of our own. A reply is validated as a whole before any of it is used."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from driver import limits
from driver.metrics.labels import PROVIDER_ERROR, is_error_type
from driver.volume.payload import File, Tree, files_of, is_large, plan, too_many_entries
from protos import provider_pb2
from runtime import redact
from runtime.errors import Failure, InvalidRequest
from runtime.limits import REDACTED_VALUE_BYTES


class ProviderFailure(Failure):
    """The provider's reply carries an error code, or is invalid."""


@dataclass(frozen=True)
class MountReply:
    """``objects`` maps object ids to versions. ``payload`` may be empty: some providers write the files themselves. A
    ``large`` one takes long to write. ``repeated`` are the paths that the reply lists twice; the last file counts."""

    objects: Mapping[str, str]
    payload: Tree = field(repr=False)
    large: bool = False
    repeated: tuple[str, ...] = ()


def withhold_contents(reply: MountReply) -> None:
    """Mask the files' contents in all texts until the end of the call that is being answered: it did not fetch them
    itself."""
    redact.withhold(*(file.contents[:REDACTED_VALUE_BYTES] for file in files_of(reply.payload)))


def mount_request(attributes: str, secrets: str, target_path: str, permission: str) -> provider_pb2.MountRequest:
    """The request. ``current_object_version`` stays empty, as in the Go driver: a provider that is told versions may
    name them again without reading the store, also those of objects that the class no longer has, and read the files
    back from the volume; one that fails then fails for ever."""
    return provider_pb2.MountRequest(
        attributes=attributes, secrets=secrets, target_path=target_path, permission=permission
    )


def is_long(reply: provider_pb2.MountResponse) -> bool:
    """Whether checking the reply takes so long that others must not wait for it."""
    return (
        len(reply.files) + len(reply.object_version) > limits.LONG_REPLY_ITEMS
        or len(reply.error.code) > limits.LONG_TEXT_CHARACTERS
    )


def check_reply(
    reply: provider_pb2.MountResponse,
    *,
    readable_by_group: bool,
    max_entries: int = limits.MAX_VOLUME_ENTRIES,
) -> MountReply:
    """Validate the reply. Raises ProviderFailure, which names the first problem.

    ``readable_by_group`` is that of ``payload.plan``. An error with an empty code counts as no error. Until the end of
    the call that is being answered, the files' contents are masked in all texts.
    """
    redact.withhold(*(file.contents[:REDACTED_VALUE_BYTES] for file in reply.files[:max_entries]))
    if reply.HasField("error") and reply.error.code:
        code = redact.text(reply.error.code)
        # As it was sent: what is left of a text may look like a code.
        error_type = code if is_error_type(reply.error.code) else PROVIDER_ERROR
        raise ProviderFailure(f"mount request failed with provider error code {code}", error_type=error_type)
    if not reply.object_version:
        raise ProviderFailure("missing object versions: the provider must name the version of each object")
    try:
        if len(reply.files) > max_entries:
            raise InvalidRequest(too_many_entries(max_entries))
        objects = _objects(reply, max_entries)
        files = [File(file.path, file.mode, file.contents) for file in reply.files]
        payload = plan(files, readable_by_group=readable_by_group, max_entries=max_entries)
    except InvalidRequest as error:
        # Not InvalidRequest: the request was valid, and it is the provider that must be corrected.
        raise ProviderFailure(f"the provider's reply is invalid: {error}", error_type="FileWriteError") from None
    repeated = [path for path, times in Counter(file.path for file in files).items() if times > 1]
    return MountReply(objects, payload, is_large(files), tuple(sorted(repeated)))


def _objects(reply: provider_pb2.MountResponse, max_entries: int) -> dict[str, str]:
    """The versions by object id. Raises InvalidRequest if there are too many, or if they are too long."""
    if len(reply.object_version) > max_entries:
        raise InvalidRequest(
            f"it names the versions of {len(reply.object_version)} objects; at most {max_entries} are possible "
            "(--max-volume-entries): divide them among several classes"
        )
    objects = {item.id: item.version for item in reply.object_version}
    total = 0
    for key, version in objects.items():
        for what, text in (("id", key), ("version", version)):
            length = len(text.encode())
            total += length
            if length > limits.MAX_VERSION_BYTES:
                raise InvalidRequest(
                    f"the {what} of object {key[:80]!r} has {length} bytes; at most {limits.MAX_VERSION_BYTES} are "
                    "possible"
                )
    if total > limits.MAX_VERSIONS_BYTES:
        raise InvalidRequest(
            f"its object ids and versions have {total} bytes in all; at most {limits.MAX_VERSIONS_BYTES} are possible: "
            "divide the objects among several classes"
        )
    return objects
