"""One HTTP request to a process that may not be listening yet or any more."""

import http.client


def fetch(
    port: int, path: str = "/healthz", method: str = "GET", timeout: float = 10.0, host: str = "127.0.0.1"
) -> tuple[int, str]:
    """Status code and body; code 0 while nothing listens on the port, or if the answer is not complete."""
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except (OSError, http.client.HTTPException):
        return 0, ""
    finally:
        connection.close()
