"""One fuzzing input, run: read or skipped, and true to what was sent."""

from functools import cache

import msgspec

from harvester.errors import BadInput, SkipRow
from harvester.labels.extract import Extractor
from harvester.labels.wire import PlanRow
from harvester.settings import Format
from tests.labels.hostile import EVERY_KIND, check, extractor, planned_rows

VARIANTS = 6
WITH_EXPRESSION = 4


def replay(data: bytes) -> None:
    """Raises whatever the extraction should not, and AssertionError where it reads what was not sent."""
    variant, sent = (data[0] if data else 0) % VARIANTS, data[1:]
    planned = _planned(sent)
    try:
        harvest = _extractors()[variant].extract(sent, planned)
    except SkipRow:
        return
    except BadInput:
        assert variant == WITH_EXPRESSION  # `--where` stops at types that do not go together, by contract
        return
    check(sent, planned, harvest)


class _Own(msgspec.Struct):
    label_hash: str | None = None


def _planned(sent: bytes) -> PlanRow:
    """The plan of a row, which has the label hash that the row says it has."""
    try:
        own = msgspec.json.decode(sent, type=_Own).label_hash
    except (ValueError, RecursionError):
        own = None
    return msgspec.structs.replace(_some_plan(), label_hash=own)


@cache
def _some_plan() -> PlanRow:
    return planned_rows()[0][0]


@cache
def _extractors() -> tuple[Extractor, ...]:
    made = (
        extractor(),
        extractor(Format(emit=EVERY_KIND, per_frame=True)),
        extractor(signed_urls=True, approved=True),
        extractor(shapes=("bounding_box", "polygon", "audio"), min_confidence=0.5, manual=True),
        extractor(where="has(object.confidence) && object.confidence > 0.5"),
        extractor(Format(emit=EVERY_KIND, per_frame=True), names=("Car",), authors=("ann@example.com",)),
    )
    assert len(made) == VARIANTS
    return made
