"""Rows whose objects are answers with ranges: audio, time series, plain text, HTML."""

from typing import Any

from harvester.simulator.edge_cases import EdgeCases
from harvester.simulator.framed import Row, unit
from harvester.simulator.labels import Labels
from harvester.simulator.ontology import Json
from harvester.simulator.rng import Rng
from harvester.simulator.template import hole

SECOND = 1_000_000_000  # nanoseconds


def spans(rng: Rng, end: int, count: int | None = None) -> list[list[int]]:
    """Return one to three ranges up to `end` that do not touch. Both ends belong to a range."""
    count = rng.pick((1, 1, 2, 3)) if count is None else count
    step = end // max(count, 1)
    made = []
    for number in range(count):
        start = number * step + rng.below(step // 2)
        made.append([start, start + 1 + rng.below(step // 3)])
    return made


def node(rng: Rng) -> Json:
    return {"xpath": f"/html[1]/body[1]/p[{rng.between(1, 9)}]/text()[1]", "offset": rng.below(80)}


def classify_whole(labels: Labels, end: int) -> None:
    """Classify the row as a whole, or ranges of it."""
    for feature in labels.classifications(labels.rng.below(4), whole=True):
        labels.classify(
            feature, 1, range=labels.rng.pick(([], spans(labels.rng, end, 1), spans(labels.rng, end)))
        )


def audio_media(rng: Rng, edge_cases: EdgeCases) -> Json:
    seconds, rate = rng.between(5, 60), rng.pick((16000, 44100, 48000))
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


def time_series_media(rng: Rng, edge_cases: EdgeCases) -> Json:
    """Return a time series; half of them have a space `root`, which then holds all labels."""
    media: Json = {"number_of_frames": rng.between(100, 5000), "file_type": "text/csv"}
    if edge_cases["root_space"]:
        media["spaces"] = {"root": {"space_type": "time_series", "root_info": {"file_name": hole("title")}}}
    return media


def text_media(rng: Rng, edge_cases: EdgeCases) -> Json:
    return {"number_of_frames": 1, "file_type": "text/plain"}


def html_media(rng: Rng, edge_cases: EdgeCases) -> Json:
    return {"number_of_frames": 1, "file_type": "text/html"}


def audio_row(labels: Labels, media: Json) -> Row:
    end = int(media["duration"] * 1000)  # ranges are in milliseconds
    for track in labels.tracks(("audio",)):
        labels.range_object(track, range=spans(labels.rng, end))
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
        found = spans(labels.rng, end)
        if root:
            labels.range_object(track, range=[], spaces={"root": {"type": "frame", "range": found}})
        else:
            labels.range_object(track, range=found)
    classify_whole(labels, end)
    extra = {"spaces": {"root": {"space_type": "time_series", "labels": {}}}} if root else {}
    return Row(_units(labels, "text/csv"), extra)


def text_row(labels: Labels, media: Json) -> Row:
    """Make a row whose ranges count characters; some objects have no range."""
    for track in labels.tracks(("text",)):
        count = 0 if labels.edge_cases["few_keys"] and labels.rng.chance(0.2) else None
        labels.range_object(track, range=spans(labels.rng, 2000, count))
    classify_whole(labels, 2000)
    return Row(_units(labels, "text/plain"))


def html_row(labels: Labels, media: Json) -> Row:
    for track in labels.tracks(("text",)):
        found = [
            {"start": node(labels.rng), "end": node(labels.rng)} for _ in range(labels.rng.pick((1, 1, 2)))
        ]
        labels.range_object(track, range=[], range_html=found)
    classify_whole(labels, 100)
    return Row(_units(labels, "text/html"))


def _units(labels: Labels, mime: str, **facts: Any) -> Json:
    return {hole("data_hash"): unit(labels, mime, {}, **facts)}
