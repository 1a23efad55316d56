"""States of a node, as ``Handlers`` collects them, and the page read back as people see it."""

import html
import re
from collections.abc import Mapping
from typing import Any

from probe import page
from tools.pictures import sample

NOW = sample.NOW
LINKS = {"/status": "the same as JSON", "/metrics": "for Prometheus"}


def healthy(**driver: Any) -> dict[str, Any]:
    """A node on which all is well, with these fields of the driver's status."""
    state = sample.state()
    volumes = [volume for volume in state["driver"]["volumes"] if not volume["failures"]]
    providers = [provider for provider in state["driver"]["providers"] if provider["state"] == "connected"]
    state["driver"] |= {"volumes": volumes, "pending": [], "providers": providers, **driver}
    return state


def volume(pod: str, failures: int = 0, **fields: Any) -> dict[str, Any]:
    """A mounted volume."""
    found = dict(sample.state()["driver"]["volumes"][1])
    reason = "denied" if failures else ""
    return {**found, "pod": f"default/{pod}", "target": f"/{pod}", "failures": failures, "reason": reason, **fields}


def pending(pod: str, **fields: Any) -> dict[str, Any]:
    """A volume that is not mounted yet; its provider is not away."""
    found = sample.state()["driver"]["pending"][0]
    return {**found, "pod": f"default/{pod}", "target": f"/{pod}", "provider": "vault", **fields}


def provider(name: str = "vault", **fields: Any) -> dict[str, Any]:
    """A provider."""
    return {**sample.state()["driver"]["providers"][-1], "name": name, **fields}


def silent(state: dict[str, Any], seconds: float, *, reason: str = "driver: does not answer") -> dict[str, Any]:
    """The same node whose driver has answered last so many seconds ago."""
    last = {"status": state["driver"], "at": NOW - seconds, "silent_since": NOW - seconds + 10}
    return {**state, "driver": None, "last_known": {"driver": last}, "not_ready": [reason]}


def render(state: Mapping[str, Any]) -> str:
    """The page, with all tags on it."""
    return page.render(state, LINKS, NOW)


def shown(text: str) -> str:
    """What people read of a part of a page."""
    text = re.sub(r"<(style|script)>.*?</\1>", "", text, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", text)).split())


def summary(text: str) -> str:
    """The line above all, with the verdict."""
    found = re.search(r'<p role="status">(.*?)</p>', text)
    assert found is not None
    return shown(found[1])


def rows(text: str, section: str) -> list[str]:
    """What people read of each row of a section, in order."""
    return [shown(row) for row in re.findall(r"<tbody.*?</tbody>", part(text, section), re.DOTALL)]


def part(text: str, section: str) -> str:
    """A section with its tags."""
    found = re.search(rf'<section id="{section}".*?</section>', text, re.DOTALL)
    assert found is not None, section
    return found[0]
