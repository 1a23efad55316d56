"""Providers: their sockets found and dialled, their replies checked. gRPC's exceptions do not leave this folder."""
