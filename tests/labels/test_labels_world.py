"""The simulator's rows: as many records as its generator, which shares no code with us, says it made."""

import json
from collections import Counter

import msgspec
import pytest
from encord.objects.classification_expansion import expand_classification_answers_into_frame_labels

from harvester.errors import SkipRow
from harvester.labels.extract import Extracted, Extractor, RowByRow
from harvester.labels.wire import LabelRow, ListedRow, PlanRow
from harvester.schema import Kind
from harvester.settings import Format, Selection
from harvester.simulator.world import World, WorldSpec
from tests.truth import truth_of

CLASSIFIED = Format(emit=("classifications",))
FRAMED = ("image", "img_group", "video", "dicom", "nifti", "pdf")


class Copied(msgspec.Struct):
    """What a line copies."""

    object: msgspec.Raw = msgspec.Raw()
    classification: msgspec.Raw = msgspec.Raw()


@pytest.fixture(scope="module")
def world() -> World:
    return World(WorldSpec(rows=600))


def rows(world: World, **options: bool) -> list[tuple[PlanRow, bytes]]:
    """Every labelled row, with its plan."""
    found = []
    for item in world.listing():
        listed = msgspec.json.decode(item, type=ListedRow)
        if listed.label_hash:
            planned = PlanRow(
                dataset_hash=listed.dataset_hash,
                data_title=listed.data_title or "",
                label_hash=listed.label_hash,
                branch_name=listed.branch_name,
                data_hash=listed.data_hash,
                data_type=listed.data_type or "",
                metadata=msgspec.Raw(item),
            )
            found.append((planned, world.label_row(listed.label_hash, **options) or b""))
    return found


def test_a_world_of_every_data_type_is_counted_as_it_was_made(world: World) -> None:
    """Objects by shape and by feature, and classifications of both eras."""
    truth = truth_of(world)
    extractor = Extractor(Selection(), Format(), json.dumps(world.ontology()).encode())
    shapes: Counter[str] = Counter()
    features: Counter[str] = Counter()
    classified = 0
    for planned, sent in rows(world):
        harvest = extractor.extract(sent, planned)
        for line in bytes(harvest.lines["objects"]).splitlines():
            thing = json.loads(line)["object"]
            shapes[thing["shape"]] += 1
            features[thing["featureHash"]] += 1
        classified += harvest.written["classifications"]
    assert shapes == truth.by_shape
    assert features == truth.by_feature
    assert (shapes.total(), classified) == (truth.objects, truth.classifications)
    assert truth.copied > 0


def test_what_is_written_is_what_was_sent(world: World) -> None:
    """Each object and classification stands, byte for byte, in the row that it came from."""
    extractor = Extractor(Selection(), Format(), json.dumps(world.ontology()).encode())
    compared = 0
    for planned, sent in rows(world, reviews=True)[:200]:
        harvest = extractor.extract(sent, planned)
        one_line = msgspec.json.format(sent, indent=-1) if b"\n" in sent else sent
        for kind in ("objects", "classifications"):
            for line in bytes(harvest.lines[kind]).splitlines():
                record = msgspec.json.decode(line, type=Copied)
                compared += 1
                assert bytes(record.object or record.classification) in one_line
    assert compared > 1000


def test_a_skeleton_gives_what_the_row_as_sent_gives(world: World) -> None:
    """A row that was read along with its envelope has the same records, of every data type."""
    extractor = Extractor(Selection(), Format(), json.dumps(world.ontology()).encode())
    for planned, sent in rows(world, reviews=True):
        one_line = msgspec.json.format(sent, indent=-1) if b"\n" in sent else sent
        skeleton = msgspec.json.decode(one_line, type=LabelRow)
        assert extractor.extract(skeleton, planned) == extractor.extract(sent, planned)


@pytest.mark.parametrize("emit", [("objects", "classifications"), ("objects", "rows")])
def test_rows_read_together_give_what_each_gives_alone(world: World, emit: tuple[Kind, ...]) -> None:
    """One after the other, and nothing of those among them that cannot be read."""
    settings = Selection(shapes=("bounding_box",)), Format(emit=emit), json.dumps(world.ontology()).encode()
    extractor, alone = Extractor(*settings), RowByRow(*settings)
    planned, sent = zip(*rows(world)[:60], strict=True)
    spoiled = list(sent)
    spoiled[20] = sent[20][:-2]
    spoiled[21] = sent[21].replace(b'"label_hash"', b'"label_hash":"other","x"', 1)
    spoiled[40] = sent[40][:-1] + b',"object_answers":7}'
    together = list(extractor.extract_all(zip(spoiled, planned, strict=True)))
    assert [count for count, _ in together] == [20, 1, 1, 18, 1, 19]
    begin = 0
    for count, outcome in together:
        each = list(alone.extract_all(zip(spoiled[begin : begin + count], planned[begin:], strict=False)))
        if isinstance(outcome, SkipRow):
            ((_, error),) = each
            assert isinstance(error, SkipRow)
            assert (outcome.message, outcome.row) == (error.message, planned[begin].label_hash)
        else:
            for kind in emit:
                ones = [one for _, one in each if isinstance(one, Extracted)]
                assert len(ones) == count
                assert bytes(outcome.lines[kind]) == b"".join(bytes(one.lines[kind]) for one in ones)
                assert outcome.rows[kind] == sum(one.written[kind] > 0 for one in ones)
                assert outcome.seen[kind] == sum(one.seen[kind] for one in ones)
                assert outcome.dropped[kind] == sum((Counter(one.dropped[kind]) for one in ones), Counter())
        begin += count


def test_the_copies_that_the_sdks_getters_add_count_for_nothing(world: World) -> None:
    """Over the plain SDK, rows come with copies made from the entries: the records are the same."""
    extractor = Extractor(Selection(), CLASSIFIED, json.dumps(world.ontology()).encode())
    added = 0
    for planned, sent in rows(world):
        row = json.loads(sent)
        if row["data_type"] not in FRAMED:
            continue  # The SDK would spell out nanoseconds one by one.
        if not all(entry.get("featureHash") for entry in row["classification_answers"].values()):
            continue  # The SDK's getters fail on older rows.
        expanded = json.dumps(expand_classification_answers_into_frame_labels(row)).encode()
        added += expanded.count(b"classificationHash") - sent.count(b"classificationHash")
        assert placements(extractor, expanded, planned) == placements(extractor, sent, planned)
    assert added > 100


def placements(extractor: Extractor, sent: bytes, planned: PlanRow) -> list[object]:
    lines = bytes(extractor.extract(sent, planned).lines["classifications"])
    return [json.loads(line) for line in lines.splitlines()]
