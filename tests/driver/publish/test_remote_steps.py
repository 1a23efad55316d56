"""Errors of the class, the provider and its reply: each has its status code and says what to do."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from tests.support.rig import rig


@pytest.mark.parametrize(
    "spec, code, sentence",
    [
        ({"provider": ""}, "FAILED_PRECONDITION", "provider not set in default/app"),
        ({"parameters": {}}, "FAILED_PRECONDITION", "parameters not set in default/app"),
        ({"provider": "../stub"}, "FAILED_PRECONDITION", "invalid provider"),
        ({"provider": "a/b"}, "FAILED_PRECONDITION", "invalid provider"),
        ({"provider": "stub\n"}, "FAILED_PRECONDITION", "invalid provider"),
        ({"provider": "absent"}, "FAILED_PRECONDITION", 'provider not found: provider "absent"'),
        (
            {"parameters": {"objects": "- objectName: absent"}},
            "NOT_FOUND",
            "failed to mount secrets store objects for pod default/pod-1",
        ),
        *[
            ({"parameters": {"objects": "- objectName: password", "stubReply": kind}}, "UNKNOWN", text)
            for kind, text in (
                ("no-versions", "missing object versions"),
                ("empty", "missing object versions"),
                ("absolute", "must be relative"),
                ("dot-dot", "must not contain '..'"),
                ("inner-dot-dot", "must not contain '..'"),
                ("reserved", "must not begin with '..'"),
                ("dot", "shortest form"),
                ("empty-path", "must not be empty"),
                ("unclean", "shortest form"),
                ("conflict", "is a file of the same payload"),
                ("long-name", "longer than 255 bytes"),
                ("long-path", "longer than 4096 bytes"),
            )
        ],
        (
            {"parameters": {"objects": "- objectName: password", "stubReply": "oversized"}},
            "RESOURCE_EXHAUSTED",
            "--max-call-recv-msg-size",
        ),
        (
            {"parameters": {"objects": "- objectName: password", "stubErrorCode": "Forbidden"}},
            "UNKNOWN",
            "provider error code Forbidden",
        ),
        (
            {"parameters": {"objects": "- objectName: password", "stubError": "PERMISSION_DENIED"}},
            "PERMISSION_DENIED",
            "the class requests PERMISSION_DENIED",
        ),
        ({"parameters": {"objects": "- objectName: password", "stubDelay": "10s"}}, "DEADLINE_EXCEEDED", "stub"),
        ({"parameters": {"objects": "- objectName: password", "stubCrash": "true"}}, "UNAVAILABLE", "stub"),
    ],
)
def test_errors_leave_nothing_behind(tmp_path: Path, spec: dict[str, Any], code: str, sentence: str) -> None:
    """Whatever is wrong with the class, the provider or its reply: nothing stays mounted, and nothing stays on disk."""

    async def run() -> None:
        async with rig(tmp_path) as it:
            it.write_class(**spec)
            volume = it.volume()
            found, text = await volume.failure(timeout=2.0)
            assert found.name == code, text
            assert sentence in text
            assert not volume.mounted and volume.left_on_disk == []
            assert "s3cret" not in text

    asyncio.run(run())


def test_unknown_class(tmp_path: Path) -> None:
    """A class that does not exist in the pod's namespace is NOT_FOUND, with the phrase that users search for."""

    async def run() -> None:
        async with rig(tmp_path) as it:
            volume = it.volume(class_name="absent")
            code, text = await volume.failure()
            assert code == grpc.StatusCode.NOT_FOUND
            assert "failed to get secretproviderclass default/absent" in text and "not found" in text
            assert volume.left_on_disk == []
            assert it.metric("node_publish_error_total", provider="", error_type="SecretProviderClassNotFound") == 1

    asyncio.run(run())


def test_malformed_manifest(tmp_path: Path) -> None:
    """Invalid YAML is reported with its file and line to the pods of a class that is nowhere else; classes of other
    files are served."""

    async def run() -> None:
        async with rig(tmp_path) as it:
            (it.manifests / "a.yaml").write_text("kind: SecretProviderClass\nmetadata: {name: x\n")
            code, text = await it.volume("pod-2", class_name="x").failure()
            assert code == grpc.StatusCode.FAILED_PRECONDITION
            assert f"{it.manifests}/a.yaml line" in text
            await it.volume().publish()

    asyncio.run(run())
