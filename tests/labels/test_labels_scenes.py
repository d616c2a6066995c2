"""Images of scenes: which of them the key of some labels names."""

import pytest

from tests.labels.rows import Json, flat, label, objects, row, unit


def scene(*images: tuple[str, str, int]) -> Json:
    """Spaces of images: id, stream, event index."""
    return {
        space: {
            "space_type": "scene_image",
            "scene_info": {"stream_id": stream, "event_index": event, "uri": space},
            "labels": flat(),
        }
        for space, stream, event in images
    }


@pytest.mark.parametrize(
    ("key", "space_id"),
    [
        ("left#0", "left/0.jpg"),
        ("#0", "unnamed/0.jpg"),  # exactly the stream without a name, though left has an event 0 as well
        ("#7", "right/7.jpg"),  # no unnamed stream has it, and one image only
        ("#1", "#1"),  # of left or of right: nobody can tell
        ("left/0.jpg", "left/0.jpg"),
    ],
)
def test_a_key_names_an_image(key: str, space_id: str) -> None:
    """Stream and number, exactly; a number alone where one image has it; else a space of its own."""
    spaces = scene(
        ("left/0.jpg", "left", 0), ("left/1.jpg", "left", 1), ("right/1.jpg", "right", 1),
        ("right/7.jpg", "right", 7), ("unnamed/0.jpg", "", 0),
    )  # fmt: skip
    [found] = objects(row("scene", unit({key: flat(label())}), spaces=spaces))
    assert found["space_id"] == space_id
