"""A provider's request and reply in our own types; the reply is checked whole before anything of it is used."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from driver.volume.payload import File, plan
from protos import provider_pb2
from runtime import redact
from runtime.errors import Failure, InvalidRequest

# etcd limits an object to this; a synced Secret or a huge status would not fit, so the operator is told early.
LARGE_REPLY = 1024 * 1024


class ProviderFailure(Failure):
    """The provider refused by its reply's own error code, or replied with something that is no valid content."""

    def __init__(self, sentence: str, error_type: str) -> None:
        super().__init__(sentence)
        self.error_type = error_type


@dataclass(frozen=True)
class MountReply:
    """``objects`` maps object id to version; ``files`` may be empty: some providers write the files themselves."""

    objects: Mapping[str, str]
    files: Sequence[File] = field(repr=False)


def mount_request(
    attributes: str, secrets: str, target_path: str, permission: str, objects: Mapping[str, str]
) -> provider_pb2.MountRequest:
    """``objects`` are the versions of the content that is in the volume now; empty on a first publish."""
    versions = [provider_pb2.ObjectVersion(id=key, version=value) for key, value in sorted(objects.items())]
    return provider_pb2.MountRequest(
        attributes=attributes,
        secrets=secrets,
        target_path=target_path,
        permission=permission,
        current_object_version=versions,
    )


def check_reply(reply: provider_pb2.MountResponse) -> MountReply:
    """Raises ProviderFailure, naming the first thing that is wrong. An Error with an empty code is none."""
    if reply.HasField("error") and reply.error.code:
        code = redact.text(reply.error.code)
        raise ProviderFailure(f"mount request failed with provider error code {code}", code)
    if not reply.object_version:
        raise ProviderFailure(
            "missing object versions: the provider must name the version of each object", "GRPCProviderError"
        )
    files = tuple(File(item.path, item.mode, item.contents) for item in reply.files)
    try:
        plan(files, readable_by_group=False)
    except InvalidRequest as error:
        # The request was fine, the provider's reply is not: its author must act, not the pod's.
        raise ProviderFailure(f"the provider's reply is refused: {error}", "FileWriteError") from None
    return MountReply({item.id: item.version for item in reply.object_version}, files)
