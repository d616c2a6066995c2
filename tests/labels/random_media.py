"""Data at random for label rows at random: what the listing and an empty label row say, and shapes."""

from random import Random
from typing import Any

from encord.objects import Shape
from encord.objects.bitmask import BitmaskCoordinates
from encord.objects.coordinates import (
    BoundingBoxCoordinates,
    CircleCoordinates,
    Cuboid2DIsometricCoordinates,
    Cuboid2DPerspectiveCoordinates,
    CuboidCoordinates,
    EllipseCoordinates,
    PointCoordinate,
    PointCoordinate3D,
    PolygonCoordinates,
    PolylineCoordinates,
    RotatableBoundingBoxCoordinates,
    SkeletonCoordinate,
    SkeletonCoordinates,
)
from encord.objects.frames import Range
from encord.objects.html_node import HtmlNode, HtmlRange

Json = dict[str, Any]

SECOND = 1_000_000_000  # nanoseconds
WIDTH, HEIGHT = 30, 20
SIZE = {"width": WIDTH, "height": HEIGHT}
# Shapes on pictures, in scenes, and as events on a time line.
FLAT = (
    Shape.BOUNDING_BOX, Shape.ROTATABLE_BOUNDING_BOX, Shape.POLYGON, Shape.POLYLINE, Shape.POINT,
    Shape.BITMASK, Shape.CUBOID_2D, Shape.CIRCLE, Shape.ELLIPSE, Shape.SKELETON,
)  # fmt: skip
DEEP = (Shape.CUBOID, Shape.POINT, Shape.POLYLINE)
EVENTS = (Shape.CUBOID, Shape.POINT, Shape.BOUNDING_BOX, Shape.CIRCLE, Shape.ELLIPSE, Shape.POLYLINE)
MOVING = (Shape.CUBOID, Shape.POINT)  # may be interpolated

MEDIA = {
    "image": ("image", "image/png"),
    "img_group": ("img_group", "image/png"),
    "video": ("video", "video/mp4"),
    "dicom": ("dicom", "application/dicom"),
    "nifti": ("nifti", "application/nifti"),
    "pdf": ("pdf", "application/pdf"),
    "audio": ("audio", "audio/mpeg"),
    "plain_text": ("plain_text", "text/plain"),
    "html": ("plain_text", "text/html"),
    "time_series": ("time_series", "text/csv"),
    "root_series": ("time_series", "text/csv"),
    "group": ("group", "application/json"),
    "layers": ("image", "image/png"),
    "scene": ("scene", "application/json"),
    "events": ("scene", "application/mcap"),
    "channels": ("scene", "application/mcap"),
}
# The types of space with frames, and those with ranges.
FRAMED = ("video", "image_sequence", "image", "medical_file", "medical_stack", "pdf")
RANGED = ("audio", "text", "html", "time_series")


def uuid(dice: Random) -> str:
    bits = f"{dice.getrandbits(128):032x}"
    return f"{bits[:8]}-{bits[8:12]}-4{bits[13:16]}-8{bits[17:20]}-{bits[20:]}"


def listed(kind: str, dice: Random) -> Json:
    """The listing's item of a data unit with a label row."""
    data_type, _ = MEDIA[kind]
    frames = {"image": 1, "layers": 1, "events": 0, "channels": 0}.get(kind, dice.randint(3, 12))
    item: Json = {
        "label_hash": uuid(dice),
        "data_hash": uuid(dice),
        "dataset_hash": uuid(dice),
        "dataset_title": f"Dataset {dice.randint(1, 3)}",
        "data_title": f"{kind}-{dice.randint(1, 999)}.bin",
        "data_type": data_type.upper(),
        "data_link": None,
        "label_status": "LABEL_IN_PROGRESS",
        "annotation_task_status": "QUEUED",
        "number_of_frames": frames,
        "branch_name": dice.choice(("main", "other")),
        "created_at": "2025-02-03 04:05:06",
        "last_edited_at": "2025-03-04 05:06:07",
        "spaces": _spaces(kind, dice, frames),
    }
    if kind in ("image", "layers", "video", "dicom", "nifti"):
        item |= SIZE
    if kind == "video":
        item |= {"frames_per_second": 5.0, "duration": frames / 5}
    if kind == "img_group":
        item["images_data"] = [
            {
                "index": at,
                "title": f"{at}.png",
                "file_type": "image/png",
                "image_hash": _image(item, at),
                **SIZE,
            }
            for at in range(frames)
        ]
    if kind == "audio":
        item |= {"duration": 60.0, **_sound()}
    return item


def empty_row(kind: str, item: Json) -> Json:
    """A label row for `item` that holds no label."""
    data_type, mime_type = MEDIA[kind]
    copied = (
        "label_hash", "data_hash", "dataset_hash", "dataset_title", "data_title", "label_status",
        "annotation_task_status", "branch_name", "created_at", "last_edited_at",
    )  # fmt: skip
    row = {key: item[key] for key in copied} | {
        "data_type": data_type,
        "is_shadow_data": False,
        "object_answers": {},
        "classification_answers": {},
        "object_actions": {},
        "data_units": {},
        "spaces": {space: _in_row(info) for space, info in item["spaces"].items()},
    }
    unit = {
        "data_hash": item["data_hash"], "data_title": item["data_title"], "data_link": "https://there.test/1",
        "data_type": mime_type, "data_sequence": 0, "labels": {},
    }  # fmt: skip
    if kind not in ("pdf", "group", "scene", "events", "channels"):
        unit |= SIZE
    if kind == "audio":
        unit |= _sound()
    if kind == "video":
        unit |= {"data_fps": item["frames_per_second"], "data_duration": item["duration"]}
    if kind == "dicom":
        unit["metadata"] = {"patient_id": "p", "study_uid": "1.2", "series_uid": "1.2.3"}
        unit["labels"] = {str(frame): {"objects": [], "metadata": _slice(frame)} for frame in range(3)}
    units = [unit]
    if kind == "img_group":
        units = [
            unit
            | {"data_hash": _image(item, at), "data_title": f"{at}.png", "data_sequence": str(at)}
            | {"width": WIDTH, "height": HEIGHT}
            for at in range(item["number_of_frames"])
        ]
    row["data_units"] = {each["data_hash"]: each for each in units}
    if kind in ("events", "channels"):
        row["scene"] = {"isContinuous": True}
    return row


def _image(item: Json, at: int) -> str:
    """The hash of an image of a group."""
    return f"{item['data_hash'][:-2]}{at:02}"


def _sound() -> Json:
    return {"audio_codec": "mp3", "audio_sample_rate": 8000, "audio_bit_depth": 8, "audio_num_channels": 1}


def _slice(frame: int) -> Json:
    return {
        "dicom_instance_uid": f"1.2.3.{frame}", "multiframe_frame_number": None,
        "file_uri": f"https://there.test/{frame}.dcm", **SIZE,
    }  # fmt: skip


def _in_row(info: Json) -> Json:
    flat = info["space_type"] in ("point_cloud", "scene_image")
    return info | {"labels": {"objects": [], "classifications": []} if flat else {}}


def _spaces(kind: str, dice: Random, frames: int) -> Json:
    if kind == "root_series":
        return {"root": {"space_type": "time_series", "root_info": {"file_name": "root.csv"}}}
    if kind == "layers":
        root = {"space_type": "image", "root_info": {"file_name": "root.png"}, **SIZE}
        return {"root": root} | {uuid(dice): _space("image", name, dice) for name in ("depth", "thermal")}
    if kind == "group":
        types = [*dice.sample(FRAMED, 2), "video", *dice.sample(RANGED, 2), "audio"]
        return {uuid(dice): _space(name, f"{name}-{at}", dice) for at, name in enumerate(types)}
    if kind == "scene":
        images = {
            f"left/{at}.jpg": {
                "space_type": "scene_image",
                "scene_info": {"stream_id": "left", "event_index": at, "uri": f"left/{at}.jpg"}
                | ({"start_frame": 40 + at} if dice.random() < 0.5 else {}),
                **SIZE,
            }
            for at in range(3)
        }
        cloud = {"stream_id": "lidar", "event_index": 0, "uri": "lidar/1.pcd"}
        return images | {"lidar/1.pcd": {"space_type": "point_cloud", "scene_info": cloud}}
    return {}


def _space(space_type: str, layout_key: str, dice: Random) -> Json:
    frames = dice.randint(2, 9)
    link = f"https://there.test/{layout_key}"
    child = {"layout_key": layout_key, "file_name": f"{layout_key}.bin", "data_link": link}
    slices = range(frames)
    more: Json = {
        "video": {"number_of_frames": frames, "data_duration": frames / 4, "data_fps": 4.0, **SIZE},
        "image": SIZE,
        "image_sequence": {
            "number_of_frames": frames,
            "frames": [
                {
                    "data_uuid": uuid(dice), "data_type": "image/png", "data_sequence": at,
                    "data_link": f"{link}/{at}", "data_title": f"{at}.png",
                }
                for at in slices
            ],
            **SIZE,
        },
        "medical_file": {"number_of_frames": frames, **SIZE},
        "medical_stack": {
            "frames": [SIZE | {"instance_uid": f"1.2.{at}", "file_name": f"{at}.dcm"} for at in slices]
        },
        "pdf": {"number_of_pages": frames},
        "audio": {"duration_ms": 60_000},
    }.get(space_type, {})  # fmt: skip
    return {"space_type": space_type, "child_info": child, **more}


def ranges(dice: Random, end: int = 10_000) -> list[Range]:
    """One to three ranges that do not touch."""
    bounds = sorted(dice.sample(range(0, end, 3), 2 * dice.randint(1, 3)))
    return [Range(first, last) for first, last in zip(bounds[::2], bounds[1::2], strict=True)]


def html_ranges(dice: Random) -> list[HtmlRange]:
    """Ranges of nodes."""

    def node(path: str) -> HtmlNode:
        return HtmlNode(xpath=f"/html[1]/{path}[{dice.randint(1, 9)}]/text()[1]", offset=dice.randint(0, 99))

    return [HtmlRange(start=node("p"), end=node("q")) for _ in range(dice.randint(1, 2))]


def coordinates(shape: Shape, dice: Random, *, deep: bool = False) -> Any:
    """Where an object of this shape is; `deep`: in three dimensions."""
    x, y, size, angle = dice.random() / 2, dice.random() / 2, dice.random() / 4 + 0.01, dice.random() * 90
    points = [PointCoordinate(x, y), PointCoordinate(x + size, y), PointCoordinate(x + size, y + size)]
    points.append(PointCoordinate(x, y + size))
    match shape:
        case Shape.BOUNDING_BOX:
            return BoundingBoxCoordinates(height=size, width=size / 2, top_left_x=x, top_left_y=y)
        case Shape.ROTATABLE_BOUNDING_BOX:
            return RotatableBoundingBoxCoordinates(
                height=size, width=size / 2, top_left_x=x, top_left_y=y, theta=angle
            )
        case Shape.POLYGON:
            return PolygonCoordinates(polygons=[[points], [points[1:]]] if x < 0.25 else [[points]])
        case Shape.POLYLINE if deep:
            return PolylineCoordinates([PointCoordinate3D(x * at, y, size) for at in range(2, 5)])
        case Shape.POLYLINE:
            return PolylineCoordinates(points)
        case Shape.POINT:
            return PointCoordinate3D(x, y, size) if deep else PointCoordinate(x, y)
        case Shape.BITMASK:
            return BitmaskCoordinates({"top": 0, "left": 0, "rleString": "hb0", **SIZE})
        case Shape.CUBOID:
            return CuboidCoordinates(position=(x, y, size), orientation=(0.1, y, 0.2), size=(size, 1.0, 2.0))
        case Shape.CUBOID_2D if x < 0.25:
            return Cuboid2DIsometricCoordinates(front=points, offset=PointCoordinate(size, -size))
        case Shape.CUBOID_2D:
            vanishing = PointCoordinate(0.5, 0.5)
            return Cuboid2DPerspectiveCoordinates(front=points, vanishing_point=vanishing, scale_ratio=0.5)
        case Shape.CIRCLE:
            return CircleCoordinates(center_x=x, center_y=y, radius=size)
        case Shape.ELLIPSE:
            return EllipseCoordinates(center_x=x, center_y=y, rx=size, ry=size / 2, theta=angle)
        case Shape.SKELETON:
            joints = [
                SkeletonCoordinate(x=x + at / 9, y=y, name=name, feature_hash=f"point{at}", color="#00000")
                for at, name in enumerate(("nose", "tail"))
            ]
            return SkeletonCoordinates(values=joints, name="The skeleton")
    raise AssertionError(shape)
