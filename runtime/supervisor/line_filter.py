"""What a role prints, made fit for the container's log: one printable line each, redacted, and JSON if logs are JSON.

Lines of our own logs are redacted and formatted by the role that writes them. It marks them with a word that only the
supervisor and its roles know, and so they pass as they are. Everything else is written by somebody who does not know
what may be shown: gRPC's C core, which repeats what a peer has sent, the interpreter, a library. Such a line is

1. decoded, with replacement characters for what is not UTF-8;
2. withheld if it belongs to a private key, whose lines come one by one;
3. redacted, stripped of characters that are not visible, and cut;
4. wrapped in an object of our log's form if logs are JSON, or marked with its stream if it has the form of our text.

What a peer has sent may look like a line of our log, in JSON with control characters that only a reader decodes. So
nothing passes for ours that is not marked as ours, and JSON is wrapped, too.
"""

import json
import re
from datetime import UTC, datetime

from runtime import redact

_KEY_BEGIN = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_KEY_END = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
# A line of a key, with what a program may print around it: its body, a header, or nothing. No quantifier gives back
# what it has taken, or a hostile line would take quadratic time.
_KEY_BODY = re.compile(r"[\s\"'|>]*+(?:[A-Za-z-]++: .*+|[A-Za-z0-9+/=_-]*+[\s\"',\\]*+)$")
_LEVELS = {"E": "error", "F": "error", "W": "warning", "I": "info", "D": "debug"}
_LEVEL = re.compile(r"([EFWID])\d{4} \d\d:\d\d:\d\d")  # the head of klog's lines, gRPC's and ours


class LineFilter:
    """One stream of one process, whose name is the prefix of its lines. ``marker`` is at the start of our own lines."""

    def __init__(self, process: str, stream: str, *, marker: bytes, as_json: bool) -> None:
        self._process = process
        self._stream = stream
        self._marker = marker
        self._as_json = as_json
        self._prefix = b"" if as_json else f"[{process}] ".encode()
        self._in_key = False

    def filter(self, line: bytes) -> bytes:
        """What to write, with newlines, for a line that was printed, without its own."""
        foreign, marker, own = line.partition(self._marker)
        shown = [] if marker and not foreign else [self._filter_foreign(foreign)]
        if marker:  # after an unfinished line of somebody else's, if ``foreign`` is not empty
            shown.append(own)
        return b"".join(self._prefix + each + b"\n" for each in shown)

    def _filter_foreign(self, line: bytes) -> bytes:
        shown = self._redact(line.decode(errors="replace"))
        if self._as_json:
            shown = self._as_object(shown)
        elif _LEVEL.match(shown.lstrip()):
            shown = f"({self._stream}) {shown}"
        return shown.encode(errors="replace")

    def _redact(self, text: str) -> str:
        text, key_ends = text.replace("\0", ""), _KEY_END.search(text)
        if self._in_key and (key_ends or _KEY_BODY.match(text)):
            self._in_key = not key_ends
            return redact.WITHHELD
        self._in_key = bool(_KEY_BEGIN.search(text)) and not key_ends
        return redact.line(text)

    def _as_object(self, text: str) -> str:
        level = _LEVEL.match(text)
        return json.dumps(
            {
                "level": _LEVELS[level[1]] if level else "info" if self._stream == "stdout" else "warning",
                "timestamp": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
                "process": self._process,
                "logger": self._stream,
                "message": text,
            }
        )
