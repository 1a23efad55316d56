"""The page of a whole container, as somebody sees it who looks at it while something happens to the node."""

import asyncio
import signal
import threading
from collections.abc import Coroutine
from typing import Any

import pytest
from playwright.async_api import Page, async_playwright, expect

from kubelet_stub.config import Config as KubeletConfig
from kubelet_stub.kubelet import KubeletStub
from provider_stub.running import running
from runtime.flags import Duration
from tests.container.test_whole import DRIVER, Container, container, pod
from tests.support.waiting import until
from tools.pictures.browser import program

__all__ = ["container"]
# The page is made every five seconds, and a machine may be busy.
SECONDS = 30_000


def in_own_thread(work: Coroutine[Any, Any, None]) -> None:
    """Run asyncio code beside Playwright's own loop, which the other tests of this folder have started."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(work)
        except BaseException as error:  # raised below
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


async def see(view: Page, summary: str) -> None:
    """Wait until the page says this in its first line, without a reload."""
    await expect(view.get_by_role("status")).to_contain_text(summary, timeout=SECONDS)


@pytest.mark.timeout(180)
def test_a_node_in_trouble(container: Container) -> None:
    """The page is open while a pod starts, the provider's process is killed, another pod waits for it, the provider
    comes back, and the driver is stopped (SIGSTOP) and goes on → it says so each time by itself, and the log has the
    lines about the provider at once."""

    async def run() -> None:
        config = KubeletConfig(root=f"{container.directory}/kubelet", republish_interval=Duration(0))
        socket, store = container.directory / "providers" / "stub.sock", container.directory / "store"
        container.write_class("app", {"objects": "- objectName: password"})
        async with async_playwright() as playwright, KubeletStub(config) as kubelet:
            browser = await playwright.chromium.launch(executable_path=program(), args=["--no-sandbox"])
            view = await browser.new_page()
            await view.goto(f"http://127.0.0.1:{container.status_port}/")
            await see(view, "✕ Not ready 0 volumes, 0 providers")
            async with running(socket, store) as provider:
                await kubelet.wait_registered(DRIVER)
                first = await kubelet.add_pod(pod("one", "app"))
                await kubelet.wait_mounted(first)
                await see(view, "✓ Ready 1 volume, 1 provider, registered")
                provider.crash()
                second = await kubelet.add_pod(pod("two", "app"))
                await see(view, "✕ Failing 2 volumes, 1 failing, 1 provider, 1 away, registered")
                row = view.locator("#volumes tbody").first
                await expect(row).to_contain_text("Reason: waits for provider stub, which is away: nobody listens on")
                await expect(view.locator("#providers tbody").first).to_contain_text("1 publish")
                assert "A provider is away; publishes wait for it" in (container.directory / "log").read_text()
            async with running(socket, store):
                await kubelet.wait_mounted(second)
                await see(view, "✓ Ready 2 volumes, 1 provider, registered")
                log = container.directory / "log"
                await until(lambda: "A provider is back" in log.read_text(), "the line in the log")
                driver = container.roles()["driver"]
                driver.send_signal(signal.SIGSTOP)
                await see(view, "✕ Not ready the driver does not answer; ")
                await expect(view.get_by_role("status")).to_contain_text("ago: 2 volumes, 1 provider; registered")
                await expect(view.locator("#volumes h2")).to_contain_text("last known")
                await expect(view.locator("#volumes tbody")).to_have_count(2)
                driver.send_signal(signal.SIGCONT)
                await see(view, "✓ Ready 2 volumes, 1 provider, registered")
                for started in (first, second):
                    await kubelet.delete_pod(started)
                await see(view, "✓ Ready 0 volumes, 1 provider, registered")
            await browser.close()

    in_own_thread(run())
