"""Bodies: any cut, any number of members, never more than the caps."""

import gzip
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.encord import body
from harvester.encord.body import AnswerTooLarge, BrokenAnswer, decoded, unpacked


def cut(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    for size in sizes:
        if data[:size]:
            yield data[:size]
        data = data[size:]
    if data:
        yield data


def gunzip(data: bytes, sizes: list[int] | None = None) -> bytes:
    return b"".join(decoded(cut(data, sizes or []), "gzip", limit=float("inf")))


def at_once(data: bytes, encoding: str = "gzip", limit: int = 1024**3) -> bytes:
    return bytes(unpacked(data, encoding, limit=limit))


@given(
    members=st.lists(st.binary(max_size=3000), min_size=1, max_size=4),
    sizes=st.lists(st.integers(1, 50), max_size=60),
)
def test_every_member_comes_back_however_it_is_cut(members: list[bytes], sizes: list[int]) -> None:
    """Several gzip members are one body, wherever the network cuts them."""
    stream = b"".join(gzip.compress(member) for member in members)
    assert gunzip(stream, sizes) == b"".join(members)
    if len(members) == 1 or members[0] != members[-1]:
        assert at_once(stream) == b"".join(members)


@given(content=st.binary(min_size=1, max_size=3000), share=st.floats(0, 1, exclude_max=True))
def test_a_stream_cut_short_is_broken(content: bytes, share: float) -> None:
    """No prefix of a gzip stream passes for a whole one, but for nothing at all."""
    compressed = gzip.compress(content)
    prefix = compressed[: int(len(compressed) * share)]
    if prefix:
        for whole in (gunzip, at_once):
            with pytest.raises(BrokenAnswer):
                whole(prefix)


def test_a_damaged_stream_is_broken() -> None:
    """A bit turned over in the checksum, or no gzip at all."""
    compressed = bytearray(gzip.compress(b"labels" * 100))
    compressed[-6] ^= 1
    for sent in (bytes(compressed), b"<html></html>"):
        for whole in (gunzip, at_once):
            with pytest.raises(BrokenAnswer):
                whole(sent)


def test_what_follows_the_last_member_is_ignored_and_read() -> None:
    """Padding behind the stream is no error, and is consumed, so that the connection can be used again."""
    pieces = iter([gzip.compress(b"labels") + b"\0\0", b"\0" * 10, b"more"])
    assert b"".join(decoded(pieces, "gzip", limit=100)) == b"labels"
    assert list(pieces) == []
    for padding in (b"\0", bytes(8), bytes(100), b"more"):
        assert at_once(gzip.compress(b"labels") + padding) == b"labels"


def test_two_members_of_one_size_are_both_read() -> None:
    """What is unpacked at once must be all: the tail alone does not say that there was one before."""
    assert at_once(gzip.compress(b"label rows") + gzip.compress(b"more of it")) == b"label rowsmore of it"


@pytest.mark.parametrize("size", [0, 5, 7, 1000, 2**24, 2**32 - 1])
def test_a_tail_that_lies_about_the_size_is_broken(size: int) -> None:
    """Smaller, larger, or far larger than what is there."""
    sent = gzip.compress(b"labels")[:-4] + size.to_bytes(4, "little")
    with pytest.raises(BrokenAnswer):
        at_once(sent)


def test_a_bomb_is_refused_before_it_unpacks() -> None:
    """100 MB of zeros are given up at the ratio's cap, having unpacked a fifth of them."""
    sizes: list[int] = []
    bomb = gzip.compress(bytes(100 * 1024**2))
    with pytest.raises(AnswerTooLarge, match="over 1000 times"):
        sizes.extend(map(len, decoded([bomb], "gzip", limit=1024**4)))
    assert sum(sizes) < 20 * 1024**2
    with pytest.raises(AnswerTooLarge, match="over 1000 times"):
        at_once(bomb, limit=1024**4)


def test_ten_megabytes_that_unpack_from_nothing_do_no_harm() -> None:
    """Only what is larger must not come to more than a thousand times its size."""
    assert len(gunzip(gzip.compress(bytes(10 * 1024**2)))) == 10 * 1024**2
    with pytest.raises(AnswerTooLarge, match="over 1000 times"):
        gunzip(gzip.compress(bytes(11 * 1024**2)))


@pytest.mark.parametrize("encoding", ["", "identity", "gzip", "x-gzip"])
def test_the_cap_holds_for_the_size_unpacked(encoding: str) -> None:
    """One byte more than allowed is too much, and just as much as allowed is not."""
    content = b"labels" * 1000
    sent = gzip.compress(content) if "gzip" in encoding else content
    assert b"".join(decoded([sent], encoding, limit=len(content))) == content
    assert at_once(sent, encoding, limit=len(content)) == content
    with pytest.raises(AnswerTooLarge):
        list(decoded([sent], encoding, limit=len(content) - 1))
    with pytest.raises(AnswerTooLarge):
        at_once(sent, encoding, limit=len(content) - 1)


def test_an_encoding_that_was_not_asked_for_is_broken() -> None:
    """Only gzip is asked for."""
    with pytest.raises(BrokenAnswer, match="deflate"):
        list(decoded([zlib.compress(b"x")], "deflate", limit=100))


def test_a_large_body_is_joined_in_order() -> None:
    """Many pieces make one buffer; a single one is passed on as it is."""
    only = b"labels"
    assert body._joined(iter([only])) is only
    assert body._joined(iter([])) == b""
    assert body._joined(iter([b"a", b"b", b"c", b"d"])) == b"abcd"
