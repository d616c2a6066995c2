"""What filters look at: a few fields of an object or classification, decoded only where a filter asks."""

from collections.abc import Iterable
from typing import Any, Protocol

import msgspec


class Review(msgspec.Struct, frozen=True):
    """One review of a label, as far as the decision goes."""

    approved: bool | None = None
    status: str | None = None


class Fields(Protocol):
    """The fields of an object or classification. Only those that were asked for are there."""

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
    # Not for filters: what the extractor itself looks at.
    "object_hash": str | None,
    "event": str | None,
}


def fields_decoder(names: Iterable[str]) -> msgspec.json.Decoder[Any]:
    """A decoder of an object's or classification's JSON that reads the fields `names` and skips the rest.

    A field that is missing is None. Raises what msgspec raises, where the JSON has other types.
    """
    wanted = [(name, _TYPES[name], None) for name in sorted(names)]
    return msgspec.json.Decoder(msgspec.defstruct("Fields", wanted, rename="camel", gc=False))
