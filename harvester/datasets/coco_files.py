"""The files of a COCO data set: one for each split, and where there are several branches one for each.

Annotations are written into the file at once. Images and videos stand after them, so they are kept in a
temporary file until then. So memory does not grow with their number.
"""

import os
import tempfile
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, BinaryIO

import msgspec

from harvester.datasets.coco_annotations import CocoAnnotation
from harvester.datasets.coco_categories import Category
from harvester.datasets.written import Output
from harvester.errors import CannotFinishNow

_encode_lines = msgspec.json.Encoder().encode_lines

_DEFAULT_SPLIT = "default"  # as CVAT and datumaro call it
_PIECE = 1024**2  # bytes


class CocoFiles:
    """Opens the file of a split and a branch when it is first asked for. Made by `coco_files`."""

    def __init__(
        self, stack: ExitStack, output: Output, description: str, categories: list[Category]
    ) -> None:
        self._stack = stack
        self._output = output
        self._description = description
        self._categories = categories
        self._files: dict[str, CocoFile] = {}

    def of(self, split: str | None, folder: str) -> "CocoFile":
        """Return the file of a split, None for the only one, and of the branch with this folder."""
        name = file_name(split, folder)
        if name not in self._files:
            stream = self._stack.enter_context(self._output.create(name))
            file = CocoFile(stream, self._output.directory, self._description, self._categories)
            self._stack.push(file.__exit__)
            self._files[name] = file
        return self._files[name]


@contextmanager
def coco_files(output: Output, description: str, categories: list[Category]) -> Iterator[CocoFiles]:
    """Open the files of a data set. Raises CannotFinishNow if they cannot be written."""
    with ExitStack() as stack:
        yield CocoFiles(stack, output, description, categories)


def file_name(split: str | None, folder: str) -> str:
    """Return the name of a file, such as ``annotations/instances_train.json``.

    A branch that has a folder (see `harvester.datasets.image_sets.branch_folder`) is named before the ending.
    Importers know files by such names (datumaro: `instances_<subset>.json`).
    """
    branch = folder.strip("/").rpartition("/")[2]
    return f"annotations/instances_{split or _DEFAULT_SPLIT}{'.' + branch if branch else ''}.json"


class CocoFile:
    """One file, open. Images and videos are given as JSON."""

    def __init__(
        self, stream: BinaryIO, directory: Path | None, description: str, categories: Collection[Category]
    ) -> None:
        self._stream = stream
        self._lists: dict[str, IO[bytes]] = {}
        self._directory = directory
        self._is_first = {"annotations": True, "images": True, "videos": True}
        head = {"info": {"description": description}, "licenses": [], "categories": categories}
        stream.write(msgspec.json.encode(head)[:-1] + b',\n"annotations":[')

    def add_annotations(self, annotations: list[CocoAnnotation]) -> None:
        """Write the annotations of an image, a line each."""
        if annotations:
            lines = _encode_lines(annotations)[:-1]
            self._stream.write(self._separator("annotations") + lines.replace(b"\n", b",\n"))

    def add_image(self, image: bytes) -> None:
        """Write an image."""
        self._add("images", image)

    def add_video(self, video: bytes) -> None:
        """Write a video."""
        self._add("videos", video)

    def _separator(self, kind: str) -> bytes:
        if self._is_first[kind]:
            self._is_first[kind] = False
            return b"\n"
        return b",\n"

    def _add(self, kind: str, item: bytes) -> None:
        with _translated():
            if kind not in self._lists:
                self._lists[kind] = tempfile.TemporaryFile(dir=self._directory)  # noqa: SIM115
            self._lists[kind].write(self._separator(kind) + item)

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Write what stands after the annotations, unless there was an error."""
        try:
            if kind is None:
                self._stream.write(b"\n]")
                for name in ("images", "videos"):
                    self._stream.write(b',\n"%b":[' % name.encode())
                    self._copy(name)
                    self._stream.write(b"\n]")
                self._stream.write(b"}\n")
        finally:
            for file in self._lists.values():
                file.close()

    def _copy(self, name: str) -> None:
        if (file := self._lists.get(name)) is None:
            return
        with _translated():
            file.seek(0)
            while piece := file.read(_PIECE):
                self._stream.write(piece)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CannotFinishNow(f"no room for the data set: {os.strerror(error.errno or 0)}") from error
