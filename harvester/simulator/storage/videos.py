"""MP4 videos whose frames show their number, at a constant or a variable frame rate."""

import io
import struct
from fractions import Fraction

import av

from harvester.simulator.rng import Rng
from harvester.simulator.storage.pictures import COLUMNS, ROWS, blocks

# With B-frames, so that frames are stored in another order than they are shown in. One thread: the same bytes
# on any machine.
_OPTIONS = {"preset": "ultrafast", "bf": "2", "threads": "1"}
_GREY = 128  # both chroma planes


def mp4(frames: int, rate: float, width: int, height: int, irregular: int | None = None) -> bytes:
    """Return a video.

    Args:
        rate: mean frames a second.
        irregular: seed of the times between frames; None: they are all the same.
    """
    tick = 1 / (2 * Fraction(str(rate)))  # seconds; two of them are a frame, on average
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(str(rate)), options=_OPTIONS)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = tick
        for number, time in enumerate(times(frames, irregular)):
            frame = _frame(number, width, height)
            frame.pts, frame.time_base = time, tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return out.getvalue()


def mp4_end(name: bytes) -> bytes:
    """Return a box that players skip, with the name in it."""
    return struct.pack(">I", 8 + len(name)) + b"free" + name


def times(frames: int, irregular: int | None) -> list[int]:
    """Return when each frame is shown, in half frames: evenly, or after 1, 2 or 3 of them."""
    if irregular is None:
        return list(range(0, 2 * frames, 2))
    rng = Rng(irregular)
    made, time = [], 0
    for _ in range(frames):
        made.append(time)
        time += rng.pick((1, 2, 3))
    return made


def _frame(number: int, width: int, height: int) -> av.VideoFrame:
    frame = av.VideoFrame(width, height, "yuv420p")
    bright, *colours = frame.planes
    shown = blocks(number)
    rows = []
    for row in range(ROWS):
        line = b"".join(
            shown[row * COLUMNS + column : row * COLUMNS + column + 1]
            * ((column + 1) * width // COLUMNS - column * width // COLUMNS)
            for column in range(COLUMNS)
        ).ljust(bright.line_size, b"\0")
        rows.append(line * ((row + 1) * height // ROWS - row * height // ROWS))
    bright.update(b"".join(rows).ljust(bright.buffer_size, b"\0"))
    for plane in colours:
        plane.update(bytes([_GREY]) * plane.buffer_size)
    return frame
