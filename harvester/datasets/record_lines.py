"""Divides the lines of records into chunks, and cuts those of labels into a head, the label and a tail.

A line of an object is ``HEAD,"object":LABEL,"object_hash":HASH,"feature_hash":...}``. The label is cut out
between the keys before and after it, so that it stays byte for byte as it is. The head says where the label
is, the tail what class and answers it has. Objects of a frame share a head, and many objects an equal tail:
each is decoded once.
"""

from collections.abc import Iterable, Iterator
from itertools import accumulate

import msgspec
import numpy as np

from harvester.datasets.arrow_arrays import Places
from harvester.errors import Unsound

# The keys around the label of a line, by table.
_AROUND = {
    "objects": (b',"object":', b',"object_hash":'),
    "classifications": (b',"classification":', b',"classification_hash":'),
}
_TAIL = b',"feature_hash":'
FULL_CHUNK = 4096  # lines: more take more memory, and hardly less time
_CHUNK_BYTES = 4 * 1024**2  # of long lines there are fewer in a chunk


def chunks_of(pieces: Iterable[list[bytes]]) -> Iterator[list[bytes]]:
    """Divide lines into lists of `FULL_CHUNK`, or fewer if they are long.

    Where a list ends depends on the lines only, not on how they are divided into `pieces`.
    """
    waiting = list[bytes]()
    for piece in pieces:
        waiting += piece
        while end := _end_of_chunk(waiting):
            yield waiting[:end]
            del waiting[:end]
    if waiting:
        yield waiting


def _end_of_chunk(lines: list[bytes]) -> int | None:
    """Return how many lines are a chunk, None if they are too few for one."""
    if sum(map(len, lines[:FULL_CHUNK])) < _CHUNK_BYTES:
        return FULL_CHUNK if len(lines) >= FULL_CHUNK else None
    return next(number for number, size in enumerate(accumulate(map(len, lines)), 1) if size >= _CHUNK_BYTES)


class CutLines(msgspec.Struct, frozen=True):
    """Lines of labels, cut into parts.

    `heads` and `tails` are the different ones, as JSON objects. Line i has the label ``labels[i]``, the hash
    ``hashes[i]``, the head ``heads[head_of[i]]`` and the tail ``tails[tail_of[i]]``.
    """

    heads: list[bytes]
    head_of: Places
    labels: list[bytes]
    hashes: list[str | None]
    tails: list[bytes]
    tail_of: Places


def cut(table: str, lines: list[bytes]) -> CutLines:
    """Cut the lines of objects or classifications. Raises Unsound if one is not of that kind."""
    before, after = _AROUND[table]
    heads, head_of, starts = list[bytes](), list[int](), list[int]()
    head = b"\n"
    for line in lines:
        if not line.startswith(head):
            start = line.find(before) + len(before)
            head = line[:start]
            heads.append(head[: -len(before)] + b"}")
        head_of.append(len(heads) - 1)
        starts.append(start)
    ends = [line.rfind(after) for line in lines]
    hashes = [end + len(after) for end in ends]
    tails = [line.find(_TAIL, end) for line, end in zip(lines, hashes, strict=True)]
    _check(np.array((starts, ends, tails)))
    known = dict[bytes, int]()
    tail_of = [known.setdefault(line[at:], len(known)) for line, at in zip(lines, tails, strict=True)]
    return CutLines(
        heads,
        np.array(head_of),
        [line[start:end] for line, start, end in zip(lines, starts, ends, strict=True)],
        _texts([line[at:end] for line, at, end in zip(lines, hashes, tails, strict=True)]),
        [b"{" + tail[1:] for tail in known],
        np.array(tail_of),
    )


def not_a_record() -> Unsound:
    """Return the error for a line that is not as `harvester` writes it."""
    return Unsound("the export holds a line that is no record of its kind: see harvester verify")


def _check(places: Places) -> None:
    """Raise Unsound unless in each line the label begins, ends, and is followed by the tail.

    `places` has a row for each of these places, -1 where a line does not have it.
    """
    if (places < 0).any() or (np.diff(places, axis=0) < 0).any():
        raise not_a_record()


def _texts(texts: list[bytes]) -> list[str | None]:
    """Decode JSON strings. Raises Unsound if one is neither that nor null."""
    try:
        found = msgspec.json.decode(b"[" + b",".join(texts) + b"]", type=list[str | None])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise not_a_record() from error
    if len(found) != len(texts):
        raise not_a_record()
    return found
