"""Whatever others have named is shown as it is, and never becomes markup."""

import html
import re
from html.parser import HTMLParser

import pytest

from probe.page.markup import Html, element, fragment, identifier, text, verbatim
from tests.probe.page.states import healthy, pending, provider, render, volume

HOSTILE = [
    "<script>alert(1)</script>",
    "</td></tr></table><script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)",
    "</title><script>alert(1)</script>",
    "</style><script>alert(1)</script>",
    "<!--",
    "&lt;script&gt;&#x3c;script&#x3e;",
    "javascript:alert(1)",
    "<a href=javascript:alert(1)>x</a>",
    "<svg/onload=alert(1)>",
    "]]><script>alert(1)</script>",
    "{{constructor.constructor('alert(1)')()}}",
    "\u202e<tpircs>\u2066",
    "a\x00<scr\x00ipt>",
    "<meta http-equiv=refresh content=0;url=//evil>",
]  # fmt: skip  # one a line


class Elements(HTMLParser):
    """The elements and attributes of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[str, ...]]] = []
        self.words = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, tuple(name for name, _ in attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names(name: str) -> None:
    """A pod, class, volume, provider, object, version, error, node, reason, state or Secret has such a name → the page
    has the same elements with the same attributes as with a harmless one, and shows it."""

    def page(given: str) -> Elements:
        texts = ("pod", "class", "volume", "provider", "reason", "target", "socket", "unused_sockets", "version")
        everywhere = dict.fromkeys((*texts, "last_error", "state", "name", "class_ref"), given)
        state = healthy(
            node=given,
            volumes=[volume("a", 1) | everywhere | {"objects": {given: given}}],
            pending=[pending("b", failures=1, running=False) | everywhere],
            providers=[provider() | everywhere],
            secrets=[everywhere | {"synced": None}],
        )
        state["registrar"] = {**state["registrar"], "state": given, "error": given}
        state["processes"][0]["role"] = given
        return Elements(render(state | {"version": given, "not_ready": [given]}))

    found, harmless = page(name), page("harmless")
    assert found.found == harmless.found
    # All but one: of a Secret's class the page shows the namespace, which ends at a slash.
    assert found.words.count(html.unescape(text(name))) >= harmless.words.count("harmless") - 1 > 20
    assert not re.search("[\x00-\x09\x0b-\x1f\u202a-\u202e\u2066-\u2069]", found.words)


def test_elements() -> None:
    """Children and attributes are escaped, HTML is not; None is left out; a space at the end of a text stays."""
    assert element("p", "a < b", None, element("b", 1), class_="x\"'&", hidden=True, title=None, lang=False) == (
        '<p class="x&quot;&#x27;&amp;" hidden>a &lt; b<b>1</b></p>'
    )
    assert element("meta", charset="utf-8") == '<meta charset="utf-8">'
    assert fragment("a ", None, Html("<br>"), " ", " b\n c ") == "a <br>  b c "
    assert element("td", data_label="x") == '<td data-label="x"></td>'
    assert identifier("volume", "a b", "c\t") == "volume-a_b/c"


def test_verbatim() -> None:
    """Content of a style or script element is not escaped, and cannot end it."""
    assert verbatim("style", "a > b") == "<style>a > b</style>"
    with pytest.raises(AssertionError):
        verbatim("style", "</style>")
