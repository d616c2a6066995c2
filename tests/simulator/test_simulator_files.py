"""The files that the platform serves: real ones, for every data unit, through the SDK's own calls."""

import base64
import hashlib
import json
import struct
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from itertools import pairwise
from typing import Any

import google_crc32c
import pytest
from encord import EncordUserClient
from encord.exceptions import AuthorisationError
from encord.objects import LabelRowV2
from encord.orm.storage import StorageItemType as Kind
from encord.project import Project
from encord.storage import StorageItem

from harvester.simulator import Simulator, WorldSpec
from harvester.simulator.storage.signing import CANARY
from tests.simulator import files
from tests.simulator.client import Client
from tests.simulator.files import Files

SPEC = WorldSpec(rows=90, unlabelled=0.2, mix=("all", "scene_images"), video_frames=20)


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator(SPEC) as running, pytest.MonkeyPatch.context() as patch:
        patch.setenv("REQUESTS_CA_BUNDLE", str(running.ca_file))
        yield running


@pytest.fixture(scope="module")
def user(simulator: Simulator) -> EncordUserClient:
    return EncordUserClient.create_with_ssh_private_key(
        ssh_private_key_path=str(simulator.ssh_key_file), domain=simulator.url
    )


@pytest.fixture(scope="module")
def project(user: EncordUserClient, simulator: Simulator) -> Project:
    return user.get_project(simulator.project_hash)


@pytest.fixture(scope="module")
def rows(project: Project) -> list[LabelRowV2]:
    return project.list_label_rows_v2()


@pytest.fixture(scope="module")
def items(user: EncordUserClient, rows: list[LabelRowV2]) -> list[StorageItem]:
    """The item of each row, in the order of the rows."""
    return user.get_storage_items([row.backing_item_uuid or "" for row in rows], sign_url=True)


@pytest.fixture(scope="module")
def web(simulator: Simulator) -> Iterator[Files]:
    fetched = Files(simulator)
    yield fetched
    fetched.close()


def of_kind(items: list[StorageItem], kind: Kind) -> list[StorageItem]:
    found = [item for item in files.leaves(items) if item.item_type == kind]
    assert found
    return found


def url(item: StorageItem) -> str:
    signed = item.get_signed_url()
    assert signed
    return signed


def test_every_row_has_an_item_in_the_order_asked_for(
    rows: list[LabelRowV2], items: list[StorageItem]
) -> None:
    """Rows without a label too; the name is the data unit's title."""
    assert [item.uuid for item in items] == [row.backing_item_uuid for row in rows]
    assert [item.name for item in items] == [row.data_title for row in rows]
    assert any(not row.label_hash for row in rows)
    assert {item.storage_location.value for item in items} == {"gcp", "s3", "azure"}


def test_every_file_is_what_its_item_says(items: list[StorageItem], web: Files) -> None:
    """Size, MIME type, and no two files are the same."""
    contents = set()
    for item in files.leaves(items):
        answer = web.get(url(item))
        assert answer.status == 200
        assert len(answer.data) == item.file_size == int(answer.headers["content-length"])
        assert answer.headers["content-type"] == item.mime_type
        contents.add(answer.data)
    assert len(contents) == sum(1 for _ in files.leaves(items)) > 100


def test_images_have_the_size_that_rows_say(items: list[StorageItem], web: Files) -> None:
    """Those of a group show their place in it."""
    for item in of_kind(items, Kind.IMAGE)[:20]:
        assert files.picture(web.get(url(item)).data)[1] == (item.width, item.height) == (1920, 1080)
    group = next(item for item in items if item.item_type == Kind.IMAGE_GROUP)
    images = list(group.get_child_items(get_signed_urls=True))
    assert [files.picture(web.get(url(image)).data)[0] for image in images] == list(range(len(images)))
    kinds = {item.mime_type for item in of_kind(items, Kind.IMAGE)}
    assert kinds == {"image/jpeg", "image/png"}


def test_frames_of_a_video_show_their_number(
    rows: list[LabelRowV2], items: list[StorageItem], web: Files
) -> None:
    """As many as the label row says, shown at one rate."""
    row, item = next(
        (row, item) for row, item in zip(rows, items, strict=True) if item.item_type == Kind.VIDEO
    )
    shown = files.frames(web.get(url(item)).data)
    assert [number for number, _ in shown] == list(range(row.number_of_frames))
    assert item.frame_count == row.number_of_frames
    step = 1 / Fraction(str(item.fps))
    assert all(time == pytest.approx(float(step * number)) for number, time in shown)


def test_a_project_may_have_videos_of_a_variable_frame_rate() -> None:
    """The same frames, between which different times pass."""
    spec = WorldSpec(rows=1, mix="video", unlabelled=0, video_frames=30, variable_frame_rate=True)
    with Simulator(spec, tls=False) as running:
        user = EncordUserClient.create_with_ssh_private_key(
            ssh_private_key_path=str(running.ssh_key_file), domain=running.url
        )
        row = user.get_project(running.project_hash).list_label_rows_v2()[0]
        (item,) = user.get_storage_items([row.backing_item_uuid or ""], sign_url=True)
        web = Files(running)
        shown = files.frames(web.get(url(item)).data)
        web.close()
    assert [number for number, _ in shown] == list(range(row.number_of_frames))
    steps = {round((later - time) * 2 * (item.fps or 0)) for (_, time), (_, later) in pairwise(shown)}
    assert steps == {1, 2, 3}


def test_other_requests_are_answered_while_a_video_is_encoded() -> None:
    """Asking for an item tells the size of its file, which has to be made for that."""
    with Simulator(WorldSpec(rows=1, mix="video", unlabelled=0, video_frames=60), tls=False) as running:
        user = EncordUserClient.create_with_ssh_private_key(
            ssh_private_key_path=str(running.ssh_key_file), domain=running.url
        )
        row = user.get_project(running.project_hash).list_label_rows_v2()[0]
        with ThreadPoolExecutor(1) as other:
            asked = other.submit(user.get_storage_items, [row.backing_item_uuid or ""])
            while not (stats := running.stats())["by_kind"].get("POST storage/items/get-bulk"):
                pass
            assert stats["in_flight"] == 1
            assert asked.result()[0].frame_count == 60


def test_slices_are_dicom_files_and_volumes_nifti(items: list[StorageItem], web: Files) -> None:
    series = next(item for item in items if item.item_type == Kind.DICOM_SERIES)
    assert series._orm_item.signed_url is None
    slices = list(series.get_child_items(get_signed_urls=True))
    assert len(slices) == series.frame_count
    for number, item in enumerate(slices):
        elements = files.dicom(web.get(url(item)).data)
        assert elements[0x0008, 0x0018].rstrip(b"\0").decode() == item.dicom_instance_uid
        assert struct.unpack("<2H", elements[0x0028, 0x0010] + elements[0x0028, 0x0011]) == (512, 512)
        assert files.slice_number(elements[0x7FE0, 0x0010], 512) == number
    volume = of_kind(items, Kind.NIFTI)[0]
    data = web.get(url(volume)).data
    assert struct.unpack_from("<i", data)[0] == 348
    assert data[344:348] == b"n+1\0"
    sizes = struct.unpack_from("<4h", data, 40)
    assert sizes == (3, 512, 512, volume.frame_count)
    last = data[352 + (sizes[3] - 1) * 512 * 512 :][: 512 * 512]
    assert files.slice_number(last, 512) == sizes[3] - 1


def test_sounds_are_as_long_as_they_should_be(items: list[StorageItem], web: Files) -> None:
    """MP3 for rows of audio, WAV inside groups."""
    sounds = of_kind(items, Kind.AUDIO)
    assert {item.mime_type for item in sounds} == {"audio/mpeg", "audio/wav"}
    for item in sounds:
        seconds, rate = files.seconds_of_sound(web.get(url(item)).data)
        assert seconds == pytest.approx(item.duration, abs=0.1)
        assert rate == item.audio_sample_rate


def test_documents_are_as_long_as_labels_reach(items: list[StorageItem], web: Files) -> None:
    document = of_kind(items, Kind.PDF)[0]
    said = files.pages(web.get(url(document)).data)
    assert said == [f"page {number}".encode() for number in range(document.frame_count or 0)]
    texts = {item.mime_type: web.get(url(item)).data for item in of_kind(items, Kind.PLAIN_TEXT)}
    assert len(texts["text/plain"].decode("ascii")) >= 2000
    assert texts["text/html"].count(b"<p>") == 9
    table = web.get(url(of_kind(items, Kind.TIMESERIES)[0])).data.decode().splitlines()
    assert table[0] == "time,speed,note"
    assert {line.count(",") for line in table} == {2}


def test_scenes_give_their_files_through_the_scene_reader(
    user: EncordUserClient, items: list[StorageItem], web: Files
) -> None:
    """Images and point clouds; a recording is one file, whose link is in the label row."""
    scenes = [item for item in items if item.item_type == Kind.SCENE and not item.name.endswith(".mcap")]
    urls = [found for item in scenes for found in files.scene_urls(user, item)]
    names = {files.path(found).rpartition(".")[2] for found in urls}
    assert names == {"jpg", "pcd"}
    for found in urls[:20]:
        answer = web.get(found)
        assert answer.status == 200
        assert answer.data.startswith((b"\xff\xd8\xff", b"# .PCD v0.7"))


def test_children_of_a_group_are_named_by_the_keys_of_its_layout(
    rows: list[LabelRowV2], items: list[StorageItem]
) -> None:
    """The summary's layout has them, as the spaces of the row have them."""
    row, group = next(
        (row, item) for row, item in zip(rows, items, strict=True) if item.item_type == Kind.GROUP
    )
    layout = group.get_summary().data_group
    assert layout
    children = {item.uuid: item.name for item in group.get_child_items()}
    assert {child.uuid for child in layout.layout_contents.values()} == set(children)
    assert [f"{key}.bin" for key in layout.layout_contents] == list(children.values())
    assert len(children) == len(row.get_spaces()) or not row.is_labelling_initialised


def test_signed_links_of_label_rows_lead_to_the_same_files(
    simulator: Simulator, rows: list[LabelRowV2], items: list[StorageItem], web: Files
) -> None:
    """Of every type that has links there; those without say null or nothing."""
    of_row = {row.label_hash: item for row, item in zip(rows, items, strict=True) if row.label_hash}
    linked = set()
    client = Client(simulator)
    found = client.v1("labelrow/GET", list(of_row), {"get_signed_url": True}).json["response"]
    client.close()
    for label_row in found:
        by_path = {files.path(url(leaf)): leaf for leaf in files.leaves([of_row[label_row["label_hash"]]])}
        for unit in label_row["data_units"].values():
            for link in filter(None, (unit.get("data_link"), *unit.get("data_links", ()))):
                linked.add(label_row["data_type"])
                data = web.get(link).data
                if label_row["data_type"] == "scene":
                    assert files.mcap_records(data) == [0x01, 0x0C, 0x0F, 0x02]
                else:
                    assert len(data) == by_path[files.path(link)].file_size
    assert linked == {
        "image", "img_group", "video", "dicom", "nifti", "pdf", "audio", "time_series", "plain_text", "scene",
    }  # fmt: skip


def test_what_is_not_there_is_not_accessible(user: EncordUserClient, project: Project) -> None:
    with pytest.raises(AuthorisationError):
        user.get_storage_items([project.project_hash], sign_url=True)


# HTTP


def any_item(items: list[StorageItem], store: str, kind: Kind = Kind.PDF) -> StorageItem:
    return next(item for item in of_kind(items, kind) if item.storage_location.value == store)


def test_every_url_has_the_canary_its_signature_and_its_end(items: list[StorageItem]) -> None:
    names = {"gcp": "X-Goog-Expires=86400", "s3": "X-Amz-Expires=86400", "azure": "&se="}
    for item in files.leaves(items):
        assert url(item).count(CANARY) == 1
        assert names[item.storage_location.value] in url(item)


@pytest.mark.parametrize("store", ["gcp", "s3", "azure"])
def test_a_url_is_good_for_its_path_and_its_time(
    simulator: Simulator, items: list[StorageItem], web: Files, store: str
) -> None:
    """A day later it is over: Google's store then says 400, the others 403."""
    good, other = (url(item) for item in of_kind(items, Kind.IMAGE)[:2])
    assert web.get(good.replace(files.path(good), files.path(other))).status == 403
    signed = url(any_item(items, store, Kind.IMAGE))
    assert web.get(signed.replace(CANARY, "")).status == 403
    assert web.get(signed.partition("?")[0]).status == 403
    assert web.get(signed).status == 200
    simulator.set_faults(clock_ahead=86_401)
    ended = web.get(signed)
    simulator.set_faults()
    assert ended.status == (400 if store == "gcp" else 403)
    assert b"<Code>" in ended.data


@pytest.mark.parametrize("store", ["gcp", "s3", "azure"])
def test_ranges(items: list[StorageItem], web: Files, store: str) -> None:
    """Of this version: If-Range with another ETag gives the whole file."""
    signed = url(any_item(items, store))
    whole = web.get(signed)
    size, tag = len(whole.data), whole.headers["etag"]
    assert whole.headers["accept-ranges"] == "bytes"
    for asked, got in (
        ("bytes=100-", slice(100, None)),
        ("bytes=0-9", slice(0, 10)),
        ("bytes=-5", slice(-5, None)),
        (f"bytes=7-{size + 9}", slice(7, None)),
    ):
        part = web.get(signed, Range=asked, If_Range=tag)
        assert (part.status, part.data) == (206, whole.data[got])
        first = range(size)[got][0]
        assert part.headers["content-range"] == f"bytes {first}-{first + len(part.data) - 1}/{size}"
        assert part.headers["etag"] == tag
    assert web.get(signed, Range="bytes=5-", If_Range='"other"').status == 200
    assert web.get(signed, Range="bytes=0-1,4-5").status == 200
    beyond = web.get(signed, Range=f"bytes={size}-")
    assert (beyond.status, beyond.headers["content-range"]) == (416, f"bytes */{size}")


def test_head_has_the_headers_alone(simulator: Simulator, items: list[StorageItem], web: Files) -> None:
    signed = url(any_item(items, "gcp"))
    head, whole = web.get(signed, "HEAD"), web.get(signed)
    assert (head.status, head.data) == (200, b"")
    for name in ("content-length", "etag", "content-type", "last-modified", "x-goog-hash"):
        assert head.headers[name] == whole.headers[name]
    assert web.get(signed, "DELETE").status == 405
    simulator.set_faults(media_head=False)
    assert web.get(signed, "HEAD").status == 403
    simulator.set_faults()


def encoded(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def test_checksums_are_those_of_the_bytes(items: list[StorageItem], web: Files) -> None:
    """By store: x-goog-hash, x-amz-checksum-*, Content-MD5. An ETag is an MD5 in some stores only."""
    seen = set()
    for item in files.leaves(items):
        answer = web.get(url(item))
        data, headers = answer.data, answer.headers
        md5 = hashlib.md5(data).digest()
        match item.storage_location.value:
            case "gcp":
                hashes = files.header_list(answer, "x-goog-hash")
                seen |= set(hashes)
                assert hashes["crc32c"] == encoded(google_crc32c.value(data).to_bytes(4, "big"))
                assert hashes.get("md5") in (encoded(md5), None)
                assert (headers["etag"] == f'"{md5.hex()}"') is ("md5" in hashes)
            case "azure":
                assert headers["content-md5"] == encoded(md5)
                assert md5.hex() not in headers["etag"]
            case _ if "x-amz-checksum-crc32" in headers:
                seen.add("crc32")
                assert headers["x-amz-checksum-crc32"] == encoded(zlib.crc32(data).to_bytes(4, "big"))
                assert headers["etag"] == f'"{md5.hex()}-2"'
            case _:
                seen.add("sha256")
                assert headers["x-amz-checksum-sha256"] == encoded(hashlib.sha256(data).digest())
    assert seen == {"md5", "crc32c", "crc32", "sha256"}


def test_requests_and_bytes_are_counted_by_path(
    simulator: Simulator, items: list[StorageItem], web: Files
) -> None:
    """Bytes that were fetched twice show."""
    item = any_item(items, "s3", Kind.TIMESERIES)

    def counts() -> dict[str, Any]:
        found: dict[str, Any] = simulator.stats()["media"].get(
            files.path(url(item)), {"requests": 0, "bytes": 0}
        )
        return found

    before, size = counts(), item.file_size or 0
    web.get(url(item))
    web.get(url(item), Range="bytes=10-")
    web.get(url(item), "HEAD")
    after = counts()
    assert after["requests"] - before["requests"] == 3
    assert after["bytes"] - before["bytes"] == 2 * size - 10
    assert json.dumps(after)


def test_files_of_two_simulators_of_one_seed_are_the_same(items: list[StorageItem], web: Files) -> None:
    with Simulator(SPEC, tls=False) as second:
        user = EncordUserClient.create_with_ssh_private_key(
            ssh_private_key_path=str(second.ssh_key_file), domain=second.url
        )
        other = Files(second)
        chosen = [
            next(i for i in items if i.item_type == kind) for kind in (Kind.IMAGE, Kind.VIDEO, Kind.PDF)
        ]
        again = user.get_storage_items([item.uuid for item in chosen], sign_url=True)
        for mine, theirs in zip(chosen, again, strict=True):
            assert web.get(url(mine)).data == other.get(url(theirs)).data
        other.close()
