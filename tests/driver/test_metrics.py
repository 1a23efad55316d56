"""The Go driver's series, digit for digit."""

from pathlib import Path

import pytest

from driver.metrics import DriverMetrics
from driver.ports import ClassRef, Pod, RefreshFailure
from driver.registry import Volume
from driver.volume.target import Target
from runtime import clock, metrics

SCOPE = 'otel_scope_name="sigs.k8s.io/secrets-store-csi-driver",otel_scope_schema_url="",otel_scope_version=""'


def text(made: DriverMetrics) -> str:
    return metrics.render(made.registry).decode()


def test_nothing_counted_yet() -> None:
    """A series appears when it is first counted."""
    assert "node_publish_total{" not in text(DriverMetrics([]))
    assert "target_info{" in text(DriverMetrics([]))


def test_names_labels_and_buckets() -> None:
    """Names and labels are those that dashboards select; there are no _created series."""
    made = DriverMetrics([])
    made.published("")
    made.publish_failed("stub", "GRPCProviderError")
    made.unpublished()
    made.unpublish_failed()
    made.rotated("stub", 0.15)
    made.rotation_failed("stub", "")
    shown = text(made)
    for line in (
        f'node_publish_total{{os_type="linux",{SCOPE},provider=""}} 1.0',
        f'node_publish_error_total{{error_type="GRPCProviderError",os_type="linux",{SCOPE},provider="stub"}} 1.0',
        f'node_unpublish_total{{os_type="linux",{SCOPE}}} 1.0',
        f'node_unpublish_error_total{{os_type="linux",{SCOPE}}} 1.0',
        f'rotation_reconcile_total{{os_type="linux",{SCOPE},provider="stub",rotated="true"}} 1.0',
        f'rotation_reconcile_error_total{{error_type="",os_type="linux",{SCOPE},provider="stub",rotated="true"}} 1.0',
        f'rotation_reconcile_duration_sec_bucket{{le="0.13492828476735633",os_type="linux",{SCOPE}}} 0.0',
        f'rotation_reconcile_duration_sec_bucket{{le="0.18205642030260802",os_type="linux",{SCOPE}}} 1.0',
        f'rotation_reconcile_duration_sec_bucket{{le="1.9999999999999991",os_type="linux",{SCOPE}}} 1.0',
    ):
        assert line in shown, shown
    assert "_created" not in shown


def test_volume_age() -> None:
    """Each volume has the age of its content; an unpublished volume has no series."""
    target = Target.from_text("/p/pods/u/volumes/kubernetes.io~csi/v/mount", "")
    volumes = [
        Volume(target, Pod("ns", "pod", "u"), ClassRef("ns", "c"), provider="stub", refreshed_at=clock.now() - 100)
    ]
    made = DriverMetrics(volumes)
    line = next(line for line in text(made).splitlines() if line.startswith("secrets_store_volume_age_seconds{"))
    assert 'namespace="ns",pod="pod",provider="stub",volume="v"' in line
    assert 99 < float(line.rsplit(" ", 1)[1]) < 110
    volumes.clear()
    assert "secrets_store_volume_age_seconds{" not in text(made)


@pytest.mark.parametrize("failing", [0, 1, 2, 3])
def test_volumes_without_names(failing: int) -> None:
    """--volume-metrics=false → the age of a provider's oldest volume and its most failures, under the same names; no
    namespace, pod or volume anywhere."""
    volumes = []
    for number, provider in enumerate(("stub", "stub", "other")):
        target = Target.from_text(f"/p/pods/u{number}/volumes/kubernetes.io~csi/named-volume/mount", "")
        volume = Volume(target, Pod("named-ns", f"named-pod-{number}", f"u{number}"), ClassRef("named-ns", "c"))
        volume.provider, volume.refreshed_at = provider, clock.now() - 100 * (number + 1)
        volume.failure = RefreshFailure("GRPCProviderError", "no", number + 5, 0.0) if number < failing else None
        volumes.append(volume)
    registry = DriverMetrics(volumes, named_volumes=False).registry
    assert "named-" not in metrics.render(registry).decode()
    nobody = {"namespace": "", "pod": "", "volume": ""}

    def figure(name: str, provider: str) -> float:
        value = registry.get_sample_value(name, {**nobody, "provider": provider})
        assert value is not None
        return value

    assert 199 < figure("secrets_store_volume_age_seconds", "stub") < 210
    assert 299 < figure("secrets_store_volume_age_seconds", "other") < 310
    most = {"stub": (0, 5, 6, 6)[failing], "other": 7 if failing == 3 else 0}
    assert {each: figure("secrets_store_volume_refresh_failures", each) for each in most} == most


def test_served(tmp_path: Path) -> None:
    """/metrics is served over HTTP with the content type of the exposition format."""
    import asyncio

    import aiohttp

    from tests.support.ports import free_port
    from tests.support.rig import rig

    async def run() -> None:
        port = free_port()
        async with rig(tmp_path, metrics_addr=f"127.0.0.1:{port}") as it:
            await it.volume().publish()
            async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as answer:
                assert (
                    answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
                )
                assert "node_publish_total{" in await answer.text()

    asyncio.run(run())
