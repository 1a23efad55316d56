"""What is read of the API server's metrics."""

from bench.nodes.server_usage import parse_metrics

LONG, CLASSES = "apiserver_longrunning_requests", 'resource="secretproviderclasses"'
TEXT = f"""
# TYPE {LONG} gauge
{LONG}{{component="apiserver",group="",resource="pods",scope="cluster",verb="WATCH",version="v1"}} 3
{LONG}{{component="apiserver",group="x",{CLASSES},scope="cluster",verb="WATCH"}} 10
{LONG}{{component="apiserver",group="x",{CLASSES},scope="namespace",verb="WATCH"}} 2
{LONG}{{component="apiserver",group="apps",resource="deployments",scope="cluster",verb="WATCH"}} 7
{LONG}{{component="apiserver",group="",resource="pods",subresource="exec",verb="CONNECT"}} 1
apiserver_watch_events_total{{group="x",{CLASSES},version="v1"}} 1.234567e+06
apiserver_watch_events_sizes_bucket{{group="x",{CLASSES},version="v1",le="1024"}} 9
apiserver_watch_events_sizes_sum{{group="x",{CLASSES},version="v1"}} 500
apiserver_response_sizes_sum{{group="",resource="secrets",scope="cluster",verb="LIST",version="v1"}} 4096
apiserver_response_sizes_sum{{group="",resource="secrets",scope="resource",verb="GET",version="v1"}} 17
process_start_time_seconds 1.7e+09
"""


def test_only_the_resources_of_a_driver_count() -> None:
    """Samples of all kinds of resources, verbs and metrics → watches, events, and bytes of lists of a driver's
    resources only, summed over scopes; no buckets, no other verbs."""
    found = parse_metrics(TEXT)
    assert found.watches == {"pods": 3, "secretproviderclasses": 12}
    assert found.events == {"secretproviderclasses": 1_234_567}
    assert found.list_bytes == {"secrets": 4096}


def test_a_server_without_them() -> None:
    """None of the metrics, as of a server that nobody has asked anything → zeros."""
    assert not any(vars(parse_metrics("process_start_time_seconds 1.7e+09\n")).values())
