"""Reads the simulator's files as other programs do: each format's content, and what its links say."""

import io
import struct
import wave
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import av
import urllib3
from encord import EncordUserClient
from encord.beta.scene import SceneReader
from encord.storage import StorageItem, StorageItemType
from PIL import Image

from harvester.simulator import Simulator
from harvester.simulator.storage.pictures import read_number


class Files:
    """Fetches signed URLs of one simulator, without redirects or retries."""

    def __init__(self, simulator: Simulator) -> None:
        ca = simulator.ca_file
        self._http = urllib3.PoolManager(ca_certs=str(ca) if ca else None, retries=False, timeout=60)

    def close(self) -> None:
        self._http.clear()

    def get(self, url: str, method: str = "GET", **headers: str) -> urllib3.BaseHTTPResponse:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return self._http.request(method, url, headers=sent, redirect=False)

    def open(self, url: str, timeout: float) -> urllib3.BaseHTTPResponse:
        """The answer without its body; `timeout` seconds are between two bytes at most."""
        return self._http.request("GET", url, redirect=False, preload_content=False, timeout=timeout)


def path(url: str) -> str:
    return urlsplit(url).path


def leaves(items: list[StorageItem]) -> Iterator[StorageItem]:
    """The items that are files, also those inside others."""
    for item in items:
        children = list(item.get_child_items(get_signed_urls=True))
        if children:
            yield from leaves(children)
        elif item._orm_item.signed_url:
            yield item


def scene_urls(user: EncordUserClient, item: StorageItem) -> list[str]:
    """The signed URLs of a scene's files."""
    assert item.item_type == StorageItemType.SCENE
    scene = SceneReader(item).read()
    streams = [*scene.image_streams, *scene.point_cloud_streams]
    return [event.signed_url for stream in streams for event in stream.events]


def frames(data: bytes) -> list[tuple[int, float]]:
    """The number that each frame of a video shows, and its time, in the order that they are shown in."""
    with av.open(io.BytesIO(data)) as container:
        return [
            (read_number(frame.to_image()), float(frame.time or 0)) for frame in container.decode(video=0)
        ]


def picture(data: bytes) -> tuple[int, tuple[int, int]]:
    """The number that an image shows, and its size."""
    image = Image.open(io.BytesIO(data))
    return read_number(image), image.size


def seconds_of_sound(data: bytes) -> tuple[float, int]:
    """How long a sound is, counted in samples, and its rate."""
    if data[:4] == b"RIFF":
        assert struct.unpack("<I", data[4:8])[0] == len(data) - 8
        with wave.open(io.BytesIO(data)) as sound:
            return sound.getnframes() / sound.getframerate(), sound.getframerate()
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.audio[0]
        samples = sum(frame.samples for frame in container.decode(audio=0))
        return samples / stream.rate, stream.rate


def dicom(data: bytes) -> dict[tuple[int, int], bytes]:
    """The values of the elements of a Part 10 file in explicit VR little endian, by tag."""
    assert data[128:132] == b"DICM"
    found: dict[tuple[int, int], bytes] = {}
    place = 132
    while place < len(data):
        group, element, kind, length = struct.unpack_from("<HH2sH", data, place)
        place += 8
        if kind in (b"OB", b"OW"):
            (length,) = struct.unpack_from("<I", data, place)
            place += 4
        assert length % 2 == 0
        assert (group, element) > max(found, default=(0, -1))
        found[group, element] = data[place : place + length]
        place += length
    assert place == len(data)
    return found


def slice_number(pixels: bytes, side: int) -> int:
    return read_number(Image.frombytes("L", (side, side), pixels))


def pages(data: bytes) -> list[bytes]:
    """What each page of a PDF says, found through its cross-reference table."""
    assert data.startswith(b"%PDF-")
    assert data.endswith(b"%%EOF\n")
    start = int(data.rpartition(b"startxref\n")[2].split()[0])
    lines = data[start:].split(b"\n")
    assert lines[0] == b"xref"
    count = int(lines[1].split()[1])
    objects = [data[int(line.split()[0]) :].partition(b"endobj")[0] for line in lines[3 : 2 + count]]
    for number, text in enumerate(objects, start=1):
        assert text.startswith(b"%d 0 obj" % number)
    return [text.partition(b"(")[2].partition(b")")[0] for text in objects if b"stream" in text]


def mcap_records(data: bytes) -> list[int]:
    """The kinds of the records of a recording."""
    magic = b"\x89MCAP0\r\n"
    assert data.startswith(magic)
    assert data.endswith(magic)
    kinds, place = [], len(magic)
    while place < len(data) - len(magic):
        kind, length = struct.unpack_from("<BQ", data, place)
        kinds.append(kind)
        place += 9 + length
    assert place == len(data) - len(magic)
    return kinds


def header_list(answer: urllib3.BaseHTTPResponse, name: str) -> dict[str, Any]:
    """A header of `key=value`, as often as it was sent."""
    return dict(value.split("=", 1) for each in answer.headers.getlist(name) for value in each.split(", "))
