"""Bounds of what every process of the container has: its log lines and what they are searched for.

docs/operations.md lists them for users.
"""

LOG_BACKLOG_BYTES = 1024 * 1024
"""How much output the supervisor keeps, per stream, while nobody reads the container's log; the rest is dropped."""

LOG_LINE_BYTES = 64 * 1024
"""The longest line that a role may print; a longer one is written in pieces of this length."""

LOG_FLUSH_SECONDS = 0.5
"""How long the container's end may be delayed by a reader that has not yet read the last lines."""

READ_FAILURE_SECONDS = 5.0
"""For how long reading a role's output may fail, for lack of memory, before the role is ended and started again."""

REDACTED_VALUE_CHARACTERS = 8 * 1024
"""The length, from the start of a secret value, that is recognised in other texts, which are cut before they are
searched; lines of the value are recognised besides."""

REDACTED_VALUES = 1000
"""How many values, lines and members of values of one call are recognised; those beyond are not."""

REDACTED_PLACES = 5000
"""How many beginnings of values a text may have before it is withheld as a whole, as looking at each would take too
long."""

LEAST_DESCRIPTORS = 256
"""How many files each process must be permitted to open; with fewer the container does not start."""

WANTED_DESCRIPTORS = 4096
"""How many files each process asks to be permitted to open."""

REDACTED_VALUE_BYTES = 64 * 1024
"""How much of a value is looked at, from its start, for lines and members: files may have megabytes, and are looked at
while a call waits."""
