"""Decode frames of videos: frame k is the k-th in the order of presentation, whatever the frame rate.

Labels count frames in the order in which they are shown. A decoder gives them in that order, whatever order
they are stored in, so they are counted and not looked up by time: times are rounded, and of a variable frame
rate they say nothing about numbers. The video is therefore decoded from its start to the last wanted frame.
"""

import io
from collections.abc import Callable, Iterator
from typing import BinaryIO

import av

from harvester.errors import SkipRow

_QUALITY = 95  # of JPEG, from 1 to 100: differences to the decoded frame cannot be seen. Chosen
FRAME_FORMATS = {"jpg": "JPEG", "png": "PNG"}


def decode_frames(
    video: BinaryIO, is_wanted: Callable[[int], bool], last: int | None
) -> Iterator[tuple[int, av.VideoFrame]]:
    """Yield the number of each wanted frame, and the frame. Blocking.

    Args:
        video: seekable.
        last: the last wanted frame; None: all may be.

    Raises:
        SkipRow: the video cannot be decoded.
    """
    try:
        with av.open(video, "r") as container:
            if not container.streams.video:
                raise SkipRow("the file holds no video")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            for number, frame in enumerate(container.decode(stream)):
                if is_wanted(number):
                    yield number, frame
                if number == last:
                    return
    except (av.FFmpegError, OSError, ValueError) as error:
        raise SkipRow(f"the video cannot be decoded ({type(error).__name__})") from error


def picture_of(frame: av.VideoFrame, ending: str) -> bytes:
    """Return a frame as the bytes of a picture: ``jpg`` or ``png``; turned as players turn it. Blocking."""
    picture, made = frame.to_image(), io.BytesIO()  # type: ignore[no-untyped-call]  # PyAV's own
    picture = picture.rotate(frame.rotation, expand=True)  # both counterclockwise, in degrees
    picture.save(made, FRAME_FORMATS[ending], **({"quality": _QUALITY} if ending == "jpg" else {}))
    return made.getvalue()
