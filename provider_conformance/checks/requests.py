"""Requests that are unusual, and correct all the same."""

import json
from collections.abc import Mapping

from provider_conformance.check import Check, Failed, Subject

# Field 1000, of which no version of the contract knows anything, with the value "later".
UNKNOWN_FIELD = b"\xc2\x3e\x05later"
LARGE_ATTRIBUTE_BYTES = 250 * 1024
LARGE_SECRET_BYTES = 900 * 1024


def merged(text: str, more: Mapping[str, str]) -> str:
    """A JSON object of strings with more members."""
    return json.dumps({**json.loads(text), **more})


async def unknown_fields(subject: Subject) -> None:
    """A newer driver adds fields to the message, a newer kubelet attributes of the pod, an author volume attributes."""
    message = subject.client.request()
    answer = await subject.client.mount(message, UNKNOWN_FIELD)
    await subject.delivered("a request with an unknown field of the message", answer)
    for name in ("csi.storage.k8s.io/conformance.later", "conformanceVolumeAttribute"):
        message = subject.client.request()
        message.attributes = merged(message.attributes, {name: "later"})
        await subject.delivered(f"a request with the attribute {name}", await subject.client.mount(message))


async def no_secrets(subject: Subject) -> None:
    """``null`` is what drivers send for a pod without nodePublishSecretRef; a class that needs one may refuse it."""
    message = subject.client.request()
    message.secrets = "null"
    answer = await subject.client.mount(message)
    if not subject.settings.secrets:
        await subject.delivered("a request without secrets (null)", answer)
    await subject.still_serves("a request without secrets (null)")


async def large_request(subject: Subject) -> None:
    """Kubernetes allows Secrets of 1 MiB, and drivers pass on volume attributes of 256 KiB."""
    message = subject.client.request()
    message.attributes = merged(message.attributes, {"conformanceVolumeAttribute": "x" * LARGE_ATTRIBUTE_BYTES})
    message.secrets = merged(message.secrets, {"conformance-large": "x" * LARGE_SECRET_BYTES})
    size = message.ByteSize()
    await subject.delivered(f"a request of {size} bytes", await subject.client.mount(message))


async def current_versions(subject: Subject) -> None:
    """Drivers no longer send them, since providers have named objects again that the class no longer had."""
    gone = "conformance-gone"
    message = subject.client.request()
    for name, version in {**subject.good.versions, gone: "1"}.items():
        message.current_object_version.add(id=name, version=version)
    answer = await subject.client.mount(message)
    if gone in answer.versions:
        raise Failed("an object that is not in the class is named because the volume had it: go by the class alone")
    await subject.delivered("a request with the volume's current versions", answer)


CHECKS = (
    Check("unknown-fields", "unknown fields and attributes are ignored", unknown_fields),
    Check("no-secrets", "a request without secrets is understood", no_secrets),
    Check("large-request", "a request with a large Secret is accepted", large_request),
    Check("current-versions", "objects of the class are delivered, whatever the volume had", current_versions),
)
