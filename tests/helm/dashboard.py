"""The Grafana dashboard of the chart: ``python -m tests.helm.dashboard > helm/files/dashboard.json``."""

from typing import Any

from tests.helm import grafana
from tests.helm.grafana import DATASOURCE, Json, Panel, Query, Row, dashboard

# Without the label, which the PodMonitors of the chart add, ``.*`` still matches.
NODE = 'node=~"$node"'
RATE = "[$__rate_interval]"


def stat(title: str, expr: str, description: str, unit: str = "short", **options: Any) -> Panel:
    """One number."""
    return Panel(title, description, (Query(expr, ""),), unit, stat=True, width=4, **options)


def quantile(fraction: float, metric: str, by: str) -> str:
    """A quantile of a histogram."""
    return f"histogram_quantile({fraction}, sum by ({by}, le) (rate({metric}_bucket{{{NODE}}}{RATE})))"


CALLS = "secrets_store_provider_call_duration_seconds"
ROWS = (
    Row(
        "At a glance",
        (
            stat("Drivers", f'count(secrets_store_build_info{{component="driver",{NODE}}})', "Nodes with a driver."),
            stat(
                "Not registered",
                f"count(secrets_store_registered{{{NODE}}} == 0) or vector(0)",
                "Nodes on which kubelet does not know the driver: new pods that mount secrets cannot start there.",
                bad_from=1,
            ),
            stat("Volumes", f"sum(secrets_store_volumes{{{NODE}}})", "Volumes that are mounted."),
            stat(
                "Failing volumes",
                f"count(secrets_store_volume_refresh_failures{{{NODE}}} > 0) or vector(0)",
                "Their pods keep the old content. Without names of volumes in the metrics: their providers.",
                bad_from=1,
            ),
            stat(
                "Oldest content",
                f"max(secrets_store_oldest_content_age_seconds{{{NODE}}})",
                "Time since the last successful refresh of the volume for which that is longest ago.",
                "s",
            ),
            stat(
                "Providers gone",
                f"count(secrets_store_provider_up{{{NODE}}} == 0) or vector(0)",
                "Nodes whose volumes use a provider that no longer listens on its socket.",
                bad_from=1,
            ),
        ),
    ),
    Row(
        "Volumes",
        (
            Panel(
                "Publishes",
                "New volumes, and the questions of kubelet about mounted ones, once a minute and volume.",
                (Query(f"sum by (provider) (rate(node_publish_total{{{NODE}}}{RATE}))", "{{provider}}"),),
                "ops",
                stacked=True,
            ),
            Panel(
                "Failed publishes and refreshes",
                "By the step that failed, or the provider's own error code.",
                (
                    Query(
                        f"sum by (provider, error_type) (rate(node_publish_error_total{{{NODE}}}{RATE}))",
                        "{{provider}} {{error_type}}",
                    ),
                ),
                "ops",
                stacked=True,
            ),
            Panel(
                "Publishes in flight",
                "Pods that wait for their secrets just now.",
                (Query(f"secrets_store_publishes_in_flight{{{NODE}}}", "{{node}} {{instance}}"),),
            ),
            Panel(
                "Age of the oldest content",
                "With rotation it goes up to the interval and back.",
                (Query(f"secrets_store_oldest_content_age_seconds{{{NODE}}}", "{{node}} {{instance}}"),),
                "s",
            ),
            Panel(
                "Overdue content",
                "By how much content exceeds the interval of its class; 0 is good.",
                (Query(f"secrets_store_content_overdue_seconds{{{NODE}}}", "{{node}} {{instance}}"),),
                "s",
            ),
            Panel(
                "Refreshes",
                "Refreshes of mounted volumes, and those that failed.",
                (
                    Query(f"sum by (provider) (rate(rotation_reconcile_total{{{NODE}}}{RATE}))", "{{provider}}"),
                    Query(
                        f"sum by (provider) (rate(rotation_reconcile_error_total{{{NODE}}}{RATE}))",
                        "{{provider}} failed",
                    ),
                ),
                "ops",
            ),
        ),
    ),
    Row(
        "Providers",
        (
            Panel(
                "Duration of calls",
                "Half of the calls, and nine in ten, take no longer. Kubelet gives up a mount after two minutes.",
                (
                    Query(quantile(0.5, CALLS, "provider"), "{{provider}} half"),
                    Query(quantile(0.9, CALLS, "provider"), "{{provider}} nine in ten"),
                ),
                "s",
            ),
            Panel(
                "Calls",
                "Mount fetches secrets, Version is the health check.",
                (Query(f"sum by (provider, method) (rate({CALLS}_count{{{NODE}}}{RATE}))", "{{provider}} {{method}}"),),
                "ops",
                stacked=True,
            ),
            Panel(
                "Failed calls",
                "By gRPC code; ErrorInReply is a reply with an error of its own.",
                (
                    Query(
                        f"sum by (provider, code) (rate(secrets_store_provider_call_errors_total{{{NODE}}}{RATE}))",
                        "{{provider}} {{code}}",
                    ),
                ),
                "ops",
                stacked=True,
            ),
        ),
    ),
    Row(
        "Kubernetes",
        (
            Panel(
                "Requests to the API server",
                "By status; <error> is a request without an answer.",
                (Query(f"sum by (code) (rate(rest_client_requests_total{{{NODE}}}{RATE}))", "{{code}}"),),
                "ops",
                stacked=True,
            ),
            Panel(
                "Synced Secrets",
                "Secrets that were written because of secretObjects, and attempts that failed.",
                (
                    Query(f"sum by (provider) (rate(sync_k8s_secret_total{{{NODE}}}{RATE}))", "{{provider}}"),
                    Query(
                        f"sum by (provider) (rate(sync_k8s_secret_error_total{{{NODE}}}{RATE}))", "{{provider}} failed"
                    ),
                ),
                "ops",
            ),
            Panel(
                "Clock of the node",
                "By how much it is ahead of the API server's, whose time has a resolution of a second.",
                (Query(f"secrets_store_clock_offset_seconds{{{NODE}}}", "{{node}} {{instance}}"),),
                "s",
            ),
        ),
    ),
    Row(
        "Processes",
        (
            Panel(
                "Memory",
                "Resident memory of the processes, and the content of the volumes, which counts as the container's.",
                (
                    Query(f"sum by (role) (process_resident_memory_bytes{{{NODE}}})", "{{role}}"),
                    Query(f"sum(secrets_store_volumes_bytes{{{NODE}}})", "volumes"),
                ),
                "bytes",
            ),
            Panel(
                "CPU time",
                "Seconds of CPU time in a second.",
                (Query(f'sum by (role) (rate(process_cpu_seconds_total{{role!="",{NODE}}}{RATE}))', "{{role}}"),),
                "percentunit",
                stacked=True,
            ),
            Panel(
                "Restarts",
                "Of processes by the supervisor, and of background tasks.",
                (
                    Query(
                        f"sum by (role) (increase(secrets_store_role_restarts_total{{{NODE}}}{RATE}))",
                        "process {{role}}",
                    ),
                    Query(
                        f"sum by (task) (increase(secrets_store_background_task_failures_total{{{NODE}}}{RATE}))",
                        "task {{task}}",
                    ),
                ),
            ),
            Panel(
                "Versions",
                "How many processes run which version.",
                (
                    Query(
                        f"count by (component, version, python) (secrets_store_build_info{{{NODE}}})",
                        "{{component}} {{version}}, Python {{python}}",
                    ),
                ),
                width=16,
            ),
            Panel(
                "State of the registration",
                "Nodes by the registrar's state.",
                (Query(f"sum by (state) (secrets_store_registration_state{{{NODE}}})", "{{state}}"),),
                stacked=True,
            ),
        ),
    ),
    Row(
        "Secrets without a pod",
        (
            Panel(
                "Syncs",
                "Of SecretSyncs by the controller, and those that failed, by the reason of their condition.",
                (
                    Query(f"sum by (provider) (rate(secrets_store_sync_total{{{NODE}}}{RATE}))", "{{provider}}"),
                    Query(
                        f"sum by (provider, reason) (rate(secrets_store_sync_failures_total{{{NODE}}}{RATE}))",
                        "{{provider}} {{reason}}",
                    ),
                ),
                "ops",
            ),
            Panel(
                "Duration of syncs",
                "Nine in ten take no longer.",
                (Query(quantile(0.9, "secrets_store_sync_duration_seconds", "provider"), "{{provider}}"),),
                "s",
            ),
            stat("SecretSyncs", f"max(secrets_store_sync_objects{{{NODE}}})", "SecretSyncs that exist."),
            stat(
                "Leaders",
                f"sum(secrets_store_sync_leader{{{NODE}}})",
                "Replicas of the controller that are the leader: 1 is right.",
                bad_from=1,
                good=True,
            ),
        ),
        collapsed=True,
    ),
)

VARIABLES = [
    {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
    {
        "name": "node",
        "label": "Node",
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": "label_values(secrets_store_build_info, node)", "refId": "node"},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    },
]
ABOUT: Json = {
    "uid": "secrets-store-csi",
    "title": "Secrets Store CSI driver",
    "description": "Volumes with secrets, their providers, and the driver on each node.",
    "tags": ["kubernetes", "csi", "secrets"],
    "templating": {"list": VARIABLES},
}


def text() -> str:
    """The file's content."""
    return grafana.text(dashboard(ABOUT, ROWS))


if __name__ == "__main__":
    print(text(), end="")
