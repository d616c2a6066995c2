"""Filters over records: built-in ones, an expression, the user's functions, and those of the server."""

from harvester.filters.chain import Chain
from harvester.filters.pushdown import ServerSide, asked_with, server_side

__all__ = ["Chain", "ServerSide", "asked_with", "server_side"]
