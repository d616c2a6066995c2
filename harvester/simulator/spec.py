"""The specification of a simulated project."""

import msgspec


class WorldSpec(msgspec.Struct, frozen=True):
    """A project to simulate. The same specification always gives the same bytes.

    Attributes:
        rows: data units of the project, each with one label row on the main branch.
        seed: of all random choices.
        title: of the project.
        objects: mean number of objects of a label row; each may stand on several frames.
        objects_per_row: the exact number of objects in every label row.
        mix: `all`, or the kinds of rows (see `recipes.RECIPES`; `all` may be one of several), in their usual
            proportions. Not in `all`, and as often as its rarest kinds: `scene_images` (images whose labels
            stand under three kinds of keys), `recording` (MCAP: events, channels, point clouds), `open_scene`
            (objects whose events never end), and `odd_image`, `odd_group`, `dicom_study`.
        shapes: only objects of these shapes.
        unlabelled: share of rows that have no label row yet.
        reviews: share of objects that have been reviewed.
        branches: further branches; a quarter of the labelled rows has a label row of its own on each.
        large_row_bytes: row 0 is an image, its label row padded with boxes to exactly this number of bytes.
        archived: features of the ontology that are archived from the start, named as in `OntologyEdit.node`;
            true: those of `ontology_edits.ARCHIVED`. Labels of archived objects and classifications are sent
            only by a bundled call that asks for them with `include_archived`.
        video_frames: the exact number of frames of the video of every video row. Encoding takes 5 ms a frame.
        variable_frame_rate: frames of videos are shown for unequal times.
        odd: whether rows have the edge cases of real projects (see `edge_cases.EDGE_CASES`).
    """

    rows: int = 5000
    seed: int = 1
    title: str = "Demo street scenes"
    objects: float = 6.0
    objects_per_row: int | None = None
    mix: str | tuple[str, ...] = "all"
    shapes: tuple[str, ...] | None = None
    unlabelled: float = 0.1
    reviews: float = 0.5
    branches: tuple[str, ...] = ("model-predictions",)
    large_row_bytes: int = 0
    archived: bool | tuple[str, ...] = False
    odd: bool = True
    video_frames: int | None = None
    variable_frame_rate: bool = False
