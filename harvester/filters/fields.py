"""The fields of objects and classifications that filters read. Only those that a filter needs are decoded."""

from collections.abc import Iterable
from typing import Any, Protocol

import msgspec


class Review(msgspec.Struct, frozen=True):
    """The decision of one review of a label. The server sends it in one of two fields."""

    approved: bool | None = None
    status: str | None = None


class Fields(Protocol):
    """The fields of an object or classification. An instance has only those that its decoder was made for."""

    shape: str | None
    name: str | None
    feature_hash: str | None
    confidence: float | None
    created_by: str | None
    manual_annotation: bool | None
    reviews: list[Review] | None


_TYPES: dict[str, Any] = {
    "shape": str | None,
    "name": str | None,
    "feature_hash": str | None,
    "confidence": float | None,
    "created_by": str | None,
    "manual_annotation": bool | None,
    "reviews": list[Review] | None,
    # Not read by filters, but by the extractor itself.
    "object_hash": str | None,
    "event": str | None,
}


def fields_decoder(names: Iterable[str]) -> msgspec.json.Decoder[Any]:
    """Return a decoder for the JSON of an object or classification that reads only the fields in `names`.

    A missing field is None. The decoder raises msgspec.ValidationError if a field has another type.
    """
    wanted = [(name, _TYPES[name], None) for name in sorted(names)]
    return msgspec.json.Decoder(msgspec.defstruct("Fields", wanted, rename="camel", gc=False))
