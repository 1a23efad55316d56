"""What looks like a credential, in a text that some other program has written.

A text names many things that are none: paths, UIDs, digests, "token expired". So a credential is recognised by its own
form (a JSON Web Token, a private key, a vendor's prefix), by its place in a URL or a header, or by a name before it.
After a name and a colon, as in ``token: unexpected end of input``, plain words are taken for prose, and so is all that
follows a name in quotes and parentheses, as in ``entry 0 ('password'): role 'app' may not read it``.

Each pattern has words without one of which it cannot match; looking for those first makes texts without credentials,
the usual ones, cheap. No pattern may need more than quadratic time, and ``mask`` is given bounded texts.
"""

import re

WITHHELD = "***stripped***"

# A name, or the end of one, before a value: in JSON, escaped JSON, YAML, a shell's, XML's or a Go map's notation. It is
# searched in the text in lower case: ignoring the case would make the search several times slower.
_NAME = r"""(?:token|passw(?:or)?d|passphrase|pwd|pass(?<![a-z]pass)|secret|credentials?|cookie|authorization
             |secret[_-]?(?:access[_-]?)?(?:key|id)|(?:api|access|account|private|signing|encryption)[_-]?key(?:[_-]?id)?
             |client[_-]?secret|connection[_-]?string)"""
_NAME_WORDS = ("token", "pass", "pwd", "secret", "credential", "cookie", "authorization", "key", "string")
# What follows is no value: a mark of ours, a delimiter, or a word that says something about the named thing.
_VALUE = r"""(?!\*\*\*)(?!\\)(?!(?:true|false|null|nil|none|yes|no|expired|invalid|missing|required|empty|forbidden
             |unauthorized|denied|unknown|malformed|revoked|rejected|timeout|disabled|enabled)\b(?![.-]))"""
_PAIR = re.compile(
    rf"""(?x) {_NAME} (?:
         [\\"'`\])]* \s* (?:=>|[:=]|%3[ad]) \s* (?P<quote1>\\*["'`]) (?P<value1>(?!\*\*\*)(?:(?!(?P=quote1))\\?.)+)
       | [\\"'`\])]* (?:\s*(?:=>?|%3[ad])\s* | \s*:) (?!\s) {_VALUE} (?P<value2>[^\s"'`,;}}\])<>&]{{3,}})
       | (?<!credential)(?<!credentials) [\\"'`\])]* (?<!["'`]\)) \s*:\s+ {_VALUE}
         (?![a-z]+[,.;:]?\s+[a-z]) (?:(?:bearer|basic|token|digest)\s+)? (?P<value3>[^\s"'`,;}}\])<>]{{3,}})
       | > (?P<value4>(?!\*\*\*)[^<]+) </
       | (?:(?<=token)|(?<=password)|(?<=passwd)|(?<=passphrase)|(?<=pwd)) \s+
         (?P<quote5>["'`]) (?P<value5>(?!\*\*\*)(?:(?!(?P=quote5))\S){{4,}}) (?P=quote5)
    )"""
)
_OPTION = re.compile(rf"(?x)--[\w-]{{0,40}}{_NAME}\s+(?!-)(?!\*\*\*)(?P<value>\S{{3,}})")
_SCHEME = re.compile(
    r"(?i:\b(?:bearer|basic|negotiate))\s+(?=\S*(?:[0-9=]|[a-z][A-Z]|[A-Z][a-z]\S*[A-Z]))"
    r"(?P<value>[A-Za-z0-9._~+/=-]{6,})"
)
_COOKIE = re.compile(r"(?i)\bcookie\s*:\s*(?P<value>[^\s=;]{1,100}=[^\n\"']+)")
# ``scheme://user:password@host``, and ``user:password@tcp(host)`` as database drivers write it. An image's digest,
# ``name:tag@sha256:…``, is neither.
_URL = re.compile(r"://[^\s/:@]{0,200}:(?P<value>(?!\*\*\*)[^\s/@\"'<>]+(?:@[^\s/@\"'<>]+)*)@")
_DSN = re.compile(r"(?<![\w.@/-])[\w.-]{1,64}:(?P<value>(?!\*\*\*)[^\s:@/\"'<>]{3,128})@(?!sha\d)[\w(]")
_QUERY = re.compile(
    r"(?i)[?&;](?:sig|signature|code|key|sas|token|x-amz-(?:signature|credential|security-token)|x-goog-(?:signature"
    r"|credential)|[\w-]{0,40}(?:token|secret|password|key))(?:=|%3d)(?P<value>(?!\*\*\*)[^\s&\"'<>]+)"
)
_FORMS = (
    re.compile(r"eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*){0,3}"),  # a JSON Web Token
    re.compile(r"eyJ[A-Za-z0-9_-]{16,}"),  # the beginning of one, or of any JSON in base64
    re.compile(r"hv[sbr]\.[A-Za-z0-9_-]{8,}"),  # HashiCorp Vault, OpenBao
    re.compile(r"(?<![\w.])[sb]\.[A-Za-z0-9]{24}\b"),
    re.compile(r"gh[pousr]_[A-Za-z0-9]{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|npm_[A-Za-z0-9]{30,}"),
    re.compile(r"xox[abeoprs]-[A-Za-z0-9-]{10,}|sk[_-](?:live|test|proj)[_-][\w-]{10,}|SG\.[\w-]{16,}\.[\w-]{16,}"),
    re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),  # AWS
    re.compile(r"AIza[\w-]{30,}|ya29\.[\w-]{20,}|GOCSPX-[\w-]{16,}"),  # Google
    re.compile(r"AGE-SECRET-KEY-1[A-Z0-9]{20,}|dop_v1_[a-f0-9]{32,}|shp[a-z]{2}_[a-fA-F0-9]{24,}"),
    re.compile(r"LS0tLS1CRUdJTi[A-Za-z0-9+/=_-]*"),  # PEM in base64
)
_FORM_WORDS = (
    ("eyj",), ("eyj",), ("hvs.", "hvb.", "hvr."), ("s.", "b."),
    ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "npm_"),
    ("xox", "sk_", "sk-", "sg."), ("akia", "asia"), ("aiza", "ya29.", "gocspx-"),
    ("age-secret-key", "dop_v1_", "shp"), ("ls0tls1crudjti",),
)  # fmt: skip  # in the order of _FORMS
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----.*?"
    r"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)",
    re.DOTALL,
)
_PATTERNS: tuple[tuple[tuple[str, ...], re.Pattern[str]], ...] = (
    (("private key",), _PRIVATE_KEY),
    *zip(_FORM_WORDS, _FORMS, strict=True),
    (("bearer", "basic", "negotiate"), _SCHEME),
    (("cookie",), _COOKIE),
    (("://",), _URL),
    (("@",), _DSN),
    (("?", "&"), _QUERY),
)
_LOWER_CASE_PATTERNS = ((_NAME_WORDS, _PAIR), (("--",), _OPTION))
_ALL_WORDS = sorted({word for words, _ in (*_PATTERNS, *_LOWER_CASE_PATTERNS) for word in words})
_ASCII_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def mask(text: str) -> str:
    """The text unchanged except for what looks like a credential."""
    lowered = _lower(text)
    if not _has_word(lowered):
        return text
    for words, pattern in _PATTERNS:
        if any(word in lowered for word in words):
            text = pattern.sub(_withhold, text)
    for words, pattern in _LOWER_CASE_PATTERNS:
        if any(word in lowered for word in words):
            text = _mask_values(text, pattern)
    return text


def _has_word(text: str) -> bool:
    for word in _ALL_WORDS:  # noqa: SIM110  # any() with a generator takes twice as long, and a pattern five times
        if word in text:
            return True
    return False


def _mask_values(text: str, pattern: re.Pattern[str]) -> str:
    """Withhold what matches a pattern in lower case."""
    result, end = "", 0
    for match in pattern.finditer(_lower(text)):
        first, last = _value_span(match)
        result += text[end:first] + WITHHELD
        end = last
    return result + text[end:] if end else text


def _lower(text: str) -> str:
    """The text in lower case and of the same length, which ``str.lower`` does not promise for all letters."""
    return text.lower() if text.isascii() else text.translate(_ASCII_LOWER)


def _withhold(match: re.Match[str]) -> str:
    first, last = _value_span(match)
    return match.string[match.start() : first] + WITHHELD + match.string[last : match.end()]


def _value_span(match: re.Match[str]) -> tuple[int, int]:
    """Where the credential is: the group of a pattern that is named ``value…``, or else the whole match."""
    for name in match.re.groupindex:
        if name.startswith("value") and match[name]:
            return match.span(name)
    return match.span()
