"""Calls to the providers on this node. gRPC's exceptions do not leave this folder."""
