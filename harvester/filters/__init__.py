"""Choosing records: pure. The filters, the chain, what each needs and what the server can do for it."""

from harvester.filters.chain import Chain
from harvester.filters.pushdown import ServerSide, asked_with, server_side

__all__ = ["Chain", "ServerSide", "asked_with", "server_side"]
