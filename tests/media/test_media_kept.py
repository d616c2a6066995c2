"""Media after the run: checked by `verify`, mended, kept up with syncs."""

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.media.conftest import PROJECT, MediaPlatform

PDFS = ("--data-type", "pdf")


@pytest.fixture
def target(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "out"))


def verified(platform: MediaPlatform, directory: Path) -> tuple[int, list[str], str]:
    done = platform.command("verify", directory, "--json")
    problems = json.loads(done.stdout)["problems"]
    return done.returncode, [f"{each['name']}: {each['what']}" for each in problems], done.stderr


def first(folder: Path) -> Path:
    return sorted(folder.glob("*.pdf"))[0]


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda path: path.unlink(), "missing"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "bytes, not"),
        (lambda path: os.truncate(path, 2**40), "bytes, not"),  # sparse; reading it would take hours
        (lambda path: path.write_bytes(b"x" + path.read_bytes()[1:]), "not those that were fetched"),
    ],
)
def test_what_verify_finds_damaged_is_fetched_again(
    platform: MediaPlatform, target: Path, damage: object, what: str
) -> None:
    """A file that is gone, cut off or changed: verify names it, and the command that it names mends it."""
    platform.media(target, *PDFS)
    assert verified(platform, target)[:2] == (0, [])
    path = first(target / "media")
    before = path.read_bytes()
    damage(path)  # type: ignore[operator]  # one of the above
    code, problems, said = verified(platform, target)
    assert code == 3
    assert len(problems) == 1
    assert problems[0].startswith(f"media/{path.name}: ")
    assert what in problems[0]
    assert "harvester media with --recheck" in said
    assert platform.media(target, *PDFS, "--recheck").summary["run"]["fetched"] == 1
    assert path.read_bytes() == before
    assert verified(platform, target)[:2] == (0, [])


@pytest.mark.parametrize("name", ["media.ndjson", "media.json"])
@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_is_named_and_goes_before_it_is_made_anew(
    platform: MediaPlatform, target: Path, name: str, make: object
) -> None:
    """A directory, a FIFO or a link in the place of index or summary: moved away, and all is as before."""
    platform.media(target, *PDFS)
    path = target / "media" / name
    path.unlink()
    make(path)  # type: ignore[operator]  # one of the above
    code, problems, _ = verified(platform, target)
    assert code == 3
    assert any(problem.startswith(f"media/{name}: ") and "move it away" in problem for problem in problems)
    path.rename(target.parent / name)
    platform.media(target, *PDFS)
    assert verified(platform, target)[:2] == (0, [])


@pytest.mark.parametrize("name", ["media.ndjson", "media.json"])
@pytest.mark.parametrize("content", [b"", b"{", None])
def test_a_damaged_index_is_made_anew(
    platform: MediaPlatform, target: Path, name: str, content: bytes | None
) -> None:
    """From the files that are there, without fetching one."""
    platform.media(target, *PDFS)
    path = target / "media" / name
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
        if name == "media.json" and content == b"{":
            os.truncate(path, 2**40)  # sparse, and more than is read at once
    code, problems, _ = verified(platform, target)
    assert code == 3
    assert any(name in problem for problem in problems)
    again = platform.media(target, *PDFS, "--recheck")
    assert again.summary["run"]["fetched"] == 0
    again.check()
    assert verified(platform, target)[:2] == (0, [])


def test_a_folder_of_its_own_is_verified_too(platform: MediaPlatform, target: Path, tmp_path: Path) -> None:
    """`harvester verify` takes the directory that was given to -o."""
    folder = tmp_path / "files"
    platform.media(target, "-o", folder, *PDFS, folder=folder)
    assert verified(platform, folder)[:2] == (0, [])
    first(folder).write_bytes(b"")
    assert verified(platform, folder)[0] == 3


def test_a_dry_run_makes_nothing(platform: MediaPlatform, target: Path, tmp_path: Path) -> None:
    """It names what a run would fetch, and the directory that is given to -o is not made."""
    folder = tmp_path / "files"
    foreseen = platform.media(target, *PDFS, "-o", folder, "--dry-run", folder=folder)
    assert foreseen.code == 0
    assert not folder.exists()
    done = platform.media(target, *PDFS, "-o", folder, folder=folder)
    assert foreseen.summary["counts"]["files"] == done.summary["counts"]["fetched"]
    assert foreseen.summary["bytes"] == done.summary["bytes"]


def test_other_units_stay_in_the_index(platform: MediaPlatform, target: Path) -> None:
    """A run for one data type keeps what another has fetched, in the index and on disk."""
    platform.media(target, *PDFS)
    done = platform.media(target, "--data-type", "audio")
    done.check()
    assert {line["data_type"] for line in done.index} == {"pdf", "audio"}


def test_an_index_with_another_digest_is_not_believed(platform: MediaPlatform, target: Path) -> None:
    """A sha256 in it is wrong: the next run hashes the files, and leaves nothing for verify to name."""
    index = target / "media/media.ndjson"
    assert platform.media(target, *PDFS).code == 0
    before = index.read_text()
    line = json.loads(before.splitlines()[0])
    index.write_text(before.replace(line["sha256"], "0" * 64, 1))
    assert verified(platform, target)[0] == 3
    again = platform.media(target, *PDFS)
    assert (again.code, again.summary["run"]["fetched"]) == (0, 1)
    again.check()
    assert verified(platform, target)[:2] == (0, [])


def test_files_of_others_are_not_touched(platform: MediaPlatform, target: Path, tmp_path: Path) -> None:
    """An export, this one or another, is no place for media; lists of the user's own are not deleted."""
    other = Path(shutil.copytree(target, tmp_path / "other"))
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "failed.ndjson").write_text('{"mine": 1}\n')
    for folder, why in ((target, "is an export"), (other, "is an export"), (mine, "has a failed.ndjson of")):
        done = platform.media(target, *PDFS, "-o", folder, folder=folder)
        assert done.code == 6
        assert f"{folder.name} {why}" in done.said
        assert not (folder / "media.json").exists()
    assert (mine / "failed.ndjson").read_text() == '{"mine": 1}\n'
    for folder in (target, other):
        assert verified(platform, folder)[:2] == (0, [])


def test_an_empty_name_is_not_the_current_directory(platform: MediaPlatform, target: Path) -> None:
    """As from `-o "$UNSET"`: exit code 2, one line, for media and for exports."""
    before = sorted(Path().iterdir())
    for verb in (("media", target), ("export", PROJECT)):
        done = platform.command(*verb, "-o", "", "--quiet")
        assert done.returncode == 2
        assert (
            done.stderr == "harvester: the name of a directory is empty: name one, or . for the current one\n"
        )
    assert sorted(Path().iterdir()) == before


def test_what_was_deleted_by_hand_is_not_named_as_removed(platform: MediaPlatform, target: Path) -> None:
    """A file of a unit that has left the export: only while it is there."""
    platform.media(target, *PDFS)
    path = first(target / "media")
    lines = (target / "media/media.ndjson").read_text().splitlines()
    stored = next(line for line in map(json.loads, lines) if line["path"] == path.name)
    left = [
        stored | {"path": path.name.replace(path.name[:8], digits)} for digits in ("00000000", "11111111")
    ]
    (target / "media/removed.ndjson").write_text("".join(json.dumps(line) + "\n" for line in left))
    shutil.copy(path, target / "media" / left[0]["path"])
    done = platform.media(target, *PDFS)
    assert done.summary["counts"]["removed"] == 1
    named = (target / "media/removed.ndjson").read_text()
    assert left[0]["path"] in named
    assert left[1]["path"] not in named
