"""aiohttp, imported without the system's certificate authorities.

When it is imported it makes two TLS contexts, and parses some 150 certificates for each: a quarter of the CPU time of
all imports. Nothing here uses them, since each ``Transport`` has a context of its own. Import this only from
``transport``, which ``connections`` imports when the API server is first called.
"""

from driver.cluster import slim_imports

with slim_imports.no_default_authorities():
    import aiohttp

__all__ = ["aiohttp"]
