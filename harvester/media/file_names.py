"""Names of media files: made of hashes, numbers and a short extension, never of a title."""

import hashlib
import mimetypes
import re

# What is taken for an extension at the end of a title: short, of letters and digits, and not a number alone.
_SUFFIX = re.compile(r"\.([a-z][a-z0-9]{0,7}|[0-9][a-z0-9]{0,6}[a-z]|7z)", re.ASCII)
_COMPRESSED = ("gz", "zst", "bz2", "xz")
# A hash of the platform. Other text becomes its digest, since it may hold anything.
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_HASH = re.compile(_UUID)
_ENDING = r"(?:\.[a-z0-9]{1,8}){1,2}"
# What a file is called: that of a unit, one in the folder of a unit, or a frame of a video.
_STEM = rf"(?:{_UUID}|[0-9a-f]{{32}})(?:-[0-9a-f]{{16}})?"
PATH_PATTERN = rf"^(?:{_STEM}(?:/[0-9]{{5,9}})?{_ENDING}|videos/{_STEM}/[0-9]{{1,9}}\.(?:jpg|png))$"
FRAMES = "videos"
_DIGEST_DIGITS = 16  # hexadecimal digits of the digest of a space: 64 bits, enough within one data unit
# MIME types that the standard library does not know, or of which it gives an unusual extension.
_OF_MIME_TYPE = {
    "application/dicom": "dcm",
    "application/nifti": "nii",
    "application/octet-stream": "bin",
    "audio/mpeg": "mp3",
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "image/jpeg": "jpg",
    "image/tiff": "tif",
    "text/plain": "txt",
    "video/quicktime": "mov",
}

# Without the tables of the machine, so that a file has the same name on each.
_TYPES = mimetypes.MimeTypes()
for _type, _extension in _OF_MIME_TYPE.items():
    _TYPES.add_type(_type, f".{_extension}")


def extension(title: str | None, mime_type: str | None) -> str:
    """Return the extension of a file, without the dot: of its title if that has one, else by MIME type."""
    stem, _, last = (title or "").strip().lower().rpartition(".")
    if stem and _SUFFIX.fullmatch(f".{last}"):
        before = stem.rpartition(".")[2] if "." in stem else ""
        if last in _COMPRESSED and _SUFFIX.fullmatch(f".{before}"):
            return f"{before}.{last}"
        return last
    mime = (mime_type or "").partition(";")[0].strip().lower()
    ending = _OF_MIME_TYPE.get(mime) or (_TYPES.guess_extension(mime) or "")[1:]
    return ending if re.fullmatch("[a-z0-9]{1,8}", ending) else "bin"


def may_be_video(path: str) -> bool:
    """Return whether the extension of a file is that of a video, or of nothing that is known."""
    kind, _ = _TYPES.guess_type(path)
    return kind in (None, "application/octet-stream") or str(kind).startswith("video/")


def stem_of(unit_hash: str, space_id: str | None) -> str:
    """Return the name without extension of a unit's file, or of its folder if it has several files."""
    stem = unit_hash if _HASH.fullmatch(unit_hash) else _digest(unit_hash, 2 * _DIGEST_DIGITS)
    return stem if space_id is None else f"{stem}-{_digest(space_id, _DIGEST_DIGITS)}"


def slice_name(frame: int, ending: str) -> str:
    """Return the name of a slice or an image of a sequence, in the folder of its unit."""
    return f"{frame:05}.{ending}"


def folder_of_frames(unit_hash: str, space_id: str | None) -> str:
    """Return the folder of the pictures of a video's frames, as data sets name it."""
    return f"{FRAMES}/{stem_of(unit_hash, space_id)}"


def _digest(text: str, digits: int) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:digits]
