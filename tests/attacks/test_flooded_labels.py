"""Names and texts that others choose become labels of metrics, or keys of what the driver remembers: their number has
bounds."""

import asyncio
import gc
import sys
from pathlib import Path

import grpc
import pytest

from driver import limits
from driver.metrics import DriverMetrics
from protos import provider_pb2
from runtime import metrics
from tests.attacks.hostile_provider import Reply, hostile_provider
from tests.support.rig import rig

CANARY = "canary-77aa"
CODES = [
    *(f"Code{number}" for number in range(200)),
    *(f"{CANARY} free text {'x' * 100} {number}" for number in range(20)),
    f"{CANARY}\nsecond line",
    f'{CANARY}"}} 1\nfake_metric 1',
    f"{CANARY}é",
    f"{CANARY}\x1b[31m",
]


def series_of(made: DriverMetrics) -> int:
    return len([line for line in metrics.render(made.registry).splitlines() if not line.startswith(b"#")])


def test_thousand_of_everything() -> None:
    """A thousand providers and a thousand error types are counted, in all metrics → a few thousand series at most, and
    none of a provider that works is lost."""
    made = DriverMetrics([])
    made.published("real")
    for number in range(1000):
        made.publish_failed(f"made-up-{number}", f"Error{number % 7}")
        made.publish_failed("real", f"Error{number}")
        made.rotation_failed("x" * number, "y" * number)
        made.published(f"works-{number}")
    providers, errors = limits.MAX_PROVIDER_LABELS + limits.MAX_FAILED_PROVIDER_LABELS, limits.MAX_ERROR_TYPE_LABELS
    bound = 2 * (providers + 2) * (errors + 1) + 4 * providers + 100
    assert series_of(made) < bound
    assert series_of(made) < 1000
    made.publish_failed("real", "Error1")
    shown = metrics.render(made.registry).decode()
    assert 'provider="real"' in shown and 'provider="other"' in shown and 'error_type="other"' in shown


@pytest.mark.parametrize("name", ["x" * 1_000_000, "a b", "é", "../stub", "a\nb", 'a"} 1', "x" * 31])
def test_names_that_no_provider_has(tmp_path: Path, name: str) -> None:
    """A class names something that cannot be a provider → FAILED_PRECONDITION in a sentence of readable length, and no
    label."""

    async def scenario() -> None:
        async with rig(tmp_path) as it:
            it.write_class(provider=name)
            code, sentence = await it.volume().failure()
            assert code is grpc.StatusCode.FAILED_PRECONDITION and len(sentence) < 2000
            assert it.metric("node_publish_error_total", provider="other", error_type="GRPCProviderError") == 1
            assert len(metrics.render(it.driver.metrics.registry)) < 20_000

    asyncio.run(scenario())


def test_error_codes_of_free_text(tmp_path: Path) -> None:
    """A provider replies with another error code each time, some of them text → few series, no text in any label, and
    the pod's author still reads the code."""
    codes = iter(CODES)
    replies: dict[str, Reply] = {
        "codes": lambda _: provider_pb2.MountResponse(error=provider_pb2.Error(code=next(codes)))
    }

    async def scenario() -> None:
        async with rig(tmp_path) as it:
            it.write_class(provider="hostile", parameters={"reply": "codes"})
            with hostile_provider(it.providers_dir, replies):
                for number, code in enumerate(CODES):
                    _, sentence = await it.volume(f"pod-{number}").failure()
                    assert code[:11] in sentence
            shown = metrics.render(it.driver.metrics.registry).decode()
            assert CANARY not in shown and "fake_metric" not in shown
            assert shown.count("node_publish_error_total{") <= limits.MAX_ERROR_TYPE_LABELS + 2
            assert it.metric("node_publish_error_total", provider="hostile", error_type="ProviderError") == 24
            assert it.metric("node_publish_error_total", provider="hostile", error_type="other") > 100

    asyncio.run(scenario())


def test_nothing_is_remembered_for_ever(tmp_path: Path) -> None:
    """Hundreds of pods with classes, providers and rotation intervals of their own come, fail and go → the driver's
    dictionaries and sets are as large as before, apart from the bounds."""

    def largest() -> dict[int, tuple[int, str]]:
        gc.collect()
        containers = (item for item in gc.get_objects() if isinstance(item, (dict, set)))
        return {
            id(item): (len(item), repr(next(iter(item)))[:80])
            for item in containers
            if len(item) > 250 and item is not sys.modules
        }

    async def scenario() -> None:
        async with rig(tmp_path) as it:
            await it.volume("warm").publish()
            before = largest()
            for number in range(300):
                name = f"flood-{number}"
                it.write_class(name, provider=f"absent-{number}" if number % 2 else "stub")
                volume = it.volume(f"pod-{name}", class_name=name)
                if number % 2:
                    await volume.failure()
                else:
                    await volume.publish()
                await volume.unpublish()
                (it.manifests / f"default.{name}.yaml").unlink()
                await it.volume(f"none-{name}", class_name=f"none-{number}").failure()
            grown = {key: value for key, value in largest().items() if "flood" in value[1] or "none-" in value[1]}
            assert not {key: value for key, value in grown.items() if key not in before}
            assert len(it.driver.volumes) == 1

    asyncio.run(scenario())
