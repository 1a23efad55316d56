"""Bounds on what others send, in one place. Those that people may have to raise are flags (``driver.config``)."""

MAX_SECRET_BYTES = 1024 * 1024
"""The data of one Secret: the API server's own limit."""

PARSE_SECONDS = 5.0
"""How long the parser may take for one Secret, by the clock; a third of that in CPU time."""

PARSE_CPU_SECONDS = 2
"""CPU time of the parser for one Secret."""

PARSE_MEMORY_BYTES = 192 * 1024 * 1024
"""Private memory of the parser's process (RLIMIT_DATA); it needs 20 MiB."""

PARSE_IDLE_SECONDS = 30.0
"""The parser's process ends when it had nothing to do for so long."""

PARSE_REMEMBERED = 1024
"""How many contents that the parser could not digest are remembered, so that they are not tried again."""

MAX_KEY_DERIVATION_ROUNDS = 10_000_000
"""Rounds of a PKCS#12 file's key derivation. OpenSSL writes 2,048, careful people a million; a round takes a
microsecond."""
