"""The three CSI services: check the request, call one function, answer."""
