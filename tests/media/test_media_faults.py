"""Stores that misbehave: what `harvester media` says, and what lies on disk afterwards."""

import shutil
from pathlib import Path

import pytest

from tests.media.conftest import MediaPlatform

IMAGES = ("--data-type", "image", "--read-timeout", "1s")


@pytest.fixture
def target(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "out"))


@pytest.mark.parametrize(
    "fault",
    [
        "403", "expired", "429", "500", "503", "truncated", "stalled", "mute", "reset", "closed", "slow",
        "wrong_checksum", "changed",
    ],
)  # fmt: skip
def test_what_passes_is_waited_out(platform: MediaPlatform, target: Path, fault: str) -> None:
    """Some files are struck once; all are there in the end, whole and right."""
    done = platform.media(
        target, *IMAGES, media=(fault,), media_share=0.4, media_times=1, trickle_seconds=0.01
    )
    assert done.code == 0, done.said
    done.check()
    assert done.summary["counts"]["failed"] == 0
    assert platform.simulator.stats()["struck"][fault] > 0
    assert done.summary["run"]["fetched"] == done.summary["counts"]["fetched"] > 5


@pytest.mark.parametrize(
    ("fault", "error", "says"),
    [
        ("403", "forbidden", "refuses the URL (status 403)"),
        ("expired", "forbidden", "refuses the URL"),
        ("404", "gone", "no such file (status 404)"),
        ("truncated", "unavailable", "the answer breaks off"),
        ("wrong_length", "unreadable", "differs"),
        ("wrong_checksum", "unreadable", "differs"),
        ("html", "unreadable", "web page"),
        ("redirect_http", "forbidden", "a redirect is not https"),
        ("redirect_private", "forbidden", "private address"),
        ("redirect_loop", "unreadable", "redirects without end"),
    ],
)
def test_what_does_not_pass_is_listed(
    platform: MediaPlatform, target: Path, fault: str, error: str, says: str
) -> None:
    """Exit 3, one line a file that says why, nothing under a final name; once it is over, all is fetched."""
    failed = platform.media(target, *IMAGES, "--max-attempts", "2", media=(fault,))
    assert failed.code == 3
    failed.check()
    assert failed.summary["counts"]["fetched"] == 0
    assert len(failed.failed) == failed.summary["counts"]["failed"] > 5
    assert {line["error"] for line in failed.failed} == {error}
    assert all(says in line["message"] for line in failed.failed), failed.failed[0]
    assert "to try again: harvester media" in failed.said
    assert not [path for path in (target / "media").rglob("*.jpg") if not path.name.startswith(".")]
    again = platform.media(target, *IMAGES)
    assert again.code == 0, again.said
    again.check()
    assert not again.failed
    assert again.summary["counts"]["fetched"] == failed.summary["counts"]["failed"]


def test_what_is_wrong_with_one_file_costs_no_other(platform: MediaPlatform, target: Path) -> None:
    """A store that always fails for some files: these are listed, the others are there."""
    done = platform.media(target, *IMAGES, "--max-attempts", "2", media=("500",), media_share=0.3)
    assert done.code == 3
    done.check()
    assert {line["error"] for line in done.failed} == {"unavailable"}
    assert done.summary["counts"]["fetched"] > done.summary["counts"]["failed"] > 0


def test_a_redirect_to_another_https_host_is_followed(platform: MediaPlatform, target: Path) -> None:
    """As stores do between regions."""
    done = platform.media(target, *IMAGES, media=("redirect_host",))
    assert done.code == 0, done.said
    done.check()


def test_urls_that_live_for_a_moment_are_enough(platform: MediaPlatform, target: Path) -> None:
    """They are asked for in small batches, right before they are used, and again when their time is over."""
    done = platform.media(
        target, *IMAGES, "--concurrency", "2",
        media_url_life=1.0, media=("slow",), media_share=0.5, trickle_seconds=0.05,
    )  # fmt: skip
    assert done.code == 0, done.said
    done.check()
    assert done.summary["run"]["renewed"] > 0


def test_a_rate_limit_is_found_and_kept(platform: MediaPlatform, target: Path) -> None:
    """Refused requests wait; no file fails."""
    done = platform.media(target, "--data-type", "dicom", media_rate=8.0)
    assert done.code == 0, done.said
    assert done.summary["run"]["refused"] > 0
