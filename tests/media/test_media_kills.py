"""A run that is killed at any moment, and run again."""

import random
import shutil
from pathlib import Path

from harvester.simulator import Faults
from tests.crash.media_kills import Killed
from tests.media.conftest import MediaPlatform


def test_what_a_kill_leaves_of_a_piece_of_the_index_is_deleted(
    platform: MediaPlatform, exported: Path, tmp_path: Path
) -> None:
    """Between the piece's draft and its name, whatever its number."""
    target = Path(shutil.copytree(exported, tmp_path / "out"))
    left = target / "media" / ".harvester" / "index" / ".000003.ndjson.336aa2fc51aa9b21.tmp"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"{")
    done = platform.media(target)
    assert done.code == 0, done.said
    assert not left.exists()


def test_killed_runs_leave_whole_files_only(platform: MediaPlatform, exported: Path, tmp_path: Path) -> None:
    """What has its final name after a kill never changes; in the end everything is there and right."""
    target = Path(shutil.copytree(exported, tmp_path / "out"))
    platform.simulator.set_faults(Faults(media=("slow",), media_share=0.3, trickle_seconds=0.01))
    killed = Killed(platform, target, random.Random(7))
    killed.run(2)
    done = platform.media(target)
    assert done.code == 0, done.said
    done.check()
    there = {line["path"]: line["sha256"] for line in done.index}
    assert not killed.wrong
    assert killed.seen
    assert killed.seen.items() <= there.items()
    hidden = [path for path in (target / "media").rglob(".*") if path.is_file()]
    assert not [path for path in hidden if path.name.endswith((".tmp", ".part", ".part.json"))]
