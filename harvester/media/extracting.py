"""Make pictures of the frames of videos that were fetched."""

import shutil
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from itertools import islice
from tempfile import TemporaryFile
from typing import BinaryIO, TypeVar, cast

import anyio
import msgspec
from anyio.to_thread import run_sync as in_thread

from harvester.errors import BadInput, SkipRow, how_to_install, unwrapped
from harvester.media.counters import MediaCounters
from harvester.media.index import IndexPieces, StoredMedia
from harvester.media.options import MediaOptions
from harvester.media.wanted import VideoToDecode, WantedMedia
from harvester.output.target import Target

Frame = TypeVar("Frame")

_AT_ONCE = (
    8  # frames that are encoded and written at once: each waits for the disk, and is a few MB at most. Chosen
)


async def extract_frames(
    folder: Target, options: MediaOptions, wanted: WantedMedia, pieces: IndexPieces, counters: MediaCounters
) -> None:
    """Make a picture of each wanted frame that has none.

    Raises:
        BadInput: the library that decodes videos is not installed.
    """
    try:
        from harvester.media.video_frames import decode_frames, picture_of
    except ModuleNotFoundError as error:
        raise BadInput(f"frames need {error.name}: {how_to_install('media')}") from error
    for video in wanted.videos(options):
        counters.frames += len(video.there)
        if video.is_complete:
            continue
        count = decoded = 0

        def is_missing(number: int, video: VideoToDecode = video) -> bool:
            nonlocal decoded
            decoded = number + 1
            return video.is_missing(number)

        try:
            with _seekable(folder, video.path) as file:
                frames = decode_frames(file, is_missing, video.last)
                made = _pictures(folder, video, frames, partial(picture_of, ending=options.frame_format))
                async with aclosing(made) as batches:
                    async for some in batches:
                        await _keep(some, wanted, pieces)
                        count += len(some)
                        counters.frames += len(some)
            if video.last is None:  # it was decoded to its end
                await _keep([msgspec.structs.replace(video.stored, decoded_frames=decoded)], wanted, pieces)
            elif count < len(video.missing or ()):
                raise _beyond_the_end(video, decoded)
        except SkipRow as error:
            wanted.fail_frames(video, error)
            counters.failed += 1


def _beyond_the_end(video: VideoToDecode, decoded: int) -> SkipRow:
    beyond = [number for number in video.missing or () if number >= decoded]
    return SkipRow(
        f"the video has {decoded:,} frames: {len(beyond):,} of those that are labelled are beyond its end,"
        f" the first is frame {min(beyond, default=decoded):,}",
        failure="left_out",
    )


async def _keep(some: list[StoredMedia], wanted: WantedMedia, pieces: IndexPieces) -> None:
    """Note files that are there, durably."""
    await in_thread(pieces.write, some)
    for stored in some:
        wanted.store(stored)


async def _pictures(
    folder: Target,
    video: VideoToDecode,
    frames: Iterator[tuple[int, Frame]],
    picture_of: Callable[[Frame], bytes],
) -> AsyncGenerator[list[StoredMedia], None]:
    """Write pictures of frames, a few at once. Yield what was written."""
    while some := await in_thread(lambda: list(islice(frames, _AT_ONCE))):
        made = list[StoredMedia]()

        async def write(number: int, frame: Frame, made: list[StoredMedia] = made) -> None:
            made.append(await in_thread(_write, folder, video.path_of(number), partial(picture_of, frame)))

        with unwrapped():
            async with anyio.create_task_group() as tasks:
                for number, frame in some:
                    tasks.start_soon(write, number, frame)
        yield made


def _write(folder: Target, path: str, picture: Callable[[], bytes]) -> StoredMedia:
    data = picture()
    folder.put(path, data)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return StoredMedia(path, len(data), sha256(data).hexdigest(), now)


@contextmanager
def _seekable(folder: Target, path: str) -> Iterator[BinaryIO]:
    """Open a file that can be read from anywhere: that of an object store is copied first."""
    with folder.open(path) as file:
        if file.seekable():
            yield file
            return
        with TemporaryFile() as copy:
            shutil.copyfileobj(file, copy)
            copy.seek(0)
            yield cast(BinaryIO, copy)
