"""Characters that a text must not contain when it is shown: they move the cursor, change the direction of what
follows, are invisible, or end a line. Sequences that set a terminal's colours go as a whole: what is left of them would
be in the middle of a secret that a tool has coloured, which no search would find then."""

import re

# Unicode's categories Cc (controls: C0, DEL, C1), Cf (formats: bidi, zero-width, soft hyphen, tags) and Cs
# (surrogates), and what else is ignored by default (joiners, fillers, variation selectors). As ranges, because the
# module ``unicodedata`` would cost each process 300 KiB. ESC and CSI come last, so that another character before them
# does not take them away from a sequence. All that is adjacent is one match.
_REMOVED = re.compile(
    "(?:["
    "\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef"
    "\0-\x1a\x1c-\x1f\x7f-\x9a\x9c-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f"
    "]+|(?:\x1b\\[|\x9b)[0-9;:]*+[mK]|[\x1b\x9b])+"
)


def visible(text: str) -> str:
    """The text on one line: white space, in each of its kinds, is one space, and what is not visible is removed."""
    text = " ".join(text.split())  # also splits at U+0085, U+2028, U+2029 and the separators of C0
    return text if _is_visible(text) else _REMOVED.sub("", text)


def visible_start(text: str, gaps: int) -> tuple[str, int]:
    """As ``visible``, but what is not visible is removed in at most ``gaps`` places, one or more; and in how many it
    was. What comes before the last of them, ``gaps - 1`` characters or more, is as in the whole."""
    text = " ".join(text.split())
    return (text, 0) if _is_visible(text) else _REMOVED.subn("", text, gaps)


def visible_lines(text: str) -> str:
    """As ``visible``, but line by line and with the spaces as they are."""
    if _is_visible(text):
        return text
    return "\n".join(line if _is_visible(line) else _REMOVED.sub("", line.expandtabs(8)) for line in text.splitlines())


def _is_visible(text: str) -> bool:
    return text.isascii() and text.isprintable()
