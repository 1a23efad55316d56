"""A private mount namespace for the running process, with or without root."""

from cli.dev import namespaces


def enter_private() -> None:
    """Leave the machine's mount namespace: later mounts are visible to this process and its children only.

    Without root the process first becomes root of a new user namespace. The process must have one thread only. Where
    the kernel refuses, it ends with a sentence that says what to do.
    """
    try:
        namespaces.enter()
    except namespaces.Refused as refused:
        raise SystemExit(f"tests: {refused}") from None
