"""The installed command on a simulator that serves files, over TLS."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from harvester.simulator import Faults, Simulator
from harvester.simulator.storage.signing import CANARY
from harvester.simulator.world import WorldSpec
from tests.e2e.conftest import Command, command_for

PROJECT = "Demo street scenes"


@dataclass(frozen=True)
class Fetched:
    """What a run of `harvester media` said, and what lies in its folder."""

    code: int
    said: str
    summary: dict[str, Any]
    folder: Path

    @property
    def index(self) -> list[dict[str, Any]]:
        return _lines(self.folder / "media.ndjson")

    @property
    def failed(self) -> list[dict[str, Any]]:
        return _lines(self.folder / "failed.ndjson")

    def check(self) -> None:
        """Every file of the index is there with its bytes; nothing else is; no signed URL is anywhere."""
        paths = {line["path"]: line for line in self.index}
        for path, line in paths.items():
            data = (self.folder / path).read_bytes()
            assert (len(data), sha256(data).hexdigest()) == (line["bytes"], line["sha256"])
        own = {"media.ndjson", "media.json", "failed.ndjson", "removed.ndjson"}
        there = {
            str(path.relative_to(self.folder))
            for path in self.folder.rglob("*")
            if path.is_file() and not path.name.startswith(".") and ".harvester" not in path.parts
        }
        assert (there - own) ^ set(paths) == set()
        assert CANARY not in self.said
        for path in self.folder.parent.rglob("*"):
            assert not path.is_file() or CANARY.encode() not in path.read_bytes(), path


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


class MediaPlatform:
    """A simulator, and the command that exports from it and fetches its files."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.command: Command = command_for(simulator)

    def export(self, target: Path, *flags: str) -> Path:
        done = self.command("export", PROJECT, "-o", target, "--quiet", *flags)
        assert done.returncode == 0, done.stderr
        return target

    def media(self, target: Path, *flags: str | Path, folder: Path | None = None, **faults: Any) -> Fetched:
        """Fetches the files, while the store misbehaves as told."""
        self.simulator.set_faults(Faults(**faults))
        done = self.command("media", target, "--json", *flags)
        return self.ended(done, folder or target / "media")

    def ended(self, done: "subprocess.CompletedProcess[str]", folder: Path) -> Fetched:
        assert "Traceback" not in done.stderr
        assert self.simulator.stats()["mutations"] == 0
        summary = json.loads(done.stdout) if done.stdout else {}
        return Fetched(done.returncode, done.stdout + done.stderr, summary, folder)


@pytest.fixture(scope="module")
def platform() -> Iterator[MediaPlatform]:
    # As many time series as there are videos, so that some have labels.
    mix = ("all", *3 * ("time_series",))
    with Simulator(WorldSpec(rows=80, unlabelled=0.25, video_frames=12, mix=mix)) as simulator:
        yield MediaPlatform(simulator)


@pytest.fixture(scope="module")
def exported(platform: MediaPlatform, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished export, which tests copy."""
    return platform.export(tmp_path_factory.mktemp("exported") / "out")
