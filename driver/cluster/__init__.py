"""The API server: the only folder that imports ``kubernetes``; its exceptions do not leave it."""
