"""What each alert is tested with by ``promtool test rules``: series that raise it, and neighbours that must not.

Values are promtool's, one a minute: ``0x10`` is eleven zeros, ``0+2x10`` counts up by two.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

ON_NODE = 'node="n1", instance="10.0.0.1:8095", job="kube-system/csi"'
OF_PROVIDER = f'{ON_NODE}, provider="vault"'
LABELS = {"node": "n1", "instance": "10.0.0.1:8095", "severity": "warning"}
PROVIDER = {**LABELS, "provider": "vault"}
WITH_JOB = {**LABELS, "job": "kube-system/csi"}
Series = Mapping[str, str]


@dataclass(frozen=True)
class Case:
    """``fires`` raises the alert after so many ``minutes``, with these ``labels`` and this ``summary``; none of
    ``quiet`` does. After ``not_before`` minutes it must not have been raised yet, because a short trouble is none."""

    minutes: int
    fires: Series
    labels: Mapping[str, str]
    summary: str
    not_before: int
    quiet: tuple[Series, ...] = field(default=())


def buckets(fast: int, slow: int) -> Series:
    """Calls in a minute that take less than a second, and those that take between 5 and 10."""
    name = "secrets_store_provider_call_duration_seconds_bucket"
    return {
        f'{name}{{{OF_PROVIDER}, method="Mount", le="1.0"}}': f"0+{fast}x40",
        f'{name}{{{OF_PROVIDER}, method="Mount", le="5.0"}}': f"0+{fast}x40",
        f'{name}{{{OF_PROVIDER}, method="Mount", le="10.0"}}': f"0+{fast + slow}x40",
        f'{name}{{{OF_PROVIDER}, method="Mount", le="+Inf"}}': f"0+{fast + slow}x40",
    }


def each(name: str, *values: str, labels: str = ON_NODE) -> tuple[Series, ...]:
    """The same series with different values, each of which is a case of its own."""
    return tuple({f"{name}{{{labels}}}": value} for value in values)


# The longest pause between two attempts to sync a Secret.
EACH_FIVE_MINUTES = " ".join(str(minute // 5) for minute in range(70))
PROBE = f'secrets_store_build_info{{{ON_NODE}, component="probe"}}'
AGE, FAILURES = "secrets_store_volume_age_seconds", "secrets_store_volume_refresh_failures"

CASES = {
    "SecretsStoreProviderSlow": Case(
        30,
        buckets(8, 2),
        PROVIDER,
        "Provider vault takes 7.5s for one call in ten or longer (n1)",
        8,
        (buckets(100, 2), buckets(0, 0)),
    ),
    "SecretsStoreApiLost": Case(
        15,
        {f"secrets_store_api_reachable{{{ON_NODE}}}": "1 0x20"},
        WITH_JOB,
        "The API server cannot be reached from 10.0.0.1:8095 (n1)",
        9,
        each("secrets_store_api_reachable", "1x20", "0 0 0 1 0 0 0 1 0 0 0 1 0 0 0 1"),
    ),
    "SecretsStoreNodeClock": Case(
        15,
        {f"secrets_store_clock_offset_seconds{{{ON_NODE}}}": "-45x20"},
        WITH_JOB,
        "The clock of node n1 is wrong (10.0.0.1:8095)",
        9,
        (
            *each("secrets_store_clock_offset_seconds", "1.5x20", "-29x20", "90x5 0x20"),
            *each("secrets_store_volumes_refreshed_in_future", "0x20"),
        ),
    ),
    "SecretsStoreTaskRestarts": Case(
        20,
        {f'secrets_store_background_task_failures_total{{{ON_NODE}, task="class watch"}}': "0+1x30"},
        {**WITH_JOB, "task": "class watch"},
        'The task "class watch" fails again and again (10.0.0.1:8095, n1)',
        8,
        each("secrets_store_background_task_failures_total", "3x30", "0 0 2x30", labels=f'{ON_NODE}, task="events"'),
    ),
    "SecretsStorePublishErrors": Case(
        20,
        {f'node_publish_error_total{{{OF_PROVIDER}, error_type="GRPCProviderError"}}': "0+1x30"},
        PROVIDER,
        "Pods on node n1 do not get their secrets (provider: vault)",
        7,
        (
            # Refreshes that fail: the other alert's.
            {
                f'node_publish_error_total{{{OF_PROVIDER}, error_type="GRPCProviderError"}}': "0+1x30",
                f'rotation_reconcile_error_total{{{OF_PROVIDER}, error_type="GRPCProviderError"}}': "0+1x30",
            },
            *each("node_publish_error_total", "7x30", "0 0 0 2x30", labels=OF_PROVIDER),
        ),
    ),
    "SecretsStoreRefreshFailing": Case(
        10,
        {
            f'{FAILURES}{{{OF_PROVIDER}, exported_pod="a"}}': "4+1x20",
            f'{FAILURES}{{{OF_PROVIDER}, exported_pod="b"}}': "9x20",
            f'{FAILURES}{{{OF_PROVIDER}, exported_pod="c"}}': "0x20",
        },
        PROVIDER,
        "The content of 2 volumes of provider vault on node n1 cannot be refreshed",
        4,
        each(FAILURES, "0x20", "3x20", "1 2 3 4 5 0x20", labels=OF_PROVIDER),
    ),
    "SecretsStoreVolumeNotRefreshed": Case(
        10,
        {f"{FAILURES}{{{OF_PROVIDER}}}": "1x20", f"{AGE}{{{OF_PROVIDER}}}": "4000+60x20"},
        {**PROVIDER, "job": "kube-system/csi"},
        "A mounted volume could not be refreshed; its pod is using old secrets. See the pod's events.",
        4,
        (
            {f"{FAILURES}{{{OF_PROVIDER}}}": "0x20", f"{AGE}{{{OF_PROVIDER}}}": "4000+60x20"},
            {f"{FAILURES}{{{OF_PROVIDER}}}": "9x20", f"{AGE}{{{OF_PROVIDER}}}": "0+60x20"},
        ),
    ),
    "SecretsStoreContentTooOld": Case(
        20,
        {f"secrets_store_content_overdue_seconds{{{ON_NODE}}}": "7200x30"},
        WITH_JOB,
        "Content on node n1 should have been refreshed 2h 0m 0s ago",
        9,
        each("secrets_store_content_overdue_seconds", "0x30", "3500x30", "4000x5 0x25"),
    ),
    "SecretsStoreProviderDown": Case(
        10,
        {f"secrets_store_provider_up{{{OF_PROVIDER}}}": "0x20"},
        {**PROVIDER, "job": "kube-system/csi", "severity": "critical"},
        "Provider vault is gone from node n1",
        4,
        each("secrets_store_provider_up", "1x20", "0x3 1x20", labels=OF_PROVIDER),
    ),
    "SecretsStoreNoProvider": Case(
        40,
        {f"secrets_store_providers_installed{{{ON_NODE}}}": "0x60"},
        WITH_JOB,
        "No provider is installed on node n1",
        29,
        each("secrets_store_providers_installed", "1x60", "0x20 1x60"),
    ),
    "SecretsStoreRestarts": Case(
        30,
        {f'secrets_store_role_restarts_total{{{ON_NODE}, role="driver"}}': "0 0 1 2 3 4 4x40"},
        {**WITH_JOB, "role": "driver"},
        "The process driver was restarted 4 times in half an hour (node n1)",
        2,
        (
            *each("secrets_store_role_restarts_total", "9x40", "0 1x40", labels=f'{ON_NODE}, role="driver"'),
            # The clock is set by a second again and again; one restart.
            *each(
                "process_start_time_seconds",
                "1001 1002 1001 1002 1001 1002 1001 1002x30",
                "1000 1000 1500x30",
                labels=f'{ON_NODE}, role="supervisor"',
            ),
        ),
    ),
    "SecretsStoreNotRegistered": Case(
        20,
        {f"secrets_store_registered{{{ON_NODE}}}": "1 0x30", PROBE: "1x30"},
        {**WITH_JOB, "severity": "critical"},
        "Kubelet has not registered the driver on node n1; new pods that mount secrets cannot start there.",
        10,
        (
            {f"secrets_store_registered{{{ON_NODE}}}": "1x30", PROBE: "1x30"},
            {f"secrets_store_registered{{{ON_NODE}}}": "0x5 1x30", PROBE: "1x30"},
            {PROBE.replace("probe", "driver"): "1x30"},
        ),
    ),
    "SecretsStoreSecretNotSynced": Case(
        45,
        {f"sync_k8s_secret_error_total{{{OF_PROVIDER}}}": EACH_FIVE_MINUTES},
        PROVIDER,
        "Secrets of provider vault are not synced (node n1)",
        10,
        each("sync_k8s_secret_error_total", "5x60", "0 1x60", labels=OF_PROVIDER),
    ),
    "SecretsStoreSyncFailing": Case(
        30,
        {f'secrets_store_sync_failures_total{{{OF_PROVIDER}, reason="ProviderError"}}': "0+1x60"},
        {"provider": "vault", "reason": "ProviderError", "severity": "warning"},
        "SecretSyncs of provider vault fail with ProviderError",
        10,
        each("secrets_store_sync_failures_total", "5x60", "0 1x60", labels=f'{OF_PROVIDER}, reason="NoObject"'),
    ),
    "SecretsStoreNoSyncLeader": Case(
        10,
        {
            'secrets_store_sync_leader{namespace="kube-system", job="sync", pod="a"}': "0x20",
            'secrets_store_sync_leader{namespace="kube-system", job="sync", pod="b"}': "0x20",
        },
        {"namespace": "kube-system", "job": "sync", "severity": "critical"},
        "No replica of the controller of SecretSyncs is the leader",
        4,
        (
            {
                'secrets_store_sync_leader{namespace="kube-system", job="sync", pod="a"}': "0x20",
                'secrets_store_sync_leader{namespace="kube-system", job="sync", pod="b"}': "1x20",
            },
            {'secrets_store_sync_leader{namespace="kube-system", job="sync", pod="a"}': "1x4 0x3 1x20"},
        ),
    ),
}
# A second way in which an alert is raised.
ALSO = (
    (
        "SecretsStoreNodeClock",
        Case(
            15,
            {f"secrets_store_volumes_refreshed_in_future{{{ON_NODE}}}": "2x20"},
            WITH_JOB,
            CASES["SecretsStoreNodeClock"].summary,
            9,
        ),
    ),
    (
        "SecretsStoreNotRegistered",
        Case(
            20,
            {PROBE: "1x30"},
            {**WITH_JOB, "component": "probe", "severity": "critical"},
            CASES["SecretsStoreNotRegistered"].summary,
            9,
        ),
    ),
    (
        "SecretsStoreRestarts",
        Case(
            25,
            {f'process_start_time_seconds{{{ON_NODE}, role="supervisor"}}': "100 100 200 300 400 500x40"},
            {**WITH_JOB, "role": "supervisor"},
            "The process supervisor was restarted 4 times in half an hour (node n1)",
            2,
        ),
    ),
)
