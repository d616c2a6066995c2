"""Rows whose objects are answers with ranges: audio, time series, plain text, HTML."""

from typing import Any

from harvester.simulator.dice import Dice
from harvester.simulator.framed import Row, unit
from harvester.simulator.labels import Labels
from harvester.simulator.ontology import Json
from harvester.simulator.template import hole
from harvester.simulator.traps import Traps

SECOND = 1_000_000_000  # nanoseconds


def spans(dice: Dice, end: int, count: int | None = None) -> list[list[int]]:
    """One to three ranges up to `end` that do not touch; both ends are part of a range."""
    count = dice.pick((1, 1, 2, 3)) if count is None else count
    step = end // max(count, 1)
    made = []
    for number in range(count):
        start = number * step + dice.below(step // 2)
        made.append([start, start + 1 + dice.below(step // 3)])
    return made


def node(dice: Dice) -> Json:
    return {"xpath": f"/html[1]/body[1]/p[{dice.between(1, 9)}]/text()[1]", "offset": dice.below(80)}


def classify_whole(labels: Labels, end: int) -> None:
    """Classifications of the row as a whole, or of ranges of it."""
    for feature in labels.classifications(labels.dice.below(4), whole=True):
        labels.classify(
            feature, 1, range=labels.dice.pick(([], spans(labels.dice, end, 1), spans(labels.dice, end)))
        )


def audio_media(dice: Dice, traps: Traps) -> Json:
    seconds, rate = dice.between(5, 60), dice.pick((16000, 44100, 48000))
    return {
        "number_of_frames": seconds * rate,
        "frames_per_second": float(rate),
        "duration": float(seconds),
        "audio_codec": "mp3",
        "audio_sample_rate": rate,
        "audio_bit_depth": 16,
        "audio_num_channels": 2,
        "file_type": "audio/mpeg",
    }


def time_series_media(dice: Dice, traps: Traps) -> Json:
    """Half of the rows have a space called root, in which everything then lies."""
    media: Json = {"number_of_frames": dice.between(100, 5000), "file_type": "text/csv"}
    if traps["root_space"]:
        media["spaces"] = {"root": {"space_type": "time_series", "root_info": {"file_name": hole("title")}}}
    return media


def text_media(dice: Dice, traps: Traps) -> Json:
    return {"number_of_frames": 1, "file_type": "text/plain"}


def html_media(dice: Dice, traps: Traps) -> Json:
    return {"number_of_frames": 1, "file_type": "text/html"}


def audio_row(labels: Labels, media: Json) -> Row:
    end = int(media["duration"] * 1000)  # ranges are in milliseconds
    for track in labels.tracks(("audio",)):
        labels.range_object(track, range=spans(labels.dice, end))
    classify_whole(labels, end)
    facts = {
        key: media[key]
        for key in ("audio_codec", "audio_sample_rate", "audio_bit_depth", "audio_num_channels")
    }
    return Row(_units(labels, "audio/mpeg", data_duration=media["duration"], **facts))


def time_series_row(labels: Labels, media: Json) -> Row:
    end = 60 * SECOND
    root = "spaces" in media
    for track in labels.tracks(("time_range",)):
        found = spans(labels.dice, end)
        if root:
            labels.range_object(track, range=[], spaces={"root": {"type": "frame", "range": found}})
        else:
            labels.range_object(track, range=found)
    classify_whole(labels, end)
    extra = {"spaces": {"root": {"space_type": "time_series", "labels": {}}}} if root else {}
    return Row(_units(labels, "text/csv"), extra)


def text_row(labels: Labels, media: Json) -> Row:
    """Ranges are of characters; an object without any range is met too."""
    for track in labels.tracks(("text",)):
        count = 0 if labels.traps["few_keys"] and labels.dice.chance(0.2) else None
        labels.range_object(track, range=spans(labels.dice, 2000, count))
    classify_whole(labels, 2000)
    return Row(_units(labels, "text/plain"))


def html_row(labels: Labels, media: Json) -> Row:
    for track in labels.tracks(("text",)):
        found = [
            {"start": node(labels.dice), "end": node(labels.dice)} for _ in range(labels.dice.pick((1, 1, 2)))
        ]
        labels.range_object(track, range=[], range_html=found)
    classify_whole(labels, 100)
    return Row(_units(labels, "text/html"))


def _units(labels: Labels, mime: str, **facts: Any) -> Json:
    return {hole("data_hash"): unit(labels, mime, {}, **facts)}
