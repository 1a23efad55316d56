"""The API server. The only package that imports ``kubernetes``, whose exceptions do not leave it."""
