"""A run that is interrupted: it keeps what is there, and says how to go on."""

import shutil
import signal
import subprocess
from pathlib import Path

from harvester.simulator import Faults
from tests.e2e.conftest import wait_for
from tests.media.conftest import MediaPlatform
from tests.patience import LONG


def test_an_interrupted_run_keeps_what_is_there(
    platform: MediaPlatform, exported: Path, tmp_path: Path
) -> None:
    """Ctrl-C: exit 130 and the command to go on, which fetches only the rest."""
    target = Path(shutil.copytree(exported, tmp_path / "out"))
    platform.simulator.set_faults(Faults(media=("slow",), media_share=0.7, trickle_seconds=0.5))
    running = platform.command.start("media", target, stderr=subprocess.PIPE)
    folder = target / "media"
    wait_for(running, lambda: any(folder.glob("*.jpg")))
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=LONG)
    assert running.returncode == 130
    assert f"to go on: harvester media {target}" in said.decode()
    there = {path.name for path in folder.glob("*.*") if not path.name.startswith(".")}
    assert there
    done = platform.media(target)
    assert done.code == 0, done.said
    done.check()
    paths = {line["path"] for line in done.index}
    assert done.summary["run"]["fetched"] <= len(paths) - len(there & paths)
