"""What is stored of each data unit: its storage item, the items inside it, and their files.

A file's path is the link of its row, and then a suffix: as the label row has them, where it has them.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from harvester.simulator.edge_cases import EdgeCases
from harvester.simulator.identity import blend
from harvester.simulator.ontology import Json
from harvester.simulator.recipes import RECIPES
from harvester.simulator.shapes import HEIGHT, WIDTH
from harvester.simulator.spec import WorldSpec
from harvester.simulator.template import hole

INSIDE = 16  # items inside an item that is itself inside one are numbered from a multiple of this


class StoredFile(NamedTuple):
    """A file, by its format and the arguments that it is made with."""

    suffix: str
    format: str
    arguments: tuple[Any, ...] = ()


class StoredItem(NamedTuple):
    """A storage item. `part` tells the items of one row apart; its own is 0.

    `label`: its name; one that is empty or begins with `/` follows the title of the row.
    `file`: None for what is only made of others. `scene`: the streams of files of a scene, by their names.
    """

    part: int
    item_type: str
    label: str
    file: StoredFile | None
    facts: Json = {}  # noqa: RUF012 - never changed
    children: "tuple[StoredItem, ...]" = ()
    scene: dict[str, list[StoredFile]] | None = None
    key: str | None = None  # in the layout of its group

    def within(self) -> "Iterator[StoredItem]":
        """Yield this item and all items inside it."""
        yield self
        for child in self.children:
            yield from child.within()

    def files(self) -> Iterator[StoredFile]:
        """Yield the files of this item and of all items inside it."""
        for item in self.within():
            if item.file is not None:
                yield item.file
            for files in (item.scene or {}).values():
                yield from files


FULL = {"width": WIDTH, "height": HEIGHT}


def image(part: int, label: str, suffix: str, number: int, format: str = "jpeg") -> StoredItem:
    return StoredItem(part, "image", label, StoredFile(suffix, format, (number, WIDTH, HEIGHT)), FULL)


def slices(part: int, item_type: str, label: str, files: list[StoredFile], **more: Any) -> StoredItem:
    """Return a DICOM series of these files."""
    first = part * INSIDE + 1 if part else 1
    children = tuple(
        StoredItem(
            first + number,
            "dicomFile",
            file.suffix.rpartition("/")[2],
            file,
            {"width": 512, "height": 512, "dicomInstanceUid": file.arguments[1]},
        )
        for number, file in enumerate(files)
    )
    return StoredItem(part, item_type, label, None, {"frameCount": len(files)}, children, **more)


class Catalogue:
    """The storage items of all rows, by recipe and variant."""

    def __init__(
        self, spec: WorldSpec, media: Callable[[int, int], Json], edge_cases: Callable[[int], EdgeCases]
    ) -> None:
        self._spec = spec
        self._media, self._edge_cases = media, edge_cases
        self._made: dict[tuple[int, int], StoredItem] = {}

    def item(self, recipe: int, variant: int) -> StoredItem:
        """Return the item that backs a row."""
        key = recipe, variant
        if key not in self._made:
            self._made[key] = self._item(recipe, variant)
        return self._made[key]

    def _item(self, recipe: int, variant: int) -> StoredItem:
        media, kind = self._media(recipe, variant), RECIPES[recipe]
        match kind.data_type:
            case "image":
                return image(0, "", "", variant, "png" if kind.suffix == "png" else "jpeg")
            case "video":
                return self._video(0, "", "", media["number_of_frames"], media["frames_per_second"])
            case "img_group":
                count = media["number_of_frames"] + self._edge_cases(variant)["same_sequence"]
                parts = [f"/{number:03}.jpg" for number in range(count)]
                images = tuple(image(1 + n, suffix, suffix, n) for n, suffix in enumerate(parts))
                return StoredItem(0, "imageGroup", "", None, {"frameCount": count}, images)
            case "dicom":
                files = [
                    StoredFile(f"/{number}.dcm", "dicom", (number, f"1.2.826.0.1.{number}"))
                    for number in range(media["number_of_frames"])
                ]
                return slices(0, "dicomSeries", "", files)
            case "group":
                return self._group(media)
            case "scene" if "spaces" in media:
                return _scene(media)
            case "dicom_study":
                return StoredItem(0, "group", "", None)
        return _single(kind.name, media)

    def _video(self, part: int, label: str, suffix: str, frames: int, rate: float, **more: Any) -> StoredItem:
        irregular = blend(self._spec.seed, 5, frames) if self._spec.variable_frame_rate else None
        file = StoredFile(suffix, "mp4", (frames, rate, WIDTH, HEIGHT, irregular))
        facts = FULL | {"frameCount": frames, "fps": rate, "duration": round(frames / rate, 3)}
        return StoredItem(part, "video", label, file, facts, **more)

    def _group(self, media: Json) -> StoredItem:
        children = [self._child(number, info) for number, info in enumerate(media["spaces"].values())]
        return StoredItem(0, "group", "", None, {}, tuple(children))

    def _child(self, number: int, info: Json) -> StoredItem:
        """Return the item of a space of a group."""
        part, suffix = number + 1, f"/{number}"
        child = info["child_info"]
        named: dict[str, Any] = {"key": child["layout_key"]}
        label, kind = child["file_name"], info["space_type"]
        if kind == "video":
            return self._video(part, label, suffix, info["number_of_frames"], info["data_fps"], **named)
        if kind == "image":
            return image(part, label, suffix, number)._replace(**named)
        if kind == "image_sequence":
            count = info["number_of_frames"]
            first = part * INSIDE + 1
            images = tuple(image(first + n, f"{n}.jpg", f"{suffix}/{n}.jpg", n) for n in range(count))
            return StoredItem(part, "imageGroup", label, None, {"frameCount": count}, images, **named)
        if kind == "medical_stack":
            files = [
                StoredFile(f"{suffix}/{each['file_name']}", "dicom", (n, each["instance_uid"]))
                for n, each in enumerate(info["frames"])
            ]
            return slices(part, "dicomSeries", label, files, **named)
        item_type, format, arguments, facts = _simple(kind, info)
        return StoredItem(part, item_type, label, StoredFile(suffix, format, arguments), facts, **named)


def _simple(kind: str, media: Json) -> tuple[str, str, tuple[Any, ...], Json]:
    """Return item type, format, arguments and facts of a medium that is a single file."""
    frames = media.get("number_of_frames")
    match kind:
        case "nifti" | "medical_file":
            size = {"width": 512, "height": 512, "frameCount": frames}
            return "nifti", "nifti", (frames,), size
        case "pdf":
            pages = media.get("number_of_pages") or frames
            return "pdf", "pdf", (pages,), {"frameCount": pages}
        case "audio" if "duration_ms" in media:
            return "audio", "wav", (media["duration_ms"] / 1000,), _sound(30.0, 8000, "pcm_u8", 8, 1)
        case "audio":
            rate, seconds = media["audio_sample_rate"], media["duration"]
            return "audio", "mp3", (seconds, rate), _sound(seconds, rate, "mp3", 16, 2)
        case "time_series":
            return "timeseries", "csv", (frames or 600,), {}
        case "html":
            return "plainText", "html", (), {}
    return "plainText", "text", (), {}


def _sound(seconds: float, rate: int, codec: str, depth: int, channels: int) -> Json:
    return {
        "duration": seconds,
        "audioSampleRate": rate,
        "audioCodec": codec,
        "audioBitDepth": depth,
        "audioNumChannels": channels,
    }


def _single(kind: str, media: Json) -> StoredItem:
    if RECIPES_OF_EVENTS.get(kind):
        return StoredItem(0, "scene", "", StoredFile("", "mcap"))
    item_type, format, arguments, facts = _simple(kind, media)
    return StoredItem(0, item_type, "", StoredFile("", format, arguments), facts)


RECIPES_OF_EVENTS = {recipe.name: recipe.data_type == "scene" for recipe in RECIPES}


def _scene(media: Json) -> StoredItem:
    """Return a scene of images and point clouds."""
    streams: dict[str, list[StoredFile]] = {}
    for number, info in enumerate(media["spaces"].values()):
        scene = info["scene_info"]
        suffix = "/" + scene["uri"].removeprefix(hole("link")).removeprefix("/")
        picture = info["space_type"] == "scene_image"
        file = StoredFile(suffix, "jpeg", (number, WIDTH, HEIGHT)) if picture else StoredFile(suffix, "pcd")
        streams.setdefault(scene["stream_id"], []).append(file)
    return StoredItem(0, "scene", "", None, {}, (), streams)
