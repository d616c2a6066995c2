"""Label row bodies. A few hundred are made, each when it is first needed, and shared by all rows."""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from harvester.simulator.edge_cases import EdgeCases
from harvester.simulator.identity import blend
from harvester.simulator.labels import Labels, Wanted
from harvester.simulator.ontology import OBJECTS, Json
from harvester.simulator.recipes import RECIPES
from harvester.simulator.rng import Rng
from harvester.simulator.spec import WorldSpec
from harvester.simulator.template import Template, hole

BLANK = -1  # the edition of a label row that was just created: it holds nothing
KEPT = (
    4096  # serialised bodies in the cache; a world has fewer, unless callers filter by many sets of features
)


class Body(NamedTuple):
    """A label row with holes."""

    template: Template
    classifications: Template  # as the v2 call for classifications answers them


class Bodies:
    """Makes bodies, by recipe, variant (medium and edge cases) and edition (labels)."""

    def __init__(self, spec: WorldSpec, make_labels: Callable[..., Labels] = Labels) -> None:
        self._spec = spec
        self._make_labels = make_labels
        self._shapes = spec.shapes or tuple({feature.shape: None for feature in OBJECTS})
        self.body = lru_cache(maxsize=KEPT)(self._body)
        self.media = lru_cache(maxsize=KEPT)(self._media)

    def _media(self, recipe: int, variant: int) -> Json:
        """Return what the listing says of the medium."""
        rng = Rng(blend(self._spec.seed, 1, recipe, variant))
        media, frames = RECIPES[recipe].media(rng, self.edge_cases(variant)), self._spec.video_frames
        if frames is not None and RECIPES[recipe].data_type == "video":
            duration = round(frames / media["frames_per_second"], 3)
            media |= {"number_of_frames": frames, "duration": duration}
        return media

    def edge_cases(self, variant: int | None) -> EdgeCases:
        return EdgeCases(variant if self._spec.odd else None)

    def _body(self, recipe: int, variant: int, edition: int, wanted: Wanted) -> Body:
        kind, media, spec = RECIPES[recipe], self.media(recipe, variant), self._spec
        blank = edition == BLANK
        rng = Rng(blend(spec.seed, 2, recipe, variant, edition + 1))
        count = spec.objects_per_row
        if count is None:
            count = rng.below(int(2 * spec.objects) + 1)
        labels = self._make_labels(
            rng,
            self.edge_cases(None if blank else variant),
            wanted,
            count=0 if blank else count,
            blank=blank,
            shapes=self._shapes,
            reviewed=spec.reviews,
        )
        row = kind.row(labels, media)
        made: Json = {
            "label_hash": hole("label_hash"),
            "branch_name": None if labels.edge_cases["null_branch"] else hole("branch"),
            "created_at": hole("created_at"),
            "last_edited_at": hole("last_edited_at"),
            "dataset_hash": hole("dataset_hash"),
            "dataset_title": hole("dataset_title"),
            "data_title": hole("title"),
            "data_hash": hole("data_hash"),
            "data_type": kind.data_type,
            "is_image_sequence": False if kind.data_type == "img_group" else None,
            "data_units": row.units,
            "object_answers": labels.object_answers,
            "classification_answers": labels.classification_answers,
            "object_actions": labels.object_actions,
            "label_status": hole("label_status"),
            "annotation_task_status": hole("task_status"),
            "is_shadow_data": False,
            "is_valid": True,
            "file_type": media.get("file_type"),
        }
        if labels.edge_cases["empty_spaces"] and "scene" not in row.extra:
            made["spaces"] = {}
        made |= row.extra
        if labels.edge_cases["few_keys"]:
            for key in ("is_valid", "is_shadow_data", "annotation_task_status", "file_type"):
                del made[key]
        return Body(Template(made), Template(_classifications(labels)))


def _classifications(labels: Labels) -> Json:
    """Return a label row's classifications for the v2 call, which has no spaces and no confidence."""
    answers = {}
    for hash, answer in labels.classification_answers.items():
        if answer.get("featureHash"):
            kept = {key: value for key, value in answer.items() if key not in ("spaces", "confidence")}
            filled = [{"manualAnnotation": True} | attribute for attribute in answer["classifications"]]
            answers[hash] = {"range": None} | kept | {"classifications": filled}
    return {
        "labelUuid": hole("label_hash"),
        "dataUuid": hole("data_hash"),
        "dataTitle": hole("title"),
        "branchName": hole("branch"),
        "exportUuid": hole("task_uuid"),
        "exportedAt": "2025-12-01T00:00:00+00:00",
        "classificationAnswers": answers,
    }
