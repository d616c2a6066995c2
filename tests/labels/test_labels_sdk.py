"""Second opinion: what we read in a row that the SDK built is what the SDK's own object model reports."""

import json
from collections import Counter
from typing import Any

import pytest
from encord.objects.attributes import ChecklistAttribute, RadioAttribute

from harvester.settings import Format
from tests.labels.rows import EVERYTHING, Json, classifications, objects, said
from tests.labels.sdk_rows import BUILDERS, Ontology, all_attributes, build


@pytest.fixture(scope="module")
def ontology() -> Ontology:
    return Ontology()


def answered(written: list[Json]) -> Json:
    """Our answers as a dict: by feature hash, options as sorted hashes."""
    found: Json = {}
    for answer in written:
        value = said(answer)
        if answer["options"] is not None:
            value = sorted(option["feature_hash"] for option in answer["options"])
        found[answer["feature_hash"]] = value
    return found


def as_written(attribute: Any, value: Any) -> Any:
    """The SDK's answer in the same form."""
    if isinstance(attribute, RadioAttribute):
        return [value.feature_node_hash]
    if isinstance(attribute, ChecklistAttribute):
        return sorted(option.feature_node_hash for option in value)
    return value


def sdk_answers(instance: Any, frame: int | None = None) -> tuple[Json, Json]:
    """What the SDK says is answered: for good, and on a frame."""
    static: Json = {}
    dynamic: Json = {}
    for attribute in all_attributes(instance.ontology_item):
        value = instance.get_answer(attribute)
        if getattr(attribute, "dynamic", False):
            for answer in value:
                if any(span.start <= frame <= span.end for span in answer.ranges):
                    dynamic[attribute.feature_node_hash] = as_written(attribute, answer.answer)
        elif value not in (None, []):
            static[attribute.feature_node_hash] = as_written(attribute, value)
    return static, dynamic


def sdk_objects(row: Any) -> Counter[str]:
    """One line an object and frame, or a range object: hash, frame, both kinds of answers."""
    found: Counter[str] = Counter()
    for instance in row.get_object_instances():
        ranged = instance.ontology_item.shape.value in ("audio", "text")
        for frame in [None] if ranged else [annotation.frame for annotation in instance.get_annotations()]:
            found[repr((instance.object_hash, frame, *map(ordered, sdk_answers(instance, frame or 0))))] += 1
    return found


def ordered(answers: Json) -> list[tuple[str, Any]]:
    return sorted(answers.items())


@pytest.mark.parametrize("kind", BUILDERS)
def test_objects_frames_and_answers_are_the_sdks(kind: str, ontology: Ontology) -> None:
    """Every object on every frame, with its static, nested and dynamic answers; geometry byte for byte."""
    row = build(kind, ontology)
    sent = row.to_encord_dict()
    row.from_labels_dict(json.loads(json.dumps(sent)))
    found = objects(sent, ontology=ontology.structure.to_dict())
    ours = Counter(
        repr(
            (
                record["object"]["objectHash"],
                record["frame"],
                ordered(answered(record["attributes"])),
                ordered(answered(record["dynamic_attributes"])),
            )
        )
        for record in found
    )
    assert ours == sdk_objects(row)
    assert ours
    everything = json.dumps(sent)
    assert all(json.dumps(record["object"]) in everything for record in found)


@pytest.mark.parametrize("kind", BUILDERS)
def test_answers_stand_in_the_ontologys_order_and_words(kind: str, ontology: Ontology) -> None:
    """The SDK sends them in reverse; the records have them as the ontology has them."""
    sent = build(kind, ontology).to_encord_dict()
    names = {
        attribute.feature_node_hash: attribute.name
        for thing in (*ontology.structure.objects, *ontology.structure.classifications)
        for attribute in all_attributes(thing)
    }
    order = list(names)
    for record in objects(sent, ontology=ontology.structure.to_dict()):
        for answers in (record["attributes"], record["dynamic_attributes"]):
            hashes = [answer["feature_hash"] for answer in answers]
            assert hashes == sorted(hashes, key=order.index)
            assert [answer["name"] for answer in answers] == [names[feature] for feature in hashes]


@pytest.mark.parametrize("kind", BUILDERS)
def test_classifications_are_the_sdks(kind: str, ontology: Ontology) -> None:
    """Placement, answers, and frames one by one."""
    row = build(kind, ontology)
    sent = row.to_encord_dict()
    row.from_labels_dict(json.loads(json.dumps(sent)))
    instances = {one.classification_hash: one for one in row.get_classification_instances()}
    structure = ontology.structure.to_dict()
    found = classifications(sent, ontology=structure)
    assert {record["classification"]["classificationHash"] for record in found} == set(instances)
    for record in found:
        instance = instances[record["classification"]["classificationHash"]]
        assert record["ranges"] == [[span.start, span.end] for span in instance.range_list]
        assert answered(record["answers"]) == sdk_answers(instance)[0]
    frames = Counter(
        record["classification"]["classificationHash"]
        for record in classifications(sent, ontology=structure, format=PER_FRAME)
        if record["frame"] is not None
    )
    assert frames == {
        name: len(one.get_annotations()) for name, one in instances.items() if one.get_annotations()
    }


PER_FRAME = Format(emit=EVERYTHING.emit, per_frame=True)
