"""The colours of the page, from its style sheet: text can be read in light and dark, by WCAG 2.2's level AA."""

import itertools
import re
from pathlib import Path

import pytest

from probe import page

STYLE = (Path(page.__file__).parent / "style.css").read_text()
# https://www.w3.org/TR/WCAG22/#contrast-minimum and #non-text-contrast
TEXT, NOT_TEXT = 4.5, 3.0
BACKGROUNDS = {"page", "card", "good-soft", "warn-soft", "bad-soft", "unknown-soft"}
TEXTS = {"text", "muted", "link", "good", "warn", "bad", "unknown"}
DECORATION = {"line"}  # lines between what is apart anyway


def palette(scheme: str) -> dict[str, str]:
    """The colours of a scheme by name."""
    light, dark = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
    found = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", light))
    return found | dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", dark)) if scheme == "dark" else found


def luminance(colour: str) -> float:
    """https://www.w3.org/TR/WCAG22/#dfn-relative-luminance"""
    parts = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio"""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_contrast_itself() -> None:
    """Black on white has 21:1, a colour on itself 1:1; #767676 on white is the well-known limit."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert contrast("#a8201a", "#a8201a") == 1.0
    assert contrast("#777777", "#ffffff") < TEXT < contrast("#767676", "#ffffff")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(scheme: str) -> None:
    """Every colour of text on every background, and outlines and borders that mean something, in both schemes."""
    colours = palette(scheme)
    too_weak = {
        (front, back): contrast(colours[front], colours[back])
        for front, back in itertools.product(sorted(TEXTS), sorted(BACKGROUNDS))
        if contrast(colours[front], colours[back]) < TEXT
    }
    assert too_weak == {}
    assert all(contrast(colours["edge"], colours[back]) >= NOT_TEXT for back in BACKGROUNDS)


def test_every_colour_is_one_of_these() -> None:
    """The style sheet uses colours by name only, as text or as background as above; so no pair is left out."""
    assert palette("light").keys() == palette("dark").keys() == BACKGROUNDS | TEXTS | DECORATION | {"edge"}
    rules = re.sub(r":root \{.*?\}", "", STYLE, flags=re.DOTALL)
    assert not re.findall(r"#[0-9a-f]{3,8}\b|\brgb|\bhsl|\bopacity|currentcolor", rules)
    fronts = re.findall(r"(?<![\w-])color: ([^;]+);", rules)
    backs = re.findall(r"background(?:-color)?: ([^;]+);", rules)
    assert {f"var(--{name})" for name in TEXTS} == set(fronts)
    assert set(backs) <= {f"var(--{name})" for name in BACKGROUNDS} | {"none"}
