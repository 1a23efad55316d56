"""The status page, wide and narrow, light and dark: the page that the probe makes, of the node in ``sample``."""

from collections.abc import Iterator

from playwright.sync_api import Browser

from probe import page
from probe.handlers import LINKS
from tools.pictures import sample

# Width and height in CSS pixels; the page goes on below.
SIZES = {"wide": (1280, 960), "narrow": (390, 844)}
SCHEMES = ("light", "dark")
# The page has the reader's font; a picture has one that every machine can have.
_FONT = "body { font-family: 'Liberation Sans', sans-serif; }"


def pictures(browser: Browser) -> Iterator[tuple[str, bytes]]:
    """File names and PNGs."""
    text = page.render(sample.state(), LINKS, sample.NOW)
    for size, (width, height) in SIZES.items():
        for scheme in SCHEMES:
            context = browser.new_context(
                viewport={"width": width, "height": height},
                color_scheme="dark" if scheme == "dark" else "light",
                device_scale_factor=2 if size == "narrow" else 1,
                java_script_enabled=False,  # the picture must not change while it is taken
            )
            view = context.new_page()
            view.set_content(text.replace("</style>", f"{_FONT}</style>"))
            yield f"status-page-{size}-{scheme}.png", view.screenshot()
            context.close()
