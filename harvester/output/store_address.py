"""Addresses of object stores, such as ``s3://bucket/prefix``."""

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from harvester.errors import BadInput
from harvester.events import one_line

SCHEMES: Mapping[str, str] = {"s3": "bucket", "gs": "bucket", "az": "container"}
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class Address(NamedTuple):
    """The address of a target, such as ``s3://bucket/prefix``."""

    scheme: str
    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}" + (f"/{self.prefix}" if self.prefix else "")


def is_address(name: str) -> bool:
    """Return whether a target's name is an address rather than a path."""
    return _ADDRESS.match(name) is not None


def parse_address(name: str) -> Address:
    """Parse the address of an object store. Raises BadInput if it is not one."""
    try:
        parts = urlsplit(name)
    except ValueError:
        raise BadInput("the target is no address: write s3://bucket/prefix") from None
    if parts.scheme not in SCHEMES:
        raise BadInput(one_line(f"no target is at {parts.scheme}://: use s3://, gs://, az:// or a directory"))
    what = SCHEMES[parts.scheme]
    if "@" in parts.netloc or ":" in parts.netloc or parts.query or parts.fragment:
        raise BadInput(
            f"the target may hold no user, port, query or fragment: write {parts.scheme}://{what}/prefix"
        )
    names = [name for name in parts.path.split("/") if name]
    if not parts.netloc or {".", ".."} & set(names):
        raise BadInput(f"the target names no {what}: write {parts.scheme}://{what}/prefix")
    return Address(parts.scheme, parts.netloc, "/".join(names))
