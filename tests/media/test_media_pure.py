"""Names, checksums, URLs and answers of stores: what media do without a network."""

import base64
import hashlib
import io
import re
import zlib
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from harvester.cli.media_progress import FileSpeed, media_picture
from harvester.errors import RateLimited, SkipRow, Unavailable
from harvester.labels.wire import PlanRow
from harvester.media.answers_of_stores import LinkRefused, check_content, is_complete, start_of
from harvester.media.checksums import Hashes, checksums_of
from harvester.media.counters import MediaCounters
from harvester.media.file_names import PATH_PATTERN, extension, stem_of
from harvester.media.links import Link, expiry_of
from harvester.media.safe_urls import UrlRefused, UrlRules
from harvester.media.unit_files import SliceFacts, UnitFacts
from harvester.media.wanted import wanted_media

UNIT = "0a7cfa86-1100-47d3-9e76-271eecab2a9d"
MD5 = hashlib.md5(b"file").digest()


@pytest.mark.parametrize(
    ("title", "mime_type", "expected"),
    [
        ("street.JPG", None, "jpg"),
        ("scan.nii.gz", None, "nii.gz"),
        ("report.2024", "application/pdf", "pdf"),
        ("v1.2", "image/png", "png"),
        ("no extension", "application/dicom", "dcm"),
        ("a.b/../../c", "video/mp4", "mp4"),
        ("x.jpg?token=1", None, "bin"),
        (".jpg", "image/jpeg", "jpg"),
        ("x.jp\u202eg", None, "bin"),
        (None, None, "bin"),
        (None, "text/plain; charset=utf-8", "txt"),
        (None, "text/x-c++src", "bin"),
        (None, "application/manifest+json", "bin"),
        ("x.c++", "text/x-c++src", "bin"),
    ],
)
def test_an_extension_comes_from_the_title_or_the_mime_type(
    title: str | None, mime_type: str | None, expected: str
) -> None:
    """What is no extension is not taken for one, and nothing of a title but that ends up in a name."""
    assert extension(title, mime_type) == expected


def test_a_name_is_a_hash_whatever_the_server_sends() -> None:
    """A hash stays; any other text becomes a digest. Spaces are always digests."""
    unit_hash = "0a7cfa86-1100-47d3-9e76-271eecab2a9d"
    assert stem_of(unit_hash, None) == unit_hash
    odd = {stem_of(text, None) for text in ("../x", "a/b", "", ".hidden", "objects-00000", "a b")}
    assert len(odd) == 6
    assert all(len(name) == 32 and name.isalnum() for name in odd)
    assert stem_of(unit_hash, "gs://bucket/x").startswith(f"{unit_hash}-")
    for path in ("objects-00000.ndjson", "media.json", "../a.jpg", ".a.jpg", "a/b/c.jpg", unit_hash):
        assert not re.match(PATH_PATTERN, path)
    for path in (f"{unit_hash}.nii.gz", f"{stem_of('x', 'y')}.jpg", f"{unit_hash}/00012.dcm"):
        assert re.match(PATH_PATTERN, path)


def test_a_unit_with_slices_has_a_folder_and_one_without_has_a_file() -> None:
    """The number of a slice is its name; the layer that the image itself is has the image's file."""
    unit = UnitFacts("l", "main", UNIT, "dicom", UNIT, "series", mime_type="application/dicom")
    assert [file.path for file in unit.files()] == [f"{UNIT}.dcm"]
    sliced = UnitFacts("l", "main", UNIT, "dicom", UNIT, "s", slices=[SliceFacts(7, "x.dcm"), SliceFacts(8)])
    assert [file.path for file in sliced.files()] == [f"{UNIT}/00007.dcm", f"{UNIT}/00008.bin"]
    assert sliced.only_file().path == f"{UNIT}.bin"
    root = UnitFacts("l", "main", UNIT, "image", UNIT, "a.png", space_id="root")
    assert root.only_file().path == f"{UNIT}.png"


def test_pages_and_slices_are_no_frames_of_a_video() -> None:
    """A member of a group has a number of frames, whatever it is: its name says if it may be a video."""
    for name, expected in (("a.mp4", True), ("a.mkv", True), ("a", True), ("a.pdf", False), ("a.dcm", False),
                           ("a.nii.gz", False), ("a.gif", False)):  # fmt: skip
        member = UnitFacts("l", "main", UNIT, "group", UNIT, name, space_id="s", number_of_frames=3)
        assert member.is_video is expected, name


def test_checksums_are_found_where_stores_write_them() -> None:
    """Google, Azure and Amazon; a part's Content-MD5 is not asked for, since only whole answers are read."""
    text = base64.b64encode(MD5).decode()
    sha256 = base64.b64encode(hashlib.sha256(b"file").digest()).decode()
    crc32 = base64.b64encode(zlib.crc32(b"file").to_bytes(4, "big")).decode()
    crc32c = base64.b64encode(bytes.fromhex("e3069283")).decode()
    assert checksums_of({"x-goog-hash": f"crc32c={crc32c}, md5={text}"}) == {
        "md5": MD5.hex(),
        "crc32c": "e3069283",
    }
    assert checksums_of({"x-amz-checksum-crc32c": crc32c}) == {"crc32c": "e3069283"}
    assert checksums_of({"x-amz-checksum-crc64nvme": "rosUhgp5mIg="}) == {}  # not verified
    assert checksums_of({"Content-MD5": text}) == {"md5": MD5.hex()}
    assert checksums_of({"x-ms-blob-content-md5": text}) == {"md5": MD5.hex()}
    assert checksums_of({"x-amz-checksum-sha256": sha256}) == {"sha256": hashlib.sha256(b"file").hexdigest()}
    assert checksums_of({"x-amz-checksum-crc32": crc32}) == {"crc32": f"{zlib.crc32(b'file'):08x}"}
    assert checksums_of({"x-amz-checksum-crc32": crc32, "x-amz-checksum-type": "COMPOSITE"}) == {}
    packed = {"x-goog-hash": f"md5={text}", "x-goog-stored-content-encoding": "gzip"}
    assert checksums_of(packed) == {}  # Google has unpacked it: they are those of the packed one
    assert checksums_of(packed | {"x-goog-stored-content-encoding": "identity"}) == {"md5": MD5.hex()}


@pytest.mark.parametrize(
    ("headers", "is_md5"),
    [
        ({"x-amz-request-id": "1"}, True),
        ({"Server": "AmazonS3"}, True),
        ({"Server": "nginx"}, False),
        ({"x-amz-request-id": "1", "x-amz-server-side-encryption": "aws:kms"}, False),
        ({"x-amz-request-id": "1", "x-amz-server-side-encryption-customer-algorithm": "AES256"}, False),
    ],
)
def test_an_etag_is_a_checksum_only_where_it_is_one(headers: dict[str, str], is_md5: bool) -> None:
    """Amazon's, of an object that is neither in parts nor encrypted with a key of its own."""
    assert ("md5" in checksums_of(headers | {"ETag": f'"{MD5.hex()}"'})) is is_md5
    assert "md5" not in checksums_of(headers | {"ETag": f'"{MD5.hex()}-2"'})


def test_crc32c_is_that_of_the_standard() -> None:
    """The check value of the catalogue of CRCs, of the digits 1 to 9, in two pieces."""
    hashes = Hashes()
    hashes.expect({"crc32c": "e3069283"})
    hashes.update(b"12345")
    assert hashes.differs() == "crc32c"
    hashes.update(b"6789")
    assert hashes.differs() is None


def test_hashes_tell_which_checksum_is_wrong() -> None:
    """Any number of pieces, any of the algorithms."""
    hashes = Hashes()
    hashes.expect({"md5": MD5.hex(), "crc32": f"{zlib.crc32(b'file'):08x}"})
    hashes.update(b"fi")
    hashes.update(b"le")
    assert hashes.differs() is None
    assert hashes.sha256 == hashlib.sha256(b"file").hexdigest()
    hashes.update(b"!")
    assert hashes.differs() == "md5"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("X-Amz-Date=20261201T100000Z&X-Amz-Expires=60", datetime(2026, 12, 1, 10, 1, tzinfo=UTC)),
        ("x-goog-date=20261201T100000Z&X-Goog-Expires=60", datetime(2026, 12, 1, 10, 1, tzinfo=UTC)),
        ("Expires=1796119260&Signature=x", datetime(2026, 12, 1, 10, 1, tzinfo=UTC)),
        ("se=2026-12-01T10%3A01%3A00Z&sig=x", datetime(2026, 12, 1, 10, 1, tzinfo=UTC)),
        ("X-Amz-Date=no&X-Amz-Expires=60", None),
        ("se=soon", None),
        ("", None),
    ],
)
def test_the_end_of_a_url_is_read_from_its_query(query: str, expected: datetime | None) -> None:
    """As each store writes it; None where it does not say."""
    assert expiry_of(f"https://store.example/a?{query}") == expected


def test_a_url_that_had_expired_when_it_arrived_is_tried() -> None:
    """The clock of this machine is ahead: to ask for another URL would not help."""
    now = datetime.now(UTC)
    assert Link("https://h/a", now, now - timedelta(hours=1)).is_fresh()
    assert not Link("https://h/a", now - timedelta(hours=2), now - timedelta(hours=1)).is_fresh()


def test_rows_on_two_branches_have_one_file() -> None:
    """It is counted once, as wanted and as missing."""
    unit = UnitFacts("l", "main", UNIT, "pdf", UNIT, "a.pdf")
    with wanted_media() as wanted:
        for number in range(3):
            wanted.add(PlanRow(f"l{number}", f"branch {number}", UNIT, "d"), [unit], [unit])
        assert wanted.files == 1
        assert [wanted.count_new("missing", row.units) for row in wanted.missing()] == [1, 0, 0]


def test_progress_fits_into_a_narrow_terminal() -> None:
    """Files and time left are one line at 40 columns: there is no bar then, only numbers."""
    counters, speed = MediaCounters(files=5000, fetched=1234), FileSpeed(120, 33e6, 754)
    shown = {}
    for width in (40, 100):
        console = Console(width=width, file=io.StringIO(), force_terminal=False)
        with console.capture() as captured:
            console.print(media_picture(counters, speed, width))
        shown[width] = captured.get().splitlines()[0].rstrip()
    assert shown[40] == "25% 1,234 of 5,000 12 min 34 s left"
    assert shown[100].endswith("25% 1,234 of 5,000 files 12 min 34 s left")
    assert shown[100].startswith("━")


def test_a_link_shows_nothing_of_its_url() -> None:
    """Not in a traceback, not in a log."""
    assert "secret" not in repr(Link.of("https://h/secret?sig=secret"))


PUBLIC = UrlRules.of("https://api.encord.com")
LOCAL = UrlRules.of("https://127.0.0.1:8443")


@pytest.mark.parametrize(
    "url",
    [
        "http://storage.googleapis.com/a",
        "ftp://h/a",
        "file:///etc/passwd",
        "https://user:pw@h/a",
        "https:///a",
        "https://h/a b",
        "https://h/\n",
        "https://[::1",
        "https://127.0.0.1/a",
        "https://169.254.169.254/latest/meta-data",
        "https://10.0.0.1/a",
        "https://[::ffff:10.0.0.1]/a",
        "https://[64:ff9b::a00:1]/a",
        "https://[fd00::1]/a",
        "https://0.0.0.0/a",
        "https://224.0.0.1/a",
        "https://192.0.0.192/a",
        "https://168.63.129.16/a",
        "https://[fec0::1]/a",
        "https://good\\evil/a",
        "https://%31%32%37.0.0.1/a",
        "https://a%00b/a",
        "https://2130706433/a",
        "https://0x7f.1/a",
        "https://0251.0376.0251.0376/a",
        "https://127.0.0.1./a",
    ],
)
def test_a_url_that_is_not_https_to_a_public_address_is_refused(url: str) -> None:
    """Whatever a server sends."""
    with pytest.raises(UrlRefused) as refused:
        PUBLIC.check_url(url)
    assert "meta-data" not in str(refused.value)


def test_loopback_is_allowed_while_the_api_is_there() -> None:
    """By http too, but never after a redirect; no other private address comes with it."""
    LOCAL.check_url("http://127.0.0.1:9/a")
    LOCAL.check_url("https://localhost:9/a", redirected=True)
    for url in ("http://10.0.0.1/a", "https://10.0.0.1/a"):
        with pytest.raises(UrlRefused):
            LOCAL.check_url(url)
    with pytest.raises(UrlRefused, match="redirect is not https"):
        LOCAL.check_url("http://127.0.0.1:9/a", redirected=True)


def test_a_private_host_is_allowed_by_name_only() -> None:
    """`--allow-private HOST`: that host, at any address, and no other."""
    rules = UrlRules.of("https://api.encord.com", ["minio.corp", "10.0.0.7"])
    rules.check_address("minio.corp", "10.1.2.3")
    rules.check_url("https://10.0.0.7/a")
    with pytest.raises(UrlRefused, match=r"--allow-private other\.corp"):
        rules.check_address("other.corp", "10.1.2.3")
    with pytest.raises(UrlRefused):
        rules.check_address("evil.example", "127.0.0.1")
    PUBLIC.check_address("storage.googleapis.com", "142.250.185.91")


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (400, LinkRefused, None),
        (403, LinkRefused, None),
        (404, SkipRow, "gone"),
        (410, SkipRow, "gone"),
        (418, SkipRow, "unreadable"),
        (429, RateLimited, None),
        (500, Unavailable, None),
        (503, Unavailable, None),
    ],
)
def test_a_status_says_what_to_do_next(status: int, error: type[Exception], code: str | None) -> None:
    """Another URL, another attempt, or giving up."""
    with pytest.raises(error) as raised:
        start_of(status, {"Retry-After": "3"}, asked_from=0)
    if code:
        assert raised.value.failure == code
    if status in (429, 503):
        assert raised.value.retry_after == 3


def test_a_part_is_taken_only_if_it_is_the_one_that_was_asked_for() -> None:
    """The rest of the file from there to its end."""
    start = start_of(206, {"Content-Range": "bytes 5-9/10", "ETag": '"a"'}, asked_from=5)
    assert (start.first, start.total, start.validator) == (5, 10, '"a"')
    for wrong in ("bytes 4-9/10", "bytes 5-8/10", "bytes 5-9/*", "pages 5-9/10", ""):
        with pytest.raises(Unavailable):
            start_of(206, {"Content-Range": wrong}, asked_from=5)
    assert is_complete({"Content-Range": "bytes */10"}, 10)
    assert not is_complete({"Content-Range": "bytes */10"}, 9)


def test_a_weak_etag_does_not_identify_bytes() -> None:
    """Then a file is begun anew; without any, its date does (RFC 9110)."""
    assert start_of(200, {"ETag": 'W/"a"'}, asked_from=0).validator is None
    assert start_of(200, {"Last-Modified": "x"}, asked_from=0).validator == "x"


def test_a_web_page_is_no_picture() -> None:
    """By its type or by its first bytes; where the file may be a page, it is one."""
    for data, kind in ((b"\xff\xd8", "text/html"), (b"\n<!DOCTYPE html>", "image/jpeg"), (b"<html>", "")):
        with pytest.raises(SkipRow, match="web page"):
            check_content(data, {"Content-Type": kind}, "image/jpeg", "a.jpg")
    check_content(b"<html>", {"Content-Type": "text/html"}, None, "a.html")
    check_content(b"<html>", {"Content-Type": "text/html"}, "text/plain", "a.bin")
    check_content(b"<html>", {"Content-Type": "text/html"}, None, "a.bin")
    check_content(b"\xff\xd8", {"Content-Type": "image/jpeg"}, "image/jpeg", "a.jpg")


def test_a_compressed_answer_is_no_file() -> None:
    """It was asked for as it is."""
    with pytest.raises(SkipRow, match="compressed"):
        start_of(200, {"Content-Encoding": "gzip"}, asked_from=0)
    for encoding in ("", "Identity", "aws-chunked"):  # names of no compression
        assert start_of(200, {"Content-Encoding": encoding, "Content-Length": "3"}, asked_from=0).total == 3
