"""``data.yaml`` of YOLO data sets."""

import json
import re
from collections.abc import Iterable, Sequence

from harvester.datasets.classed_objects import ImageClass

# Characters that JSON allows in a text and YAML does not, or not on one line.
_NOT_IN_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
# Keys of the file that are no splits, to Ultralytics.
NOT_SPLITS = frozenset(
    ("path", "names", "nc", "channels", "download", "yaml_file", "kpt_shape", "kpt_names", "flip_idx")
)
_SIDE = re.compile(r"left|right", re.IGNORECASE)
_OTHER = {"left": "right", "right": "left"}


def data_yaml(classes: Sequence[ImageClass], splits: Iterable[str], *, pose: bool) -> str:
    """Return the file. Without splits, train and val are all images, since Ultralytics needs both.

    There is no `path`: then the directory of the file is meant, wherever it is moved.
    """
    lines = [f"{_text(split)}: images/{split}" for split in splits] or ["train: images", "val: images"]
    lines.append("names:" if classes else "names: {}")
    lines += [f"  {number}: {_text(one.name)}" for number, one in enumerate(classes)]
    if pose:
        lines.append(f"kpt_shape: [{most_joints(classes)}, 3]")
        lines.append(f"flip_idx: {json.dumps(flip_idx(classes))}")
        lines.append("kpt_names:")
        for number, one in enumerate(classes):
            if one.skeleton is not None:
                names = ", ".join(_text(joint.name) for joint in one.skeleton.joints)
                lines.append(f"  {number}: [{names}]")
    return "\n".join(lines) + "\n"


def most_joints(classes: Iterable[ImageClass]) -> int:
    """Return the number of joints on a line: that of the skeleton that has most. 0 without skeletons."""
    return max((len(one.skeleton.joints) for one in classes if one.skeleton is not None), default=0)


def flip_idx(classes: Sequence[ImageClass]) -> list[int]:
    """Return which joint takes the place of each when an image is mirrored: left and right change places.

    Sides are found by the words left and right in the names. A joint of neither side keeps its place, and so
    does one about which classes disagree.
    """
    wanted: list[set[int]] = [set() for _ in range(most_joints(classes))]  # by position of the joint
    for one in classes:
        names = [joint.name for joint in one.skeleton.joints] if one.skeleton is not None else []
        for at, name in enumerate(names):
            mirrored = _SIDE.sub(_other_side, name)
            wanted[at].add(names.index(mirrored) if mirrored in names else at)
    agreed = [others.pop() if len(others) == 1 else at for at, others in enumerate(wanted)]
    return [other if agreed[other] == at else at for at, other in enumerate(agreed)]


def _other_side(match: re.Match[str]) -> str:
    """Return the other side, with as many capitals: `Left` becomes `Right`, `LEFT` becomes `RIGHT`."""
    side = match[0]
    other = _OTHER[side.lower()]
    return other.upper() if side.isupper() else other.capitalize() if side[0].isupper() else other


def _text(text: str) -> str:
    """Return a text as YAML: as a JSON string, which YAML has, too."""
    return _NOT_IN_YAML.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(text, ensure_ascii=False))
