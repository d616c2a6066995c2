"""Filters that the server can apply, so that records which would be dropped are not even sent."""

import msgspec

from harvester.expression import Where
from harvester.settings import Format, Selection


class ServerSide(msgspec.Struct, frozen=True, kw_only=True):
    """The options of the label row call, under the SDK's argument names.

    None means everything. Only the bundled call has the argument `include_archived`. The filters are applied
    to the answer all the same: a server that ignores an option costs time, but gives no wrong record.
    """

    include_object_feature_hashes: frozenset[str] | None = None
    include_classification_feature_hashes: frozenset[str] | None = None
    include_reviews: bool = False
    include_archived: bool = False
    get_signed_url: bool = False


def request_selection(selection: Selection, format: Format) -> Selection:
    """Return the selection for requesting label rows. If row records are written, rows must be complete."""
    return msgspec.structs.replace(selection, feature_hashes=()) if "rows" in format.kinds else selection


def server_side(
    selection: Selection, *, object_features: frozenset[str], classification_features: frozenset[str]
) -> ServerSide:
    """Return the options of the label row call for a selection.

    The ontology's feature hashes say whether a selected hash is an object or a classification. If one is
    unknown to the ontology, no hash is sent: it could be either, and the server may refuse one of the wrong
    kind.
    """
    named = frozenset(selection.feature_hashes)
    narrow = named and named <= object_features | classification_features
    reads_reviews = selection.where is not None and Where(selection.where).reads_reviews
    return ServerSide(
        include_object_feature_hashes=(narrow and named & object_features) or None,
        include_classification_feature_hashes=(narrow and named & classification_features) or None,
        include_reviews=selection.include_reviews or selection.approved or reads_reviews,
        include_archived=selection.include_archived,
        get_signed_url=selection.signed_urls,
    )
