"""How rows of each data type are made."""

from collections.abc import Callable
from typing import NamedTuple

from harvester.simulator import framed, ranged, recordings, scenes, spaces, unloadable
from harvester.simulator.edge_cases import EdgeCases
from harvester.simulator.framed import Row
from harvester.simulator.labels import Labels
from harvester.simulator.ontology import Json
from harvester.simulator.rng import Rng


class Recipe(NamedTuple):
    """One kind of row. `media` returns what the listing says of the medium; `row` makes its label row.

    `weight`: its share in the mix `all`; kinds of weight 0 are not in it.
    `loads`: whether the SDK can load such rows.
    """

    name: str
    data_type: str
    suffix: str
    weight: int
    media: Callable[[Rng, EdgeCases], Json]
    row: Callable[[Labels, Json], Row]
    loads: bool = True


RECIPES = (
    Recipe("image", "image", "jpg", 8, framed.image_media, framed.image_row),
    Recipe("img_group", "img_group", "jpg", 3, framed.group_media, framed.group_row),
    Recipe("video", "video", "mp4", 4, framed.video_media, framed.video_row),
    Recipe("dicom", "dicom", "dcm", 2, framed.stack_media, framed.dicom_row),
    Recipe("nifti", "nifti", "nii", 1, framed.stack_media, framed.nifti_row),
    Recipe("pdf", "pdf", "pdf", 2, framed.pdf_media, framed.pdf_row),
    Recipe("audio", "audio", "mp3", 2, ranged.audio_media, ranged.audio_row),
    Recipe("time_series", "time_series", "csv", 1, ranged.time_series_media, ranged.time_series_row),
    Recipe("plain_text", "plain_text", "txt", 2, ranged.text_media, ranged.text_row),
    Recipe("html", "plain_text", "html", 1, ranged.html_media, ranged.html_row),
    Recipe("group", "group", "group", 2, spaces.group_media, spaces.group_row),
    Recipe("layers", "image", "png", 1, spaces.layers_media, spaces.layers_row),
    Recipe("scene", "scene", "scene", 1, scenes.grid_media, scenes.grid_row),
    Recipe("event_scene", "scene", "mcap", 1, scenes.event_media, scenes.event_row),
    Recipe("mcap", "scene", "mcap", 1, scenes.event_media, scenes.mcap_row),
    Recipe("odd_image", "image", "jpg", 0, framed.image_media, unloadable.odd_image_row, False),
    Recipe("odd_group", "group", "group", 0, unloadable.odd_group_media, unloadable.odd_group_row, False),
    Recipe("dicom_study", "dicom_study", "study", 0, unloadable.study_media, unloadable.study_row, False),
    Recipe("scene_images", "scene", "scene", 0, recordings.images_media, recordings.images_row),
    Recipe("recording", "scene", "mcap", 0, recordings.recording_media, recordings.recording_row),
    Recipe("open_scene", "scene", "mcap", 0, recordings.recording_media, recordings.open_scene_row, False),
)


def kinds_of(mix: str | tuple[str, ...]) -> tuple[int, ...]:
    """Return the recipes of a mix by number, each `weight` times. Raises ValueError for an unknown name."""
    everything = tuple(recipe.name for recipe in RECIPES if recipe.weight)
    named = (mix,) if isinstance(mix, str) else mix
    wanted = tuple(name for each in named for name in (everything if each == "all" else (each,)))
    numbers = {recipe.name: number for number, recipe in enumerate(RECIPES)}
    unknown = [name for name in wanted if name not in numbers]
    if unknown or not wanted:
        raise ValueError(f"no such kind of row: {', '.join(unknown)}; there are {', '.join(numbers)}")
    return tuple(numbers[name] for name in wanted for _ in range(max(1, RECIPES[numbers[name]].weight)))
