"""A provider fails with a text of any length."""

import asyncio
from pathlib import Path

import grpc
import pytest

from tests.attacks.hostile_provider import Reply, hostile_provider
from tests.support.rig import rig


def _failing(length: int) -> Reply:
    def reply(context: grpc.ServicerContext) -> None:
        context.abort(grpc.StatusCode.PERMISSION_DENIED, "why it failed: " + "x " * (length // 2))

    return reply  # type: ignore[return-value]  # abort() raises


@pytest.mark.parametrize("length", [100, 8_000, 8_200, 16_400, 100_000, 500_000, 1_000_000])
def test_its_code_and_the_beginning_arrive(tmp_path: Path, length: int) -> None:
    """Up to a mebibyte → the provider's own code, and the beginning of its text."""

    async def scenario() -> None:
        async with rig(tmp_path) as it:
            it.write_class(provider="hostile", parameters={"reply": "fail"})
            with hostile_provider(it.providers_dir, {"fail": _failing(length)}):
                code, sentence = await it.volume().failure()
                assert code is grpc.StatusCode.PERMISSION_DENIED, sentence[:300]
                assert "why it failed: x x" in sentence and len(sentence) < 1500

    asyncio.run(scenario())


@pytest.mark.parametrize("length", [1_100_000, 3_000_000])
def test_longer_ones_are_explained(tmp_path: Path, length: int) -> None:
    """More than a mebibyte → an error that says so; the next call works."""

    async def scenario() -> None:
        async with rig(tmp_path) as it:
            it.write_class(provider="hostile", parameters={"reply": "fail"})
            with hostile_provider(it.providers_dir, {"fail": _failing(length)}):
                _, sentence = await it.volume().failure()
                assert "error text is longer than 1048576 bytes" in sentence
                it.write_class("healthy")
                await it.volume("other", class_name="healthy").publish()

    asyncio.run(scenario())
