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
from driver.metrics.providers import ProviderMetrics
from driver.ports import ClassRef, Pod
from driver.registry import Volume
from driver.secretsync.metrics import SyncMetrics
from driver.volume.target import Target
from protos import provider_pb2
from runtime import metrics
from tests.attacks.hostile_provider import Reply, hostile_provider
from tests.support.rig import rig

CANARY = "canary-77aa"
_SCOPE = {
    "os_type": "linux",
    "otel_scope_name": "sigs.k8s.io/secrets-store-csi-driver",
    "otel_scope_version": "",
    "otel_scope_schema_url": "",
}
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


PROVIDERS = limits.MAX_PROVIDER_LABELS + limits.MAX_FAILED_PROVIDER_LABELS + 1
# How many values each label may have, whatever is counted: a label that is new must be bounded and entered here.
BOUNDS = {
    "provider": PROVIDERS,
    "error_type": limits.MAX_ERROR_TYPE_LABELS + 1,
    "rotated": 2,
    "os_type": 1,
    "otel_scope_name": 1,
    "otel_scope_version": 1,
    "otel_scope_schema_url": 1,
    "service_name": 1,
    "service_version": 1,
    "le": 14,
    "component": 2,
    "version": 1,
    "commit": 1,
    "python": 1,
    "written": 2,
    # From code of ours and from the administrator: the statuses of HTTP, its methods, the API server; names of tasks.
    "code": 600,
    "method": 9,
    "host": 1,
    "task": 20,
    "reason": 20,
}
# One series for each volume on the node, which goes with it.
OF_VOLUMES = {"namespace", "pod", "volume"}


def count_everything(made: DriverMetrics, number: int) -> None:
    """Call each method that counts, with names that were never seen before."""
    provider, error = f"name-{number}", f"Error{number}"
    made.synced(f"synced-{number}", 0.1)
    made.sync_failed(f"unsynced-{number}")
    made.publish_failed(f"absent-{number}", error)
    made.rotation_failed(f"away-{number}", f"{error}:r")
    made.published(provider)
    made.rotated(provider, 0.1)
    made.unpublished()
    made.unpublish_failed()
    made.volumes_measured(number)
    made.noswap(bool(number % 2))
    with made.publishing():
        made.providers.called(f"called-{number}", "Mount", "Unavailable", 0.1)
    made.providers.found(number, {f"used-{number}": True, f"gone-{number}": False})


def test_each_label_of_each_metric_has_a_bound() -> None:
    """All metrics are counted with thousands of names → each label of each of them is one that has a bound, and has no
    more values than that; those that are not of a volume do not grow any more."""
    target = Target.from_text("/p/pods/u/volumes/kubernetes.io~csi/v/mount", "")
    made = DriverMetrics([Volume(target, Pod("ns", "pod", "u"), ClassRef("ns", "c"), provider="p", refreshed_at=1.0)])
    sync = SyncMetrics()
    for number in range(2000):
        count_everything(made, number)
        sync.synced(f"name-{number}", 0.1, written=bool(number % 2))
        sync.failed(f"failed-{number}", "ProviderError")
        sync.providers.called(f"called-{number}", "Mount", "Unavailable", 0.1)
    series = series_of(made)
    values: dict[tuple[str, str], set[str]] = {}
    for registry in (made.registry, sync.registry):
        for family in registry.collect():
            for sample in family.samples:
                for label, value in sample.labels.items():
                    values.setdefault((family.name, label), set()).add(value)
    assert {label for _, label in values} <= BOUNDS.keys() | OF_VOLUMES
    assert all(len(found) <= BOUNDS[label] for (_, label), found in values.items() if label not in OF_VOLUMES)
    assert max(len(found) for (_, label), found in values.items() if label == "provider") > limits.MAX_PROVIDER_LABELS
    for number in range(2000, 3000):
        count_everything(made, number)
    assert series_of(made) == series


def test_no_method_is_forgotten() -> None:
    """A method of DriverMetrics that counts is new → the test above must call it, or its labels come from code of
    ours."""
    called = set(count_everything.__code__.co_names)
    ours = {"background_task_failed", "collect"}
    methods = {name for kind in (DriverMetrics, ProviderMetrics) for name in vars(kind) if not name.startswith("_")}
    assert methods - ours <= called


def test_names_that_never_worked_take_no_place() -> None:
    """The class of a mounted volume names another provider again and again, and its Secrets are counted → providers
    that work are still counted by their names."""
    made = DriverMetrics([])
    for number in range(1000):
        made.sync_failed(f"made-up-{number}")
        made.synced(f"made-up-{number}", 0.1)
    made.published("real")
    assert made.registry.get_sample_value("node_publish_total", {"provider": "real", **_SCOPE}) == 1


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


@pytest.mark.timeout(240)  # a thousand calls, on a machine that may be busy
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


def test_providers_that_do_not_exist_take_no_places() -> None:
    """SecretSyncs of thousands of providers that do not exist fail, and then one of a provider that works is synced →
    the latter is counted under its name, its failures too."""
    sync = SyncMetrics()
    for number in range(2000):
        sync.failed(f"absent-{number}", "SecretProviderClassMisconfigured")
    sync.synced("works", 0.1, written=True)
    sync.failed("works", "ProviderError")
    found = sync.registry.get_sample_value
    assert found("secrets_store_sync_total", {"provider": "works", "written": "true"}) == 1
    assert found("secrets_store_sync_failures_total", {"provider": "works", "reason": "ProviderError"}) == 1
