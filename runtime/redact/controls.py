"""Characters that a text must not contain when it is shown: they move the cursor, change the direction of what
follows, are invisible, or end a line."""

import unicodedata

# Removed: control characters (C0, DEL, C1), format characters (bidi, zero-width, soft hyphen, tags) and surrogates.
_REMOVED = frozenset({"Cc", "Cf", "Cs"})


def visible(text: str) -> str:
    """The text on one line: white space, in each of its kinds, is one space, and what is not visible is removed."""
    text = " ".join(text.split())  # also splits at U+0085, U+2028, U+2029 and the separators of C0
    return text if text.isprintable() else "".join(filter(_is_shown, text))


def visible_lines(text: str) -> str:
    """As ``visible``, but line by line and with the spaces as they are."""
    if text.isprintable():
        return text
    return "\n".join(
        line if line.isprintable() else "".join(filter(_is_shown, line.expandtabs(8))) for line in text.splitlines()
    )


def _is_shown(character: str) -> bool:
    return character == " " or unicodedata.category(character) not in _REMOVED
