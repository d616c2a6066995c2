"""Makes a data set in an object store whole or not at all.

A store has no rename, so files are written below ``.harvester/new`` and copied to their places at the end.

| step | readers see |
|---|---|
| the files, then ``conversion.json``, are written below ``.harvester/new`` | the earlier data set |
| the earlier list of files is copied, ``conversion.json`` moved to ``.harvester/old`` | none |
| the files are copied to their places | none |
| ``conversion.json`` is copied to its place | the new data set |
| files that only the earlier one had are deleted, and what is below ``.harvester`` | the new data set |

What has no ``conversion.json`` is no data set, whatever files are there. Once there is one below
``.harvester/new``, that data set is complete: if a run is killed then, the next one does the other steps
first. Each of them can be repeated.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import BinaryIO

from harvester.datasets.at_once import AtOnce, at_once
from harvester.datasets.conversion import CONVERSION, NEW, Conversion, write_conversion
from harvester.datasets.file_list import FILES, compared
from harvester.datasets.replacing import (
    HeldDataSet,
    Replacement,
    check_replaceable,
    data_sets_in,
    translated,
)
from harvester.datasets.written import output_in
from harvester.errors import HarvesterError, Unsound
from harvester.output.drafts import Draft
from harvester.output.layout import STATE
from harvester.output.lease import LOCK
from harvester.output.objectstore import ObjectStoreTarget

OLD = f"{STATE}/old"
_SMALL = 256 * 1024  # bytes; files up to this size are sent several at once, and meanwhile kept in memory
# Bytes up to which a store is asked to copy an object with one request. S3 does up to 5 GiB, which takes
# longer than a request may. Chosen.
COPIED_AT_ONCE = 1024**3


@contextmanager
def replaced_in_store(
    target: ObjectStoreTarget, begun: Conversion, keep_on: Callable[[], object]
) -> Iterator[Replacement]:
    """Give a data set to write into the objects of `target`, or in their place.

    Held by one process at a time. If it is not finished, what is there stays as it was.

    Args:
        begun: what the data set will be, as far as it is known.
        keep_on: called while files are sent; it may raise to stop.

    Raises:
        TargetRefused: another process makes it, or something else is there.
        Unsound: an earlier run was killed at its end, and the files that it had written are gone.
        StoreAway: the store is away, and for too long.
    """
    place = _StoredDataSet(target, begun)
    place.check()  # before anything is written, and the lock is an object, too
    with target.lock():
        place.check()
        place.resume()
        try:
            with (
                translated(target.name),
                at_once(keep_on, target.hurry) as sending,
                output_in(_Sent(target.within(NEW), sending)) as output,
            ):
                yield Replacement(output, partial(place.finish, sending))
        finally:
            place.end()


class _StoredDataSet:
    def __init__(self, target: ObjectStoreTarget, begun: Conversion) -> None:
        self._target = target
        self._new, self._old = target.within(NEW), target.within(OLD)
        self._begun = begun
        self._is_complete = False  # below `NEW`

    def check(self, done: Conversion | None = None) -> None:
        """Raise TargetRefused if there is anything but an earlier conversion of the same.

        If that one's ``conversion.json`` is damaged, only files that `done` has, too, may be there then.
        """
        held = data_sets_in(self._new, self._target, self._old)  # in this order there is always one
        if not held and self._target.size_of(CONVERSION) is not None:
            if done is None:
                return
            held = [HeldDataSet(self._new, done)]
        check_replaceable(self._target.name, self._names(), held, self._begun)

    def _names(self) -> Iterator[str]:
        own = (f"{NEW}/", f"{OLD}/")
        return (name for name, _ in self._target.all_names() if name != LOCK and not name.startswith(own))

    def resume(self) -> None:
        """End what a killed run has begun."""
        for complete in data_sets_in(self._new):
            self._is_complete = True
            self._put_in_place(complete)
        self._clear()

    def finish(self, sending: AtOnce, done: Conversion) -> Conversion:
        """Let the files that were written take the place of the earlier ones."""
        sending.finish()
        self.check(done)
        self._is_complete = True
        sealed = write_conversion(self._new, done)
        self._put_in_place(HeldDataSet(self._new, sealed))
        return sealed

    def end(self) -> None:
        """Delete what was written, unless it is complete: then the next run ends this one."""
        if not self._is_complete:
            with suppress(HarvesterError):
                self._clear()

    def _put_in_place(self, new: HeldDataSet) -> None:
        if (earlier := self._target.read(CONVERSION)) is not None and self._old.read(CONVERSION) is None:
            with suppress(FileNotFoundError):
                self._target.copy(FILES, f"{OLD}/{FILES}")
            self._old.put(CONVERSION, earlier)
        self._target.delete(CONVERSION)
        with at_once(hurry=self._target.hurry) as copies:
            copies.start(partial(self._copy, FILES, self._new.size_of(FILES) or 0))
            for file in new.files():
                copies.start(partial(self._copy, file.name, file.bytes))
        complete = self._new.read(CONVERSION)
        assert complete is not None
        self._target.put(CONVERSION, complete)
        for old in data_sets_in(self._old):
            there = (name for name, _ in self._target.all_names())
            self._target.delete_all(compared(_GONE, there=there, old=old.names(), new=new.names()))
        self._new.delete(CONVERSION)
        self._is_complete = False
        self._clear()

    def _copy(self, name: str, size: int) -> None:
        try:
            if size <= COPIED_AT_ONCE:
                self._target.copy(f"{NEW}/{name}", name)
            else:
                self._copy_through_here(name)
        except FileNotFoundError:
            raise Unsound(
                f"{self._new.name} has lost {name}: delete all below {self._target.name}, convert again"
            ) from None

    def _copy_through_here(self, name: str) -> None:
        draft = self._target.create(name)
        try:
            with self._new.open(name) as file:
                while piece := file.read(_SMALL):
                    draft.write(piece)
            draft.commit()
        finally:
            draft.discard()

    def _clear(self) -> None:
        for place in (self._new, self._old):
            place.delete_all(name for name, _ in place.all_names())


_GONE = "SELECT name FROM there INTERSECT SELECT name FROM old EXCEPT SELECT name FROM new"


class _Sent:
    """The place of a data set's files. Small ones are sent several at once."""

    def __init__(self, place: ObjectStoreTarget, sending: AtOnce) -> None:
        self._place = place
        self._sending = sending

    def create(self, name: str) -> Draft:
        """Start a file."""
        return _SentDraft(self._place.create(name), self._sending)

    def open(self, name: str) -> BinaryIO:
        """Open a file that has been sent."""
        return self._place.open(name)


class _SentDraft:
    def __init__(self, draft: Draft, sending: AtOnce) -> None:
        self._draft = draft
        self._sending = sending
        self._bytes = 0
        self._is_sent = False

    def write(self, data: bytes) -> None:
        self._draft.write(data)
        self._bytes += len(data)

    def commit(self) -> None:
        """Send the file. A small one may arrive later; `AtOnce` raises if it does not."""
        if self._bytes > _SMALL:
            self._draft.commit()
            return
        self._sending.start(self._draft.commit, self._draft.discard)
        self._is_sent = True

    def discard(self) -> None:
        if not self._is_sent:
            self._draft.discard()
