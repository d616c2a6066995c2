"""Each format of file that is served: its MIME type, how it is made, and where it carries its name."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from harvester.simulator.storage import clouds, documents, pictures, sounds, videos, volumes
from harvester.simulator.storage.blob import Blob, Shared

KEPT = 256  # shared beginnings; the largest are volumes of 4 MB
NAME = 64  # bytes that a name takes in a file, so that files of a kind are of one size


class Format(NamedTuple):
    """`make` gives the bytes that all files of the same arguments begin with, `end` those of one name."""

    mime_type: str
    make: Callable[..., bytes]
    end: Callable[[bytes], bytes]


def _as_it_is(name: bytes) -> bytes:
    return name


FORMATS = {
    "jpeg": Format("image/jpeg", pictures.jpeg, pictures.jpeg_end),
    "png": Format("image/png", pictures.png, pictures.png_end),
    "mp4": Format("video/mp4", videos.mp4, videos.mp4_end),
    "dicom": Format("application/dicom", volumes.dicom, volumes.dicom_end),
    "nifti": Format("application/nifti", volumes.nifti, _as_it_is),
    "pdf": Format("application/pdf", documents.pdf, documents.pdf_end),
    "text": Format("text/plain", documents.text, documents.text_end),
    "html": Format("text/html", documents.html, documents.html_end),
    "csv": Format("text/csv", documents.csv, documents.csv_end),
    "mp3": Format("audio/mpeg", sounds.mp3, sounds.mp3_end),
    "wav": Format("audio/wav", sounds.wav, sounds.wav_end),
    "pcd": Format("application/octet-stream", clouds.pcd, _as_it_is),
    "mcap": Format("application/octet-stream", clouds.mcap, clouds.mcap_end),
}


@lru_cache(maxsize=KEPT)
def shared(format: str, arguments: tuple[Any, ...]) -> Shared:
    """Return the bytes that all files of that format and these arguments begin with."""
    return Shared(FORMATS[format].make(*arguments))


def blob(format: str, arguments: tuple[Any, ...], name: str) -> Blob:
    """Return the file of that format and arguments that carries the name; the first of a kind is slow."""
    padded = name.encode().ljust(NAME)[:NAME]
    return Blob(shared(format, arguments), FORMATS[format].end(padded))
