"""The Go driver's series, digit for digit."""

import platform
from pathlib import Path

import pytest

from driver.metrics import DriverMetrics
from driver.ports import ClassRef, Pod, RefreshFailure
from driver.registry import Volume
from driver.volume.target import Target
from runtime import clock, metrics
from runtime.version import build

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


def volumes_of_ages(*ages: float | None) -> list[Volume]:
    """Volumes that were refreshed so many seconds ago."""
    made = []
    for number, age in enumerate(ages):
        target = Target.from_text(f"/p/pods/u{number}/volumes/kubernetes.io~csi/v/mount", "")
        volume = Volume(target, Pod("ns", f"pod-{number}", f"u{number}"), ClassRef("ns", "c"), provider="stub")
        volume.refreshed_at = None if age is None else clock.now() - age
        made.append(volume)
    return made


@pytest.mark.parametrize("ages, oldest", [((), None), ((None,), None), ((5,), 5), ((10, 700, None, 30), 700)])
def test_the_oldest_content(ages: tuple[float | None, ...], oldest: float | None) -> None:
    """The age of the volume whose last refresh is longest ago; none without a volume whose age is known."""
    registry = DriverMetrics(volumes_of_ages(*ages)).registry
    assert registry.get_sample_value("secrets_store_volumes") == len(ages)
    found = registry.get_sample_value("secrets_store_oldest_content_age_seconds")
    assert found is oldest if oldest is None or found is None else found == pytest.approx(oldest, abs=2)


@pytest.mark.parametrize(
    "ages, intervals, overdue",
    [
        ((), (), None),
        ((90,), (None,), 0),
        ((500,), (None,), 380),
        ((500,), (86400.0,), 0),
        ((90, 500), (60.0, 86400.0), 30),
    ],
)
def test_overdue_content(ages: tuple[float, ...], intervals: tuple[float | None, ...], overdue: float | None) -> None:
    """By how much a volume exceeds its class's interval, or the flag's (120 s) while that is unknown; nothing without
    rotation, which never makes content overdue."""
    volumes = volumes_of_ages(*ages)
    for volume, interval in zip(volumes, intervals, strict=True):
        volume.interval = interval
    name = "secrets_store_content_overdue_seconds"
    found = DriverMetrics(volumes, rotation_interval=120.0).registry.get_sample_value(name)
    assert found is overdue if overdue is None or found is None else found == pytest.approx(overdue, abs=2)
    assert DriverMetrics(volumes).registry.get_sample_value(name) is None


def test_build_info() -> None:
    """One series per process, always 1, which says version and Python."""
    (line,) = (line for line in text(DriverMetrics([])).splitlines() if line.startswith("secrets_store_build_info{"))
    assert 'component="driver"' in line and f'python="{platform.python_version()}"' in line
    assert f'version="{build().version}"' in line and line.endswith(" 1.0")


@pytest.mark.parametrize(
    "codes, reachable",
    [((), None), (("200",), 1), (("404", "429"), 1), (("200", "<error>"), 0), (("503",), 0), (("401",), 0)],
)
def test_whether_the_api_is_reachable(codes: tuple[str, ...], reachable: float | None) -> None:
    """What the last request says: any answer of a server that works counts, refused credentials do not."""
    made = DriverMetrics([])
    for code in codes:
        made.api.requested(code, "GET", "api:443")
    assert made.registry.get_sample_value("secrets_store_api_reachable") == reachable


def test_the_clock_of_the_node() -> None:
    """No series until the server's time is known; then by how much the node's clock is ahead."""
    made, offsets = DriverMetrics([]), [None, 61.5, -3600.0]
    made.api.compare_clocks(lambda: offsets[0])
    for offset in list(offsets):
        assert made.registry.get_sample_value("secrets_store_clock_offset_seconds") == offset
        offsets.pop(0)


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
