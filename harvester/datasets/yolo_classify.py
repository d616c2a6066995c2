"""Writes ``--task classify``: images in a folder for each class, a class for each option of a classification.

The classification is one whose first question is a radio. An image has the answer of the classification that
stands on it, or on its frame, or on its position in an image group. Folders are ``SPLIT/CLASS/``; without
splits all are in ``train/``, which Ultralytics looks for.
"""

import re
from pathlib import Path
from typing import NamedTuple

import msgspec

from harvester.datasets.class_file import ClassList, KnownClass, class_list
from harvester.datasets.counts import Counts
from harvester.datasets.image_sets import ImagePlace, NoPicture
from harvester.datasets.media_files import ImageFile, MediaFiles
from harvester.datasets.pictures import Picture
from harvester.datasets.written import Output
from harvester.errors import BadInput, Unsound, did_you_mean
from harvester.labels.ontology import read_structure
from harvester.live_rows import LiveRow

_NO_SPLIT = "train"
_NOT_IN_A_NAME = re.compile(r"[^\w .()+-]")
_LONGEST = 80  # characters of a folder's name


class Question(NamedTuple):
    """A classification, its first question, and the classes that its options become."""

    classification: str
    attribute: str
    classes: ClassList


class _Option(msgspec.Struct, gc=False):
    feature_hash: str | None


class _Answer(msgspec.Struct, gc=False):
    feature_hash: str | None
    options: list[_Option] | None


class _Line(msgspec.Struct, gc=False):
    """The fields of a line of a classification that are read."""

    unit_hash: str | None
    space_id: str | None
    feature_hash: str | None
    frame: int | None
    ranges: list[list[float]] | None
    answers: list[_Answer]


class _Standing(msgspec.Struct):
    """A classification that has an answer: its line, the position of its class, whether it was used."""

    line: _Line
    position: int
    used: bool = False

    def is_on(self, picture: Picture) -> bool:
        """Return whether it stands on an image."""
        line, unit = self.line, picture.unit
        if line.space_id != unit.space_id or line.unit_hash not in (None, unit.unit_hash):
            return False
        number = picture.frame or 0
        if picture.frame is None and line.unit_hash is None:  # on positions in an image group
            number = unit.sequence or 0
        if line.frame is not None and (picture.frame is not None or line.unit_hash is None):
            return line.frame == number  # of an export with --per-frame
        return not line.ranges or any(first <= number <= last for first, last in line.ranges)


def question(ontology: bytes | None, wanted: str | None, file: Path | None) -> Question:
    """Return the classification that has this name or feature hash; by default the only one with a radio.

    Raises:
        BadInput: there is none, or several; or the classes `file` is not usable.
    """
    found = {
        one.feature_node_hash: one.attributes[0]
        for one in read_structure(ontology).classifications or ()
        if one.attributes and one.attributes[0].type == "radio"
    }
    chosen = [each for each, attribute in found.items() if wanted in (None, each, attribute.name)]
    if len(chosen) != 1:
        names = [attribute.name for attribute in found.values()]
        which = f": {', '.join(sorted(map(repr, names)))}" if names else ", and the ontology has none"
        if wanted is None:
            raise BadInput(
                f"--task classify needs a classification with a radio; name it with --classification{which}"
            )
        guess = did_you_mean(wanted, names)
        several = (
            "several classifications with a radio are" if chosen else "no classification with a radio is"
        )
        raise BadInput(f"{several} called {wanted!r}" + (f": {guess}" if guess and not chosen else which))
    attribute = found[chosen[0]]
    options = (KnownClass(one.feature_node_hash, one.label) for one in attribute.options or ())
    return Question(chosen[0], attribute.feature_node_hash, class_list(options, file))


class _Classified(NamedTuple):
    position: int
    image: ImageFile
    objects: int = 0  # an image of this task has none


class Classifier:
    """Puts each image into the folder of its class."""

    def __init__(
        self, asked: Question, media: MediaFiles, splits: tuple[str, ...], output: Output, counts: Counts
    ) -> None:
        self._asked = asked
        self._media = media
        self._splits = splits or (_NO_SPLIT,)
        self._output = output
        self._counts = counts
        self._folders = folder_names(asked.classes.names)
        self._made: set[str] = set()  # folders of branches in which there are those of the classes
        self._standing: list[_Standing] = []

    def begin(self, row: LiveRow | None) -> None:
        """Read the classifications of a label row."""
        self.finish()
        for line in row.lines["classifications"] if row is not None else ():
            try:
                read = _decode(line)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                raise Unsound(
                    f"a line of a classification is damaged: {error}; see harvester verify"
                ) from error
            self._take(read)

    def finish(self) -> None:
        """Count the classifications of the last label row. To be called after the last one."""
        for one in self._standing:
            if one.used:
                self._counts.write("classifications")
            else:
                self._counts.leave_out("classifications", "no_image")
        self._standing = []

    def _take(self, line: _Line) -> None:
        if line.feature_hash != self._asked.classification:
            self._counts.leave_out("classifications", "other_classification")
            return
        answer = next((one for one in line.answers if one.feature_hash == self._asked.attribute), None)
        if answer is None or not answer.options:
            self._counts.leave_out("classifications", "no_answer")
            return
        position = self._asked.classes.position(answer.options[0].feature_hash)
        if position is None:
            self._counts.leave_out("classifications", "class")
        else:
            self._standing.append(_Standing(line, position))

    def make(self, picture: Picture) -> _Classified:
        """Return the class of an image. Raises NoPicture if it has none, or several, or no file."""
        here = [one for one in self._standing if one.is_on(picture)]
        positions = {one.position for one in here}
        if len(positions) != 1:
            raise NoPicture("several_answers" if positions else "no_answer")
        image = self._media.of(picture)
        if image is None:
            raise NoPicture("no_media")
        for one in here:
            one.used = True
        return _Classified(positions.pop(), image)

    def put(self, made: _Classified, picture: Picture, place: ImagePlace) -> None:
        """Place the image. Each class has its folder in each split, so that trainers number them alike."""
        if place.folder not in self._made:
            self._made.add(place.folder)
            for split in self._splits:
                for folder in self._folders:
                    self._output.make_folder(f"{place.folder}{split}/{folder}")
        folder = f"{place.folder}{place.split or _NO_SPLIT}/{self._folders[made.position]}"
        stem = picture.name.partition("/")[2].removesuffix(picture.ending).replace("/", "_")
        self._media.place(made.image, self._output, f"{folder}/{stem}{made.image.ending or picture.ending}")
        self._counts.tally("classes", self._asked.classes.names[made.position], place.split or _NO_SPLIT)


_decode = msgspec.json.Decoder(_Line).decode


def folder_names(classes: list[str]) -> list[str]:
    """Return a folder's name for each class: its own, of characters that any disk takes, and once only."""
    found: list[str] = []
    taken: set[str] = set()
    for name in classes:
        plain = _NOT_IN_A_NAME.sub("_", name).strip(" .")[:_LONGEST] or "_"
        number, folder = 1, plain
        while folder.casefold() in taken:
            number += 1
            folder = f"{plain}-{number}"
        taken.add(folder.casefold())
        found.append(folder)
    return found
