"""A NodePublishVolumeRequest, validated and parsed; no other module of the publish path reads the wire message.

The errors begin with the phrases that users of the Go driver know. The disk is not accessed here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from driver import limits
from driver.objects.names import is_object_name
from driver.ports import ClassRef, Pod
from driver.volume.target import Target
from protos import csi_pb2
from runtime.errors import InvalidRequest

RESERVED_PREFIX = "csi.storage.k8s.io/"
POD_NAME, POD_NAMESPACE, POD_UID = (RESERVED_PREFIX + key for key in ("pod.name", "pod.namespace", "pod.uid"))
SERVICE_ACCOUNT = RESERVED_PREFIX + "serviceAccount.name"
SERVICE_ACCOUNT_TOKENS = RESERVED_PREFIX + "serviceAccount.tokens"
# What kubelet sets in every request, over what the pod's author wrote there, if the CSIDriver object has podInfoOnMount
# (https://kubernetes-csi.github.io/docs/pod-info.html). Under the same prefix it passes anything else on as it is, the
# tokens too if the object has no tokenRequests.
KUBELETS = frozenset({POD_NAME, POD_NAMESPACE, POD_UID, SERVICE_ACCOUNT, RESERVED_PREFIX + "ephemeral"})
CLASS_ATTRIBUTE = "secretProviderClass"
_MAX_GROUP_DIGITS = 20
_IDENTITY = re.compile(r"[-_.a-zA-Z0-9]{1,253}")


@dataclass(frozen=True)
class PublishRequest:
    """A volume to publish.

    The volume context is divided into ``attributes``, which the pod's author sets, and ``identity``, which kubelet
    sets. ``ignored`` are the keys with kubelet's prefix that are neither. ``group`` is the group id that is to own the
    files.
    """

    target: Target
    pod: Pod
    class_ref: ClassRef
    attributes: Mapping[str, str] = field(repr=False)
    identity: Mapping[str, str] = field(repr=False)
    secrets: Mapping[str, str] = field(repr=False)
    group: int | None = None
    ignored: tuple[str, ...] = ()

    @staticmethod
    def parse(
        wire: csi_pb2.NodePublishVolumeRequest, *, pods_dir: str, apply_group: bool, context_tokens: bool = True
    ) -> "PublishRequest":
        """Validate and parse the request. Raises InvalidRequest for the first thing that is wrong.

        ``context_tokens``: tokens in the volume context are kubelet's.
        """
        _require(wire.HasField("volume_capability"), "Volume capability missing in request")
        _require(wire.volume_id, "Volume ID missing in request")
        _require(wire.target_path, "Target path missing in request")
        _require(wire.volume_context, "Volume attributes missing in request")
        _require(wire.readonly, "Readonly is not true in request: set readOnly: true on the pod's csi volume")
        _require(not wire.volume_capability.HasField("block"), "block volumes are not supported: secrets are files")
        context = dict(wire.volume_context)
        size = sum(len(key.encode()) + len(value.encode()) for key, value in context.items())
        _require(
            len(context) <= limits.MAX_ATTRIBUTES and size <= limits.MAX_ATTRIBUTES_BYTES,
            f"the volume has {len(context)} volumeAttributes of {size} bytes; at most {limits.MAX_ATTRIBUTES} of "
            f"{limits.MAX_ATTRIBUTES_BYTES} bytes are possible: set parameters in the SecretProviderClass instead",
        )
        _require(
            context.get(CLASS_ATTRIBUTE),
            "secretProviderClass is not set: name a SecretProviderClass in the volume's volumeAttributes",
        )
        # The name becomes part of an API path, in which `../` would lead to the classes of another namespace.
        _require(
            is_object_name(context[CLASS_ATTRIBUTE]),
            "secretProviderClass is not the name of a SecretProviderClass: use lower case letters, digits, '-' and '.' "
            "and no namespace (the pod's own is used)",
        )
        for key in (POD_NAME, POD_NAMESPACE, POD_UID):
            _require(context.get(key), f"{key} is not set: the CSIDriver object needs podInfoOnMount: true")
            # Only kubelet sets them, but they become parts of paths, names, log lines and labels of metrics.
            _require(
                _IDENTITY.fullmatch(context[key]),
                f"{key} is not a name or UID of Kubernetes: it must be 1 to 253 letters, digits, '-', '_' and '.'",
            )
        target = Target.from_text(wire.target_path, pods_dir)
        _require(
            context[POD_UID] == target.pod_uid,
            f"{POD_UID} is not the UID in the target path: the CSIDriver object needs podInfoOnMount: true",
        )
        kubelets = KUBELETS | {SERVICE_ACCOUNT_TOKENS} if context_tokens else KUBELETS
        return PublishRequest(
            target=target,
            pod=Pod(context[POD_NAMESPACE], context[POD_NAME], context[POD_UID]),
            class_ref=ClassRef(context[POD_NAMESPACE], context[CLASS_ATTRIBUTE]),
            attributes={key: value for key, value in context.items() if not key.startswith(RESERVED_PREFIX)},
            identity={key: value for key, value in context.items() if key in kubelets},
            secrets=dict(wire.secrets),
            group=_group(wire.volume_capability.mount.volume_mount_group) if apply_group else None,
            ignored=tuple(sorted(key for key in context if key.startswith(RESERVED_PREFIX) and key not in kubelets)),
        )


@dataclass
class Attempt:
    """One publish: its request, the event loop time by which it must be answered, the provider once it is known, and
    whether the provider's reply was ``committed``."""

    request: PublishRequest
    deadline: float
    provider: str = ""
    committed: bool = False


def _group(text: str) -> int | None:
    if not text:
        return None
    # Python refuses to convert thousands of digits, by a ValueError.
    is_number = text.isascii() and text.isdecimal() and len(text) <= _MAX_GROUP_DIGITS
    _require(is_number and int(text) < 2**32 - 1, "volume_mount_group must be a numeric group id")
    return int(text)


def _require(condition: object, sentence: str) -> None:
    if not condition:
        raise InvalidRequest(sentence)
