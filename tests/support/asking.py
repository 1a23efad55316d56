"""One question over HTTP, to a process that may not be there yet or any more."""

import http.client


def ask(port: int, path: str = "/healthz", method: str = "GET", timeout: float = 10.0) -> tuple[int, str]:
    """Code and body; 0 while nobody listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except OSError:
        return 0, ""
    finally:
        connection.close()
