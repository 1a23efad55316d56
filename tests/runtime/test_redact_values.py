"""Redaction by value: what a call has sent or fetched appears in no text, in whatever form somebody echoes it."""

import asyncio
import base64
import hashlib
import html
import json
import re
import shlex
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, copy_context
from urllib.parse import quote, quote_plus

import pytest

from protos import csi_pb2, provider_pb2
from runtime import redact
from runtime.redact import controls, needles

VALUE = "corr3ct horse/battery+staple & «friends»"
SHELL = "it's $(n0t) a `real` \\ n pass; r&d|t<r>~*[x]!#"
PLAIN = "Tr0ub4dorAndThree"
MARK = redact.WITHHELD


def basic(value: str) -> str:
    return base64.b64encode(f"user:{value}".encode()).decode()


ECHOES: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "base64": lambda value: base64.b64encode(value.encode()).decode(),
    "base64 without padding": lambda value: base64.b64encode(value.encode()).decode().rstrip("="),
    "base64 for URLs": lambda value: base64.urlsafe_b64encode(value.encode()).decode(),
    "base64 after a user's name": basic,
    "base64 after one byte": lambda value: base64.b64encode(b"x" + value.encode()).decode(),
    "base64 before more": lambda value: base64.b64encode(value.encode() + b"\nmore").decode(),
    "hexadecimal": lambda value: value.encode().hex(),
    "upper case hexadecimal": lambda value: value.encode().hex().upper(),
    "URL": lambda value: quote(value, safe=""),
    "URL with slashes": quote,
    "URL in lower case": lambda value: re.sub("%..", lambda match: match[0].lower(), quote(value, safe="")),
    "form": quote_plus,
    "JSON": json.dumps,
    "JSON in UTF-8": lambda value: json.dumps(value, ensure_ascii=False),
    "JSON in JSON": lambda value: json.dumps(json.dumps({"x": value})),
    "repr": repr,
    "repr of bytes": lambda value: repr(value.encode()),
    "HTML": html.escape,
    "Go's JSON": lambda value: value.replace("&", "\\u0026"),
    "base64 twice": lambda value: base64.b64encode(base64.b64encode(value.encode())).decode(),
    "URL twice": lambda value: quote(quote(value, safe=""), safe=""),
    "JSON with escaped slashes": lambda value: json.dumps(value).replace("/", "\\/"),
    "numbers as Go prints them": lambda value: f"[{' '.join(str(byte) for byte in value.encode())}]",
    "numbers as Python prints them": lambda value: str(list(value.encode())),
    "hexadecimal with colons": lambda value: value.encode().hex(":"),
    "base64 over lines": lambda value: base64.encodebytes(value.encode() * 4).decode(),
    "URL, every character": lambda value: "".join(f"%{byte:02X}" for byte in value.encode()),
    "URL, every character, in lower case": lambda value: "".join(f"%{byte:02x}" for byte in value.encode()),
    "bytes, escaped one by one": lambda value: "".join(f"\\x{byte:02x}" for byte in value.encode()),
    "bytes, escaped one by one, in upper case": lambda value: "".join(f"\\x{byte:02X}" for byte in value.encode()),
    "JavaScript's encodeURIComponent": lambda value: quote(value, safe="!'()*"),
    "JavaScript's encodeURI": lambda value: quote(value, safe=";,/?:@&=+$#!'()*"),
    "a path of a Go URL": lambda value: quote(value, safe="$&+=:@"),
    "a password of a Go URL": lambda value: quote(value, safe="$&+,;="),
    "Go's %#v of bytes": lambda value: f"[]byte{{{', '.join(map(hex, value.encode()))}}}",
    "a shell's backslashes": lambda value: re.sub(r"([^\w@%+=:./-])", r"\\\1", value),
    "a regular expression": re.escape,
    "all but letters escaped": lambda value: re.sub(r"(\W)", r"\\\1", value),
    "a shell's quotation marks": shlex.quote,
    "a shell's backslashes in JSON": lambda value: json.dumps(re.sub(r"(\W)", r"\\\1", value), ensure_ascii=False),
    "JSON in JSON in JSON": lambda value: json.dumps(json.dumps(json.dumps(value))),
    "split over lines": lambda value: "\n  ".join(value[i : i + 5] for i in range(0, len(value), 5)),
    "split by escaped breaks": lambda value: "\\n".join(value[i : i + 7] for i in range(0, len(value), 7)),
    "spaces between": lambda value: " ".join(value),
    "zero-width spaces between": "\u200b".join,
    "fillers between": "\u3164".join,
    "coloured": lambda value: "\x1b[1m" + "\x1b[31m".join((value[:6], value[6:])) + "\x1b[0m",
    "coloured after what is invisible": lambda value: value[:6] + "\u200b\x1b[31m\x00\x1b\x1b[0m\x07\x9b1m" + value[6:],
}


@pytest.mark.parametrize(
    "value", [VALUE, PLAIN, "pässwörd-ünicode", "line one\nline two\n", 'quo"ted\\back\tslash', SHELL]
)
@pytest.mark.parametrize("how", ECHOES)
def test_each_encoding(how: str, value: str) -> None:
    """A text repeats the value in some encoding → the mark is there instead, and what is around it stays."""
    with redact.withholding(value):
        shown = redact.text(f"the store said: [{ECHOES[how](value)}] and no more")
    assert shown.startswith("the store said: [") and shown.endswith("] and no more")
    kept = shown.removeprefix("the store said: [").removesuffix("] and no more").replace(MARK, "")
    # What is around the value in its encoding: quotes, a user's name, the key of an object, the ends of base64.
    assert len(kept) <= 20, shown
    assert MARK in shown


@pytest.mark.parametrize(
    "value",
    [
        "\ufeffpassword-of-a-file",
        "abcdefg\U000e0100hijk",
        "zero\u200bwidth\u200bspaces",
        "soft\xadhyphens-\xad",
        "bell\x07and\x00null",
        "\x1b[31mcoloured-secret\x1b[0m",
        "000000\U000e01001",
        "\ufeffab12",
        "line one\n\ufeffline two of it\nline three",
        "\ufeff" + "a long one " * 40,
    ],
)
@pytest.mark.parametrize("how", ["plain", "JSON", "Unicode JSON"])
def test_values_with_what_is_invisible(how: str, value: str) -> None:
    """A value has a byte order mark, a filler, a control character or a colour in it, which a text is shown without →
    the mark is there instead."""
    echo = value if how == "plain" else json.dumps(value, ensure_ascii=how == "JSON")[1:-1]
    with redact.withholding(value):
        shown = redact.text(f"the store said: [{echo}] and no more")
    assert re.sub(r"[\\ ]", "", shown) == f"thestoresaid:[{MARK}]andnomore"


@pytest.mark.parametrize("echo", ["".join, bytes.hex, quote, ascii], ids=["plain", "hexadecimal", "URL", "escaped"])
@pytest.mark.parametrize("value", ["\u200b" * 6, "\u2060\ufeff" * 400, "\u200b" * 20 + "ab", "\u200b" * 8 + "true"])
def test_values_of_which_little_is_visible(value: str, echo: Callable[[str | bytes], str]) -> None:
    """Nothing of a value is visible, or less than is looked for in the middle of words, and a text has an encoding of
    it → the mark is there, and the rest of the text as it was."""
    shown_value = echo(value.encode() if echo is bytes.hex else value)
    with redact.withholding(value):
        shown = redact.text(f"able to construe dabble: {shown_value}")
    assert re.fullmatch(r"able to construe dabble:( '?\W*stripped\W*'?| true| ab)?", shown.rstrip()), shown


@pytest.mark.parametrize("before", ["\u2060" * 48, "\ufeff" * 400, "\x1b[31m" * 12, "\x1b[3" * 3 + "\x1b[31m" * 9])
@pytest.mark.parametrize("value", ["hunter2secretpw", "a&b<c>'d' \"e\"", "of-a-file " * 9])
def test_values_after_what_is_invisible(value: str, before: str) -> None:
    """A value begins with more that is not shown than is looked at of others → the mark is there instead."""
    whole = before + value
    with redact.withholding(whole):
        shown = [redact.text(f"wrong {form}, it said") for form in (whole, html.escape(whole), redact.visible(whole))]
    assert {re.sub(r"\s", "", text) for text in shown} == {f"wrong{MARK},itsaid"}


@pytest.mark.parametrize("value", ["ab  cd", "ab\ncd", "a b\nc d", "a\nb\nc\nd\ne", "ab\u200bcd"])
@pytest.mark.parametrize("shown", [redact.text, redact.line, redact.lines, redact.mask])
def test_short_values_with_white_space(value: str, shown: Callable[[str], str]) -> None:
    """A short value has white space or something invisible in it → the mark, also in texts that keep their lines."""
    with redact.withholding(value):
        assert shown(f"it said: {value} and no more") == f"it said: {MARK} and no more"


@pytest.mark.parametrize("cut", ["{}", "{}…", "{}...", "{} [truncated]", '{}..." (4 kB more)'])
def test_a_prefix_where_the_text_is_cut(cut: str) -> None:
    """A text ends in the middle of the value → the beginning of the value is masked, from six characters on."""
    with redact.withholding(PLAIN):
        for length in range(6, len(PLAIN) + 1):
            shown = redact.text("refused: " + cut.format(PLAIN[:length]))
            assert PLAIN[:6] not in shown or (cut != "{}" and length < 12), shown


def test_half_of_a_value_counts_anywhere() -> None:
    """Half of a value in the middle of a text is masked; a shorter beginning, which may be any word, is not."""
    with redact.withholding("postgres-password-of-production"):
        assert "password-of" not in redact.text("bad postgres-password-of, he said")
        assert redact.text("the postgres-pass file") == "the postgres-pass file"


def test_the_second_half_of_a_value_counts() -> None:
    """A text has the second half of a value, after something else → masked; its last word alone is not."""
    with redact.withholding("postgres-password-of-production"):
        assert redact.text("bad [..password-of-production] !") == f"bad [..{MARK}] !"
        assert redact.text("in production") == "in production"


@pytest.mark.parametrize("value", ["n0t-for-you", "r0ot-passw0rd", "tr0ub4dor&3", "n\\n\\t0p-s3cret"])
@pytest.mark.parametrize("before", ["\\", "\\\\", "CORP\\", "\\n\\", "\\ "])
def test_a_backslash_before_a_value(before: str, value: str) -> None:
    """A value that begins like an escaped line break comes after a backslash → it is masked all the same."""
    with redact.withholding(value):
        shown = redact.text(f"for {before}{value} it is")
    assert value[2:] not in shown and shown.endswith(f"{MARK} it is"), shown


def test_parts_of_a_value() -> None:
    """A fetched file has lines, settings and JSON in it → each part is masked by itself."""
    files = [
        b"[default]\naws_key = QWERTZUIOPASDFGH\nhost: db.internal.example\n",
        json.dumps({"user": "app-user-1", "nested": [{"pw": "n3sted-v4lue"}]}).encode(),
        b"\xff\xfe\x00binary-v4lue",
    ]
    with redact.withholding(*files):
        for part in ("QWERTZUIOPASDFGH", "db.internal.example", "app-user-1", "n3sted-v4lue", files[2].hex()):
            assert redact.text(f"bad input {part}!") == f"bad input {MARK}!"


@pytest.mark.parametrize(
    "value, text, shown",
    [
        ("a", "a cat", "a cat"),
        ("abc", "abc abc", "abc abc"),
        ("true", "it is true", "it is true"),
        ("prod", "namespace prod", "namespace prod"),
        ("1234", "pin 1234 is wrong", f"pin {MARK} is wrong"),
        ("1234", "uid 123456 of 0d1234ab", "uid 123456 of 0d1234ab"),
        ("hunter2", "(hunter2)", f"({MARK})"),
        ("hunter2", "hunter22", "hunter22"),
        ("", "nothing", "nothing"),
        ("    ", "a    b", "a b"),
    ],
)
def test_short_values(value: str, text: str, shown: str) -> None:
    """Short values count only by themselves, and very short or common ones not at all: the text must stay readable."""
    with redact.withholding(value):
        assert redact.text(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "/var/lib/kubelet/pods/0d1a0c3e-98a2-4b3c-8f67-3c5a1b2d4e5f/volumes/kubernetes.io~csi/secrets/mount",
        'provider "stub": secret db-password does not exist',
        "rpc error: code = Unavailable desc = connection refused",
        "expires 2026-11-26T03:00:00Z",
    ],
)
def test_other_texts_stay(text: str) -> None:
    """A call with ordinary secrets, tokens and files → ordinary texts are unchanged."""
    with redact.withholding(
        request(), b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", "db-pass-word"
    ):
        assert redact.text(text) == text


def request() -> csi_pb2.NodePublishVolumeRequest:
    tokens = {"vault": {"token": "kubelet-t0ken-of-the-pod", "expirationTimestamp": "2026-11-26T03:00:00Z"}}
    return csi_pb2.NodePublishVolumeRequest(
        volume_id="csi-1234567890",
        secrets={"user": "publish-user", "pin": "4711"},
        volume_context={
            "csi.storage.k8s.io/serviceAccount.tokens": json.dumps(tokens),
            "clientSecret": "cl1ent-of-the-pod",
            "roleName": "application-role",
        },
    )


def test_what_is_secret_in_a_request() -> None:
    """Publish secrets, tokens and attributes with a secret's name are masked; other attributes, which an error may have
    to name, are not."""
    with redact.withholding(request()):
        for value in ("publish-user", "4711", "kubelet-t0ken-of-the-pod", "cl1ent-of-the-pod"):
            assert value not in redact.text(f"no access for {value} today")
        assert redact.text("no role application-role, csi-1234567890") == "no role application-role, csi-1234567890"


def test_what_is_secret_for_a_provider() -> None:
    """The same values in the request that a provider gets, as JSON, and the files that it replies with."""
    message = provider_pb2.MountRequest(
        attributes=json.dumps(dict(request().volume_context)), secrets=json.dumps({"user": "publish-user"})
    )
    reply = provider_pb2.MountResponse(files=[provider_pb2.File(path="a", contents=b"c0ntent-of-a")])
    with redact.withholding(message, reply):
        for value in ("publish-user", "kubelet-t0ken-of-the-pod", "cl1ent-of-the-pod", "c0ntent-of-a"):
            assert value not in redact.text(f"no access for {value} today")
        assert "application-role" in redact.text("no role application-role")


def test_how_long() -> None:
    """The values of one call are masked in its tasks, also in those added later; another call's texts and those after
    the end are not searched; an operation that outlives its call keeps them to its own end."""

    async def run() -> None:
        release = asyncio.Event()

        async def operation() -> str:
            with redact.held():
                await release.wait()
                return redact.text(f"late {PLAIN}")

        async def call() -> asyncio.Task[str]:
            with redact.withholding():
                redact.withhold(PLAIN)
                assert redact.text(PLAIN) == MARK
                task = asyncio.create_task(operation())
                await asyncio.sleep(0)  # it has begun
                return task

        task = await asyncio.create_task(call())
        assert redact.text(PLAIN) == PLAIN
        release.set()
        assert await task == f"late {MARK}"

    asyncio.run(run())


def test_nested_calls() -> None:
    """A call within a call masks the values of both."""
    with redact.withholding("outer-value-1"), redact.withholding("inner-value-2"):
        assert redact.text("outer-value-1 inner-value-2") == f"{MARK} {MARK}"
    assert redact.text("inner-value-2") == "inner-value-2"


@pytest.mark.parametrize(
    "line, times", [(b"x", 10_000_000), (b"line of text\n", 500_000), (b"a=b\n", 1_000_000), (b"\xff", 1_000_000),
     (b"a=" + b'"' * 8000 + b"!\n", 1000), (b"a=" + b" " * 8000 + b"!\n", 1000), (b"a" + b" " * 8000 + b"!\n", 1000)],
)  # fmt: skip  # one line for each would hide the list
def test_large_values_take_little(line: bytes, times: int) -> None:
    """Content of megabytes → it is recognised by its beginning, within a bounded time, and takes no other value's
    place."""
    started = time.process_time()
    with redact.withholding(line * times, PLAIN):
        assert PLAIN not in redact.text(f"x {PLAIN} y")
        redact.withhold(*(line * times for _ in range(3)))
        assert PLAIN not in redact.text(f"x {PLAIN} y")
    assert time.process_time() - started < 2.0


@pytest.mark.parametrize(
    "content",
    [
        "[" * 900 + "]" * 900,
        '{"a":' * 20_000,
        "[" * 60_000,
        json.dumps(json.dumps([json.dumps(["x" * 20])])),
        "\\" * 5000,
        "%" * 5000,
    ],
)
def test_odd_values(content: str) -> None:
    """Content that is deep, broken or full of escapes → texts are made all the same, and other values are masked."""
    with redact.withholding(content.encode(), PLAIN):
        assert redact.text(f"x {PLAIN} y") == f"x {MARK} y"


def test_threads() -> None:
    """Threads make texts while the call adds values → neither disturbs the other."""
    with redact.withholding(PLAIN), ThreadPoolExecutor(4) as pool:
        context = [copy_context() for _ in range(4)]

        def many(mine: Context) -> set[str]:
            return {mine.run(redact.text, f"x {PLAIN} y") for _ in range(500)}

        shown = [pool.submit(many, each) for each in context]
        for number in range(500):
            redact.withhold(f"another-value-{number}")
        assert [future.result() for future in shown] == [{f"x {MARK} y"}] * 4


@pytest.mark.parametrize("piece", ["\\", "\\n", "ab", PLAIN[:11], PLAIN[:13], " ", "%", "a" * 40])
def test_hostile_echoes_take_no_time(piece: str) -> None:
    """Megabytes that almost repeat the values, as a provider may return them → texts are made in a bounded time."""
    started = time.process_time()
    with redact.withholding(PLAIN, "a" * 5000, "ab" * 4000, "\\" * 4000, request()):
        redact.text(piece * 100_000)
    assert time.process_time() - started < 1.0


THOUSAND = [f"{number:04}" for number in range(1000)]


@pytest.mark.parametrize(
    "values, text",
    [
        ([f"{'x' * 12}{number}" for number in THOUSAND], "x" * 8000),
        ([f"{'x' * 12}{number * 300}" for number in THOUSAND], "x" * 8000),
        (["\n".join(f"{'x' * 12}{number}" for number in THOUSAND)], "x" * 8000),
        (["x" * 4000 + "y" + "x" * 4000], "x" * 8000),
        (["x" * 4000 + "y" * 4000], "x" * 4001),
        ([f"{'ab' * 600}{number}" for number in THOUSAND], "ab" * 4000),
        ([f"{number}{'tail' * 10}" for number in THOUSAND], "tail" * 2000),
        (["\\" * 40 + number for number in THOUSAND], "\\" * 8000),
        ([f"{number}-line-{number}" * 3 for number in THOUSAND], " ".join(f"{number}-line-" for number in THOUSAND)),
    ],
    ids=["heads", "long", "lines", "middle", "end", "period", "tails", "escapes", "different"],
)
def test_values_and_texts_made_for_each_other(values: list[str], text: str) -> None:
    """Values that begin alike, and a text that is full of these beginnings → it is made within a bounded time, and
    shows no value; texts of other forms are as they would be."""
    with redact.withholding(*values, PLAIN):
        redact.text("prepared")
        started = time.process_time()
        shown = redact.text(f"{text} {values[0]}")
        took = time.process_time() - started
        assert values[0] not in shown and values[-1] not in shown
        assert redact.text(f"x {PLAIN} y") == f"x {MARK if len(values) < 1000 else PLAIN} y"
    assert took < 1.0


class CountedPattern:
    """A pattern, and in how many places it was found."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self.places = 0
        self._pattern = pattern

    def sub(self, new: str, text: str) -> str:
        return self.subn(new, text)[0]

    def subn(self, new: str, text: str, count: int = 0) -> tuple[str, int]:
        result, places = self._pattern.subn(new, text, count)
        self.places += places
        return result, places


@pytest.mark.parametrize("number", [25, 75])
def test_values_full_of_what_is_invisible(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Each second of a value's 8,000 characters is invisible → however many values there are, no text makes more places
    visible than the search may, and none shows a half of a value; in the end texts are as they would be."""
    monkeypatch.setattr(needles, "_GAPS", 100)
    counted = CountedPattern(controls._REMOVED)
    monkeypatch.setattr(controls, "_REMOVED", counted)
    plain = [hashlib.shake_128(each.encode()).hexdigest(2000) for each in THOUSAND[:number]]
    halves = plain[0][:2000], plain[0][2000:], plain[-1][2000:]
    texts = {"nothing of it": "nothing of it", **{f"bad: {half} !": f"bad: {MARK} !" for half in halves}}
    with redact.withholding(*("\u200b".join(value) for value in plain)):
        for text, shown in [*texts.items()] * 3:
            before, found = counted.places, redact.text(text)
            assert found in (shown, MARK)
            assert counted.places - before < 80_000
        assert found == shown


def test_many_lines_of_one_text() -> None:
    """A file's lines begin alike, as addresses do → the ones that are echoed are masked and nothing else is; more than
    can be looked at → nothing of the text is shown."""
    lines = [f"https://vault.example/{hashlib.sha256(number.encode()).hexdigest()}" for number in THOUSAND]
    with redact.withholding("\n".join(lines)):
        shown = redact.text("failed: " + " ; ".join(lines[:12]) + " end")
        assert shown == "failed: " + " ; ".join([MARK] * 12) + " end"
        assert redact.text("see https://vault.example/docs for it") == "see https://vault.example/docs for it"
        assert redact.lines("failed:\n" + "\n".join(lines[:400])) == MARK
        assert redact.text("cut: " + lines[7][:40] + "…") == f"cut: {MARK}…"


def test_a_character_where_the_look_at_a_value_ends() -> None:
    """A large text is cut in the middle of a character → it is still a text, and its lines are recognised."""
    for before in range(4):
        with redact.withholding(b"x" * before + b"\na-line-of-its-own\n" + "ü€😀".encode() * 20_000):
            assert redact.text("bad a-line-of-its-own!") == f"bad {MARK}!"
