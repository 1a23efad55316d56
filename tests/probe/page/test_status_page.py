"""The status page as people read it: one line says how the node is, failures come first, unknown is not none."""

import re
from typing import Any

import pytest

from probe import page
from tests.probe.page.states import NOW, healthy, part, pending, provider, render, rows, shown, silent, summary, volume

AWAY: dict[str, Any] = {"state": "away", "reason": "nobody listens on /p/vault.sock", "away_since": NOW - 40}
SECRET = {"class_ref": "default/app", "name": "tls", "synced": NOW - 300, "reason": "forbidden"}


@pytest.mark.parametrize(
    "driver, expected",
    [
        ({}, "✓ Ready 5 volumes, 2 providers, registered"),
        ({"volumes": [], "providers": []}, "✓ Ready 0 volumes, 0 providers, registered"),
        ({"volumes": [volume("a")], "providers": [provider()]}, "✓ Ready 1 volume, 1 provider, registered"),
        ({"volumes": [volume("a", 1), volume("b")]}, "✕ Failing 2 volumes, 1 failing, 2 providers, registered"),
        (
            {"pending": [pending("a", since=NOW - 1)], "volumes": []},
            "✓ Ready 1 volume, 1 starting, 2 providers, registered",
        ),
        (
            {"pending": [pending("a", failures=2, running=False, reason="no")]},
            "✕ Failing 6 volumes, 1 failing, 2 providers, registered",
        ),
        ({"providers": [provider(**AWAY)]}, "✕ Failing 5 volumes, 1 provider, 1 away, registered"),
        ({"providers": [provider("other", **AWAY)]}, "! Ready, with warnings 5 volumes, 1 provider, registered"),
        ({"volumes": [volume("a", last_refresh=None)]}, "✓ Ready 1 volume, 2 providers, registered"),
        ({"secrets": [SECRET]}, "✕ Failing 5 volumes, 2 providers, 1 Secret not synced, registered"),
        ({"noswap": False}, "! Ready, with warnings 5 volumes, 2 providers, registered"),
    ],
)  # fmt: skip  # one row for each state
def test_summary(driver: dict[str, Any], expected: str) -> None:
    """The first line counts what there is and what is wrong, and its verdict is that of the worst row."""
    assert summary(render(healthy(**driver))) == expected


def test_not_ready() -> None:
    """The node is not ready → the verdict says so, with each reason; the registrar is not registered, or unknown."""
    state = healthy() | {"not_ready": ["registrar: refused by kubelet: no <b>", "driver: it starts"]}
    state["registrar"] = {**state["registrar"], "state": "refused by kubelet", "error": "no <b>"}
    text = render(state)
    assert summary(text) == "✕ Not ready 5 volumes, 2 providers, not registered"
    assert "<li>registrar: refused by kubelet: no &lt;b&gt;</li><li>driver: it starts</li>" in text
    assert "refused by kubelet, since 9 days ago : no <b>" in shown(text)
    assert summary(render(state | {"registrar": None})).endswith("registration unknown")


@pytest.mark.parametrize("broken", ["volumes", "pending", "providers", "secrets", "processes"])
def test_never_ready_above_a_red_row(broken: str) -> None:
    """Anything on the page is red, while /readyz has nothing to object → the page does not say "Ready", not in the
    title either."""
    state = healthy()
    if broken == "processes":
        state["processes"][1] = {**state["processes"][1], "pid": 0}
    else:
        red = {
            "volumes": volume("a", 1),
            "pending": pending("a", failures=1, reason="no"),
            "providers": provider(**AWAY),
            "secrets": SECRET,
        }
        state["driver"][broken] = [red[broken]]
    text = render(state)
    assert '<tbody role="rowgroup" id="' in text and 'class="bad"' in text
    assert "Ready" not in summary(text) and "<title>Failing: " in text


def test_failures_come_first() -> None:
    """Failing volumes are above the others, most failures first, and each has its reason; a volume that waits for its
    provider is above all."""
    volumes = [volume("a"), volume("b", 1), volume("c", 3, reason="no such object"), volume("d", last_refresh=None)]
    waiting = pending("e", failures=0)
    found = rows(render(healthy(volumes=volumes, pending=[waiting], providers=[provider(**AWAY)])), "volumes")
    assert [re.findall(r"default/(\w)", row)[0] for row in found] == ["e", "c", "b", "d", "a"]
    assert found[0].endswith("Reason: waits for provider vault, which is away: nobody listens on /p/vault.sock")
    assert found[1].startswith("✕ failing, 3 times") and found[1].endswith("Reason: no such object")
    assert "Reason" not in found[4]


@pytest.mark.parametrize(
    "item, words",
    [
        (volume("a"), "✓ mounted default/a secrets shop/cart vault 38 s ago in 82 s 2 objects"),
        (volume("a", next_refresh=NOW - 1), "38 s ago now 2 objects"),
        (volume("a", next_refresh=NOW - 600), "! late default/a secrets shop/cart vault 38 s ago now 2 objects"),
        (volume("a", last_refresh=None), "? age unknown default/a secrets shop/cart vault unknown in 82 s"),
        (
            volume("a", 1, reason="serving content that …", last_known_good=True),
            "! last known good default/a secrets shop/cart vault 38 s ago when the provider is back 2 objects",
        ),
        (volume("a", objects={}, object_count=0), "in 82 s none"),
        (volume("a", objects={"one": "v7"}, object_count=9), "9 objects one v7 and 8 more"),
        (pending("a", since=NOW - 3), "? starting default/a secrets reports/warehouse vault waiting for 3 s not yet"),
        (pending("a", provider=""), "! starting default/a secrets reports/warehouse not known yet waiting for 47 s"),
        (pending("a", provider=""), "Reason: waits for its SecretProviderClass"),
        (pending("a"), "Reason: waits for an answer of provider vault"),
        (pending("a", failures=2, running=False, reason="no such class"), "✕ not mounted, 2 failures default/a"),
    ],
)  # fmt: skip  # one row for each state
def test_row_of_a_volume(item: dict[str, Any], words: str) -> None:
    """What the row of a volume says."""
    driver = {"volumes": [], "pending": [item]} if "running" in item else {"volumes": [item]}
    (row,) = rows(render(healthy(**driver)), "volumes")
    assert words in row


def test_what_is_held() -> None:
    """Replies are held for new pods → their number and size; without any, or from an earlier driver → silence."""
    held = {"replies": 3, "bytes": 3 * 2**19}
    assert "Held for new pods 3 replies, 1.5 MiB" in shown(render(healthy(held=held)))
    assert "Held" not in render(healthy(held={"replies": 0, "bytes": 0})) and "Held" not in render(healthy())


def test_rotation_is_off() -> None:
    """Without rotation no volume has a next refresh."""
    driver = {"rotation_interval": None, "volumes": [volume("a", next_refresh=None)]}
    text = render(healthy(**driver))
    assert "never: rotation is off" in rows(text, "volumes")[0] and "Rotation off" in shown(text)


@pytest.mark.parametrize(
    "item, words",
    [
        (provider(), "✓ connected vault nobody 1.5.0 none /var"),
        (provider(version=""), "vault nobody not asked yet none"),
        (provider(**AWAY, waiting=3), "✕ away for 40 s vault 3 publishes 1.5.0 none"),
        (provider(**{**AWAY, "away_since": None}), "✕ away vault nobody"),
        (provider(**AWAY), "Reason: nobody listens on /p/vault.sock"),
        (provider(last_error="denied"), "! connected vault nobody 1.5.0 see below /var"),
        (provider(last_error="denied"), "Reason: denied"),
        (provider(unused_sockets="/q/vault.sock"), "Reason: another process has this name, too: /q/vault.sock"),
        (provider("x", state="not called", version=""), "✓ not called x nobody not asked yet none"),
    ],
)
def test_row_of_a_provider(item: dict[str, Any], words: str) -> None:
    """What the row of a provider says."""
    (row,) = rows(render(healthy(providers=[item])), "providers")
    assert words in row


def test_no_health_check() -> None:
    """The providers are not asked for their versions → the page says why there is none."""
    text = render(healthy(providers=[provider(version="")], provider_health_check=False))
    assert "not asked: no health check" in rows(text, "providers")[0]


def test_no_cell_is_empty() -> None:
    """Every cell of every table has text, also of a node that has just started, and of a role that is down."""
    fresh = volume("a", last_refresh=None, next_refresh=None, objects={}, object_count=0)
    blank = provider(version="", last_error="")
    state = healthy(
        volumes=[fresh],
        pending=[pending("b", provider="")],
        providers=[blank],
        secrets=[{**SECRET, "synced": None, "reason": ""}],
    )
    figures = dict.fromkeys(("resident_bytes", "proportional_bytes", "cpu_seconds", "started"))
    state["processes"] = [{**item, **figures} for item in state["processes"]]
    state["processes"][0]["pid"] = 0
    cells = re.findall(r"<td[^>]*>(.*?)</td>", render(state), re.DOTALL)
    assert len(cells) > 30 and all(shown(cell) for cell in cells)


def test_memory_adds_up() -> None:
    """The processes' memory is their proportional part, whose sum is shown; the sum is unknown if a part is."""
    state = healthy()
    text = render(state)
    assert "Memory 54.9 MiB" in shown(part(text, "processes").join(["", text]))
    assert "24.6 MiB" in rows(text, "processes")[1]
    state["processes"][3]["proportional_bytes"] = None
    assert "Memory not measured yet" in shown(render(state))


def test_process_that_was_restarted() -> None:
    """A role ended by a signal or with an exit code, and is down or runs again → the row says so."""
    state = healthy()
    state["processes"][1] |= {"restarts": 2, "last_exit": -9}
    state["processes"][2] |= {"pid": 0, "last_exit": 1}
    found = rows(render(state), "processes")
    assert found[0].startswith("✕ down probe") and found[0].endswith("Reason: it ended with exit code 1")
    assert any(row.endswith("Reason: when it was restarted, it ended with signal 9") for row in found)


def test_very_many_secrets() -> None:
    """The driver lists only some of the Secrets → the page says how many more there are; it lists all → it does not."""
    assert shown(part(render(healthy(secret_count=300)), "synced-secrets")).endswith("and 297 more")
    assert "more" not in shown(part(render(healthy()), "synced-secrets"))


def test_driver_that_hangs() -> None:
    """The driver does not answer → the first line says so and since when; what was last known is shown with its age,
    and is marked; nothing is "none"."""
    text = render(silent(healthy(volumes=[volume("a", 1), volume("b")]), 180.0))
    assert summary(text) == (
        "✕ Not ready the driver does not answer; 3 min ago: 2 volumes, 1 failing, 2 providers; registered"
    )
    assert "It has not answered since 11:03:50 UTC ." in shown(text)
    for section in ("volumes", "providers"):
        assert "? last known 3 min ago" in shown(part(text, section)) and 'class="stale"' in part(text, section)
    assert len(rows(text, "volumes")) == 2 and "last known" not in shown(part(text, "processes"))
    assert "none" not in [shown(item) for item in re.findall(r'<p class="empty">(.*?)</p>', text)]


def test_a_driver_that_hangs_is_not_late() -> None:
    """The driver has not answered for an hour → what it has said is an hour old, but no volume was late then."""
    found = rows(render(silent(healthy(volumes=[volume("a")]), 3600.0)), "volumes")
    assert found[0].startswith("✓ mounted")


def test_nothing_is_known() -> None:
    """The driver has never answered → unknown, not none; the same for a driver that is none of our roles."""
    state = healthy() | {"driver": None, "last_known": {}, "not_ready": ["driver: does not answer"]}
    text = render(state)
    assert summary(text) == "✕ Not ready the driver does not answer, registered"
    assert "nothing is known of its volumes" in shown(text)
    assert (
        shown(part(text, "volumes")) == "Volumes ? unknown" and shown(part(text, "providers")) == "Providers ? unknown"
    )
    other = render({**state, "supervised": False, "registrar": None, "not_ready": []})
    assert summary(other) == "? Unknown the driver does not report its state, registration unknown"
    assert "not a role of this container" in shown(other)


def test_an_earlier_driver() -> None:
    """The driver's status has only the fields that it had before this page → everything else is unknown."""
    old = {"pod": "default/a", "class": "default/app", "provider": "vault", "last_refresh": NOW - 61, "failures": 0}
    driver = {
        "role": "driver",
        "node": "node-1",
        "ready": True,
        "volumes": [{**old, "reason": "", "target": "/x"}],
        "providers": [{"name": "vault", "socket": "/p/vault.sock", "version": "", "last_error": ""}],
    }
    text = render(healthy() | {"driver": driver})
    assert "61 s ago never: rotation is off unknown" in rows(text, "volumes")[0]
    assert rows(text, "providers")[0].startswith("? called vault nobody not asked: no health check none /p/vault.sock")


def test_links_and_times() -> None:
    """The page links what else the address has, says when it was made, and each time has its machine-readable form."""
    text = render(healthy())
    assert '<a href="/status">/status</a> the same as JSON' in text and '<a href="/metrics">/metrics</a>' in text
    assert "As of 11:06:40 UTC" in shown(text)
    assert '<time datetime="2026-11-18T11:06:02Z" title="2026-11-18T11:06:02Z">38 s ago</time>' in text


def test_policy() -> None:
    """The browser may load nothing, run only our script and ask only this address; the hashes are those of what is on
    the page."""
    found = page.headers()
    policy = dict(part.split(" ", 1) for part in found["Content-Security-Policy"].split("; "))
    assert policy.pop("style-src").startswith("'sha256-") and policy.pop("script-src").startswith("'sha256-")
    assert policy == {
        "default-src": "'none'",
        "connect-src": "'self'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    text = render(healthy())
    assert not re.findall(r'\b(?:src|href|action)="(?!/|data:|")', text) and "http:" not in re.sub(
        "xmlns='http:", "", text
    )
    assert len(re.findall("<script", text)) == len(re.findall("<style", text)) == 1
    assert not re.findall(r"<[^>]* (?:on\w+|style)=", text)
