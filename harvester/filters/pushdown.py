"""What the server can do for the filters, so that what they would drop is not even sent."""

import msgspec

from harvester.expression import Where
from harvester.settings import Format, Selection


class ServerSide(msgspec.Struct, frozen=True, kw_only=True):
    """The options of the label row call that `selection` asks for, under the SDK's argument names.

    None asks for everything. `include_archived` is an argument of the bundled call alone. The filters still
    look at what comes: a server that ignores an option costs time, never a wrong record.
    """

    include_object_feature_hashes: frozenset[str] | None = None
    include_classification_feature_hashes: frozenset[str] | None = None
    include_reviews: bool = False
    include_archived: bool = False
    get_signed_url: bool = False


def asked_with(selection: Selection, format: Format) -> Selection:
    """What to ask for label rows with: where rows are emitted, nothing may be left out of them."""
    return msgspec.structs.replace(selection, feature_hashes=()) if "rows" in format.kinds else selection


def server_side(
    selection: Selection, *, object_features: frozenset[str], classification_features: frozenset[str]
) -> ServerSide:
    """What to ask the server for. The ontology's feature hashes say what a hash that is named stands for.

    A hash that the ontology does not know could be either, and then nothing is narrowed: the server may
    refuse a hash of the wrong sort.
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
