"""Compressed parts: what reads them, what their bytes depend on, and that damage is found and mended."""

import gzip
import hashlib
import io
import json
from contextlib import nullcontext
from functools import partial
from itertools import pairwise
from pathlib import Path

import duckdb
import msgspec
import pandas
import polars
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from harvester.errors import BadInput, TargetRefused
from harvester.output.commit import read_commits
from harvester.output.compression import SUFFIXES, OverlongLine, compressor, decompressed
from harvester.output.manifest import read_manifest
from harvester.output.target import LocalTarget
from harvester.output.verify import verify
from harvester.settings import Compression, Format
from tests.output.small import PURPOSE, contents, export
from tests.output.test_output_plan import spoil

BOTH: tuple[Compression, ...] = ("gzip", "zstd")


def exported(path: Path, compression: Compression | None) -> Path:
    """A small export into `path`."""
    format_ = msgspec.structs.replace(PURPOSE.format, compress=compression)
    export(LocalTarget(path), msgspec.structs.replace(PURPOSE, format=format_))
    return path


def plain(file: Path) -> bytes:
    """The file as `zstdcat` or `gzip -dc` give it."""
    data = file.read_bytes()
    if file.suffix == ".gz":
        return gzip.decompress(data)
    return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)).read()


@pytest.mark.parametrize("compression", BOTH)
def test_compressed_files_hold_what_plain_ones_do(tmp_path: Path, compression: Compression) -> None:
    """The same files but for their suffix, the same lines in each, failed rows among them."""
    straight, packed = exported(tmp_path / "plain", None), exported(tmp_path / "packed", compression)
    lines = {path.name + SUFFIXES[compression]: path.read_bytes() for path in straight.glob("*-*.ndjson")}
    assert "failed-00000.ndjson" + SUFFIXES[compression] in lines
    assert {path.name: plain(path) for path in packed.glob("*-*.ndjson*")} == lines


@pytest.mark.parametrize("compression", BOTH)
def test_the_manifest_speaks_of_the_files_as_they_are(tmp_path: Path, compression: Compression) -> None:
    """Size and sha256 are of the compressed file; lines are counted uncompressed."""
    out = exported(tmp_path / "out", compression)
    manifest = read_manifest(LocalTarget(out))
    assert manifest is not None
    assert manifest.options.compress == compression
    for file in manifest.parts:
        data = (out / file.name).read_bytes()
        assert (file.bytes, file.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        assert file.records == plain(out / file.name).count(b"\n")


@pytest.mark.parametrize("compression", BOTH)
def test_duckdb_polars_and_pandas_read_them_as_they_are(tmp_path: Path, compression: Compression) -> None:
    """All of them count the records that the manifest names, by nothing but the name of the file."""
    out = exported(tmp_path / "out", compression)
    name = f"objects-00000.ndjson{SUFFIXES[compression]}"
    expected = [json.loads(line)["label_hash"] for line in plain(out / name).splitlines()]
    assert expected
    path = str(out / name)
    found = duckdb.sql(f"select label_hash from read_json('{path}') order by all").fetchall()
    assert [label_hash for (label_hash,) in found] == sorted(expected)
    assert polars.read_ndjson(path)["label_hash"].to_list() == expected
    assert pandas.read_json(path, lines=True)["label_hash"].to_list() == expected


def test_a_zstd_file_is_one_frame_with_a_checksum(tmp_path: Path) -> None:
    """So `zstd -t` has something to test, and every reader finds the end."""
    data = (exported(tmp_path / "out", "zstd") / "objects-00000.ndjson.zst").read_bytes()
    assert zstandard.get_frame_parameters(data).has_checksum
    reader = zstandard.ZstdDecompressor().decompressobj()
    reader.decompress(data)
    assert reader.eof
    assert reader.unused_data == b""


def test_a_gzip_header_names_no_time_and_no_file(tmp_path: Path) -> None:
    """Either would differ from run to run."""
    data = (exported(tmp_path / "out", "gzip") / "objects-00000.ndjson.gz").read_bytes()
    assert data[:3] == b"\x1f\x8b\x08"
    assert data[3] == 0, "no flags: no name, no comment"
    assert data[4:8] == bytes(4), "no time"


@pytest.mark.parametrize("compression", BOTH)
@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, 250_000), max_size=6))
def test_bytes_do_not_depend_on_where_writes_end(compression: Compression, cuts: list[int]) -> None:
    """The same lines in other pieces are the same file."""
    data = b"".join(b'{"frame":%d,"value":%d}\n' % (i, i * i % 977) for i in range(8_000))
    bounds = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[start:end] for start, end in pairwise(bounds)]
    assert packed(pieces, compression) == packed([data], compression)


def packed(pieces: list[bytes], compression: Compression) -> bytes:
    stream = compressor(compression)
    return b"".join([*map(stream.compress, pieces), stream.flush()])


@pytest.mark.parametrize("compression", [None, *BOTH])
def test_what_is_compressed_comes_back(compression: Compression | None) -> None:
    """By the name of the file alone."""
    lines = [b"%d\n" % number for number in range(1000)]
    name = f"objects-00000.ndjson{SUFFIXES[compression]}"
    stream = compressor(compression)
    data = b"".join([*map(stream.compress, lines), stream.flush()])
    assert decompressed(io.BytesIO(data), name).readlines() == lines


MEGABYTE = 1024**2


@pytest.mark.parametrize(("lines", "overlong"), [((127,), False), ((100, 100, 100), False), ((1, 129), True)])
def test_a_small_file_with_an_enormous_line_is_not_read_to_its_end(
    lines: tuple[int, ...], overlong: bool
) -> None:
    """From 128 MB on a line must not have been compressed by more than a thousand."""
    stream = compressor("zstd")
    pieces = [piece for size in lines for piece in [bytes(MEGABYTE)] * size + [b"\n"]]
    data = b"".join([*map(stream.compress, pieces), stream.flush()])
    assert len(data) < MEGABYTE
    file = decompressed(io.BytesIO(data), "objects-00000.ndjson.zst")
    with pytest.raises(OverlongLine, match="more than 13") if overlong else nullcontext():
        assert sum(map(len, iter(partial(file.read, MEGABYTE), b""))) == sum(map(len, pieces))


@pytest.mark.parametrize("compression", BOTH)
@pytest.mark.parametrize("damage", ["deleted", "truncated", "flipped"])
def test_damage_is_named_and_mended(tmp_path: Path, compression: Compression, damage: str) -> None:
    """As for plain parts: `verify` names the file, and the next export ends with the same bytes."""
    out = exported(tmp_path / "out", compression)
    whole = contents(out)
    assert verify(LocalTarget(out)).problems == []
    name = f"rows-00001.ndjson{SUFFIXES[compression]}"
    spoil(out / name, damage)
    assert [problem.name for problem in verify(LocalTarget(out)).problems] == [name]
    exported(out, compression)
    assert contents(out) == whole


@pytest.mark.parametrize("compression", BOTH)
def test_every_flipped_bit_is_found(tmp_path: Path, compression: Compression) -> None:
    """Each byte of a compressed part, also those of its header that no reader looks at."""
    out = exported(tmp_path / "out", compression)
    path = out / f"objects-00000.ndjson{SUFFIXES[compression]}"
    data = path.read_bytes()
    for i in range(len(data)):
        path.write_bytes(data[:i] + bytes([data[i] ^ 4]) + data[i + 1 :])
        assert not verify(LocalTarget(out)).ok, f"byte {i}"


def test_a_target_of_another_compression_is_refused(tmp_path: Path) -> None:
    """Its parts would not fit together; an unfinished part of it is never mixed with others."""
    out = exported(tmp_path / "out", "zstd")
    before = contents(out)
    with pytest.raises(TargetRefused, match=r"with compress=zstd, not compress=gzip"):
        exported(out, "gzip")
    assert contents(out) == before
    manifest = read_manifest(LocalTarget(out))
    assert manifest is not None
    assert len(read_commits(LocalTarget(out), manifest.plan)) == 3


def test_another_compression_than_these_is_bad_input() -> None:
    """One line names those that there are."""
    with pytest.raises(BadInput, match="gzip, zstd"):
        Format(compress="brotli")  # type: ignore[arg-type]
