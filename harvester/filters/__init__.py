"""Filters over records: built-in ones, an expression, the user's functions, and those of the server."""

from harvester.filters.chain import Chain
from harvester.filters.pushdown import ServerSide, request_selection, server_side

__all__ = ["Chain", "ServerSide", "request_selection", "server_side"]
