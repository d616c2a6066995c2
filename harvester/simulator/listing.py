"""The listing: label row metadata with the filters of the list call, made item by item."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import orjson

from harvester.simulator.bodies import Bodies
from harvester.simulator.dates import microseconds
from harvester.simulator.faults import RowTrouble
from harvester.simulator.identity import CHILD, DATA, ITEM, LABEL, SPACE, TASK, UNIT
from harvester.simulator.metadata import client_metadata
from harvester.simulator.ontology import Json
from harvester.simulator.recipes import RECIPES
from harvester.simulator.shapes import HEIGHT, WIDTH
from harvester.simulator.state import DATASETS, PROGRESS, STAGES, RowFacts, State
from harvester.simulator.template import Template, hole, raw_hole

LINK = b"https://storage.example.com/simulated/"
SHADOW = 63  # the variant whose rows are a benchmark's shadow data: one row in 64
PARTS = {
    "unit": UNIT,
    "space": SPACE,
    "child": CHILD,
    "item": ITEM,
}  # holes that are numbered, and what they name
CHILD_TYPES = {
    "video": "VIDEO", "image_sequence": "IMG_GROUP", "image": "IMAGE", "medical_file": "NIFTI",
    "medical_stack": "DICOM", "pdf": "PDF", "audio": "AUDIO", "text": "PLAIN_TEXT", "html": "PLAIN_TEXT",
    "time_series": "TIME_SERIES",
}  # fmt: skip
NO_LINK = ("img_group", "dicom", "group", "scene")  # data types whose medium has no link of its own


def like(pattern: str) -> re.Pattern[str]:
    """Return a pattern of SQL LIKE as a regular expression; a backslash escapes `%` and `_`."""
    parts = re.findall(r"\\.|.", pattern, re.DOTALL)
    meaning = {"%": ".*", "_": "."}
    return re.compile("".join(meaning.get(part, re.escape(part[-1])) for part in parts), re.DOTALL)


Sign = Callable[[str], bytes]


class Query:
    """The payload of a list call. Raises ValueError where a filter cannot be read."""

    def __init__(self, payload: Mapping[str, Any], branches: tuple[str, ...]) -> None:
        def get(name: str) -> Any:
            return payload.get(name)

        self.labels: list[str] | None = get("label_hashes")
        self.data: list[str] | None = get("data_hashes")
        self.metadata = bool(get("include_client_metadata"))
        self.shape = (
            self.metadata,
            bool(get("include_images_data")),
            payload.get("include_workflow_graph_node", True) is not False,
        )
        self.children = bool(get("include_children"))
        self.branch_numbers = [
            number
            for number, name in enumerate(branches)
            if get("include_all_label_branches") or name == (get("branch_name") or "main")
        ]
        self._unlabelled = payload.get("include_uninitialised_labels", True) is not False
        self._statuses = None if get("label_statuses") is None else frozenset(payload["label_statuses"])
        self._before = microseconds(payload["edited_before"]) if get("edited_before") else None
        self._after = microseconds(payload["edited_after"]) if get("edited_after") else None
        self._shadow = {"SHADOW_DATA": True, "NOT_SHADOW_DATA": False}.get(get("shadow_data_state") or "")
        self._titles = self._texts(get("data_title_eq"), get("data_title_like"))
        nodes = self._texts(get("workflow_graph_node_title_eq"), get("workflow_graph_node_title_like"))
        self._stages = [all(test.fullmatch(title) for test in nodes) for title, _ in STAGES]

    @staticmethod
    def _texts(equal: str | None, pattern: str | None) -> list[re.Pattern[str]]:
        return ([re.compile(re.escape(equal))] if equal is not None else []) + (
            [like(pattern)] if pattern is not None else []
        )

    def takes(self, row: RowFacts, state: State, title: str | None = None) -> bool:
        """Return whether a row passes the filters; with `title`, as if that were its title."""
        task_status, _, stage = PROGRESS[row.progress]
        if not self._stages[stage] or (self._statuses is not None and task_status not in self._statuses):
            return False
        if not row.labelled and not (self._unlabelled and self._before is None and self._after is None):
            return False
        if self._before is not None and state.edited(row) >= self._before:
            return False
        if self._after is not None and state.edited(row) < self._after:
            return False
        if self._shadow is not None and is_shadow(row) != self._shadow:
            return False
        if not self._titles:
            return True
        title = state.title(row) if title is None else title
        return all(test.fullmatch(title) for test in self._titles)


def is_shadow(row: RowFacts) -> bool:
    return row.variant == SHADOW


class Listing:
    """The label row metadata of a project."""

    def __init__(self, state: State, bodies: Bodies) -> None:
        self._state = state
        self._bodies = bodies
        self._template = lru_cache(maxsize=4096)(self._make)

    def rows(self, query: Query) -> Iterator[RowFacts]:
        """Yield the rows that pass a query, in the order of their numbers or of the hashes in the query."""
        state = self._state
        for number, branch in self._candidates(query, query.branch_numbers):
            row = state.row(number, branch)
            if row is not None and query.takes(row, state):
                yield row

    def _candidates(self, query: Query, branches: Sequence[int]) -> Iterator[tuple[int, int]]:
        state = self._state
        if query.labels is not None:
            data = None if query.data is None else frozenset(query.data)
            for text in dict.fromkeys(query.labels):
                row = state.find_label(text)
                if row and (data is None or state.hashes.text(DATA, row.number) in data):
                    yield row.number, row.branch
        elif query.data is not None:
            found = (state.find_data(text) for text in dict.fromkeys(query.data))
            yield from ((row.number, branch) for row in found if row for branch in branches)
        elif branches == [0]:
            yield from ((number, 0) for number in state.numbers)
        else:
            yield from ((number, branch) for number in state.numbers for branch in branches)

    def items(self, query: Query) -> Iterator[bytes]:
        """Yield the JSON of each item."""
        for row in self.rows(query):
            yield self._item(row, query)
            if query.children and RECIPES[row.recipe].data_type == "group":
                yield from self._children(row, query)

    def again(self, query: Query, trouble: Callable[[str], RowTrouble | None]) -> Iterator[bytes]:
        """Yield rows that are listed a second time, under another title or on the next branch.

        The filters of the query hold for the second title or branch as they do for the first.
        """
        state = self._state
        for number, branch in self._candidates(query, range(len(state.branches))):
            row = state.row(number, branch)
            if row is None or not row.labelled:
                continue
            other, title = branch, state.title(row)
            match trouble(state.hashes.text(LABEL, number, branch)):
                case "twice_by_title":
                    title = f"copy of {title}"
                case "twice_by_branch":
                    other = (branch + 1) % len(state.branches)
                case _:
                    continue
            if query.takes(row, state, title) and (query.labels or other in query.branch_numbers):
                second = {"title": orjson.dumps(title)[1:-1], "branch": state.branches[other].encode()}
                yield self._item(row, query, **second)

    def _item(self, row: RowFacts, query: Query, **others: bytes) -> bytes:
        template = self._template(row.recipe, row.variant, row.labelled, query.shape)
        if not query.metadata:
            return self.fill(template, row, **others)
        edited = self._state.client_metadata.get(row.number)
        metadata = orjson.dumps(client_metadata(row)) if edited is None else edited
        return self.fill(template, row, client_metadata=metadata, **others)

    def _make(self, recipe: int, variant: int, labelled: bool, shape: tuple[bool, bool, bool]) -> Template:
        kind, media = RECIPES[recipe], self._bodies.media(recipe, variant)
        with_metadata, images_data, node = shape
        made: Json = {
            "label_hash": hole("label_hash"),
            "created_at": hole("created_at"),
            "last_edited_at": hole("last_edited_at"),
            "branch_name": hole("branch"),
            "data_hash": hole("data_hash"),
            "dataset_hash": hole("dataset_hash"),
            "dataset_title": hole("dataset_title"),
            "data_title": hole("title"),
            "data_type": kind.data_type.upper(),
            "data_link": None if kind.data_type in NO_LINK else hole("link"),
            "spaces": {},
            "label_status": hole("label_status"),
            "annotation_task_status": hole("task_status"),
            "is_shadow_data": variant == SHADOW,
            "task_uuid": hole("task_uuid"),
            "priority": 0.5,
            "backing_item_uuid": hole("item_uuid"),
            "is_valid": True,
        } | media
        if node:
            made["workflow_graph_node"] = {"uuid": hole("stage_uuid"), "title": hole("stage_title")}
        if with_metadata:
            made["client_metadata"] = raw_hole("client_metadata")
        if images_data and kind.data_type == "img_group":
            made["images_data"] = [_image(number) for number in range(media["number_of_frames"])]
        if not labelled:
            made |= {"label_hash": (None, "")[variant % 2], "created_at": None, "last_edited_at": None}
            if variant % 4 == 3:
                del made["label_hash"]
        return Template(made)

    def _children(self, row: RowFacts, query: Query) -> Iterator[bytes]:
        """Yield the data units of a group, which have no label rows of their own."""
        for place, space in enumerate(self._bodies.media(row.recipe, row.variant)["spaces"].values()):
            yield self.fill(self._child(place, space["space_type"], space["child_info"]["file_name"]), row)

    @staticmethod
    def _child(place: int, space_type: str, title: str) -> Template:
        return Template(
            {
                "label_hash": None,
                "branch_name": "main",
                "data_hash": hole(f"child{place}"),
                "backing_item_uuid": hole(f"item{place + 1}"),
                "group_hash": hole("data_hash"),
                "dataset_hash": hole("dataset_hash"),
                "dataset_title": hole("dataset_title"),
                "data_title": title,
                "data_type": CHILD_TYPES[space_type],
                "data_link": None,
                "spaces": None,
                "label_status": "NOT_LABELLED",
                "annotation_task_status": None,
                "number_of_frames": 1,
            }
        )

    def fill(self, template: Template, row: RowFacts, sign: Sign | None = None, /, **others: bytes) -> bytes:
        """Return the JSON of a row's listing item or label row.

        Args:
            sign: returns the signed URL of the row's file with a suffix; without it, links are not signed.
            others: values for holes that the row's facts do not fill.
        """
        values = self._values(row) | others
        for name, suffix in template.signed:
            values[name] = sign(suffix) if sign else values["link"] + suffix.encode()
        for name, kind, part in template.parts:
            values[name] = self._state.hashes.make(PARTS[kind], row.number, part)
        return template.fill(values)

    def _values(self, row: RowFacts) -> dict[str, bytes]:
        """Return the values for the holes of a row's listing item and label row."""
        state, hashes, number = self._state, self._state.hashes, row.number
        task_status, label_status, stage = PROGRESS[row.progress]
        created, edited = state.dates(row)
        dataset = row.bits % len(DATASETS)
        data_hash = hashes.make(DATA, number)
        return {
            "label_hash": hashes.make(LABEL, number, row.branch),
            "data_hash": data_hash,
            "branch": state.branches[row.branch].encode(),
            "created_at": created,
            "last_edited_at": edited,
            "dataset_hash": state.datasets[dataset],
            "dataset_title": DATASETS[dataset].encode(),
            "title": state.title_bytes(row),
            "link": LINK + data_hash,
            "label_status": label_status.encode(),
            "task_status": task_status.encode(),
            "stage_uuid": state.stages[stage],
            "stage_title": STAGES[stage][0].encode(),
            "task_uuid": hashes.make(TASK, number, row.branch),
            "item_uuid": hashes.make(ITEM, number),
        }


def _image(number: int) -> Json:
    """Return one entry of `images_data`, with exactly the keys that the SDK accepts."""
    return {
        "index": number,
        "title": f"{hole('title')}/{number:03}.jpg",
        "file_type": "image/jpeg",
        "height": HEIGHT,
        "width": WIDTH,
        "image_hash": hole(f"unit{number}"),
    }
