"""Mends state files of a finished export from what its other files say.

What is lost is made again where a digest that was recorded elsewhere proves that it is the same:

- the rows of the plan, from the listing. The manifest names the digest of the plan;
- the frozen listing of the last generation, from its listing. ``changed.json`` names its digest;
- an ontology, from another generation that has the same one. The manifest names its sha256;
- ``changed.json``, from the generation's entry in the manifest;
- ``base.json``, from the manifest.

The listing is itself derived from plan and frozen listing, see `harvester.output.listing_file`. Nothing else
says what is in a change feed. What is left is harvested again, see `harvester.run.Run`.
"""

from collections.abc import Iterator

import msgspec

from harvester.errors import CannotFinishNow, Unsound
from harvester.events import one_line
from harvester.output import planfile
from harvester.output.export_spec import ExportSpec, differs
from harvester.output.generations import (
    NEW_EXPORT,
    Changed,
    folder_of,
    read_base,
    read_changed,
    read_listing,
    write_base,
    write_changed,
)
from harvester.output.layout import LISTED, LISTED_ROWS, LISTING, ONTOLOGY, generation_folder
from harvester.output.lines import read_lines
from harvester.output.manifest import Generation, Manifest, read_manifest
from harvester.output.planfile import describe_ontology, describe_rows, read_header
from harvester.output.repair import same_bytes
from harvester.output.target import Target
from harvester.plan.changes import SyncOptions
from harvester.plan.order import label_order, rows_of, sorted_lines

_ASKED_FOR = ("harvested", "failed")


def mend_state(target: Target, spec: ExportSpec) -> None:
    """Mend what the files of a finished export can mend. Asks no server. Blocking. Only under the lock.

    Does nothing if the manifest is missing, damaged or with another export spec.
    """
    try:
        manifest = read_manifest(target)
    except Unsound:
        return
    if manifest is None:
        return
    held = spec_in(manifest)
    if held.project.hash != spec.project.hash or differs(held, spec):
        return
    for number, (folder, listed) in zip(manifest.numbers, _ontologies(target, manifest), strict=True):
        lost = describe_ontology(folder.read(ONTOLOGY)) != listed
        if lost and (found := find_ontology(target, manifest, number)) is not None:
            folder.put(ONTOLOGY, found)
    folder = folder_of(target, manifest.base.generation)
    header = read_header(folder)
    if (header is None or not planfile.intact(folder, header)) and plan_in_listing(folder, manifest):
        planfile.freeze(folder, _listed(folder), spec, folder.read(ONTOLOGY), known={manifest.plan})
    if manifest.base.generation and read_base(target) != manifest.base:
        write_base(target, manifest.base)
    for generation in manifest.generations:
        folder = folder_of(target, generation.number)
        if read_changed(folder) is None:
            write_changed(folder, _changed(folder, generation))
    folder = folder_of(target, manifest.last)
    if manifest.generations and read_listing(folder) is None and frozen_in_listing(folder, spec):
        rows = sorted_lines(rows_of(_listed(folder)), label_order)
        planfile.freeze(folder, rows, spec, rows_file=LISTED_ROWS, header_file=LISTED)


def check_mended(target: Target, manifest: Manifest) -> None:
    """Check that no generation has lost what nothing can mend: its feed or, the last one, its listing.

    Raises:
        Unsound: one has.
        CannotFinishNow: a file is there, but cannot be read now.
    """
    for generation in manifest.generations:
        folder = folder_of(target, generation.number)
        there = {name for name, _ in folder.names()}
        lost = [
            file.name for file in generation.feed if not (file.name in there and same_bytes(folder, file))
        ]
        if generation.number == manifest.last and read_listing(folder) is None:
            lost.append(LISTED)
        if lost:
            where = generation_folder(generation.number)
            raise Unsound(f"{one_line(target.name)}: {NEW_EXPORT}: {where}/{lost[0]} is lost or damaged")


def find_ontology(target: Target, manifest: Manifest, generation: int) -> bytes | None:
    """Return the ontology of a generation from any folder that has it, or None."""
    listed = (manifest.generation(generation) or manifest).ontology
    for folder, _ in _ontologies(target, manifest):
        found = folder.read(ONTOLOGY)
        if describe_ontology(found) == listed:
            return found
    return None


def plan_in_listing(folder: Target, manifest: Manifest) -> bool:
    """Return whether the listing of the base, in `folder`, holds the very rows of the manifest's plan."""
    try:
        found = describe_rows(_listed(folder), spec_in(manifest), folder.read(ONTOLOGY))
    except Unsound:
        return False
    return found.digest == manifest.plan


def frozen_in_listing(folder: Target, spec: ExportSpec) -> bool:
    """Return whether the listing of the last generation holds the very rows of its frozen listing.

    ``changed.json`` names their digest. If that is lost, too, the header of the frozen listing does.
    """
    changed, header = read_changed(folder), read_header(folder, LISTED)
    digest = changed.listing if changed else header.digest if header else None
    try:
        found = describe_rows(
            sorted_lines(rows_of(_listed(folder)), label_order), spec, rows_file=LISTED_ROWS
        )
    except Unsound:
        return False
    return found.digest == digest


def _listed(folder: Target) -> Iterator[bytes]:
    """Yield the JSON of frozen rows as a listing tells of them, in plan order.

    What only the frozen row says is left out: the metadata, and whether the row was listed twice.

    Raises:
        Unsound: the listing is missing or damaged.
    """
    encode = msgspec.json.encode
    try:
        for row in rows_of(read_lines(folder, LISTING)):
            yield encode(msgspec.structs.replace(row, outcome=None) if row.outcome in _ASKED_FOR else row)
    except (OSError, CannotFinishNow, ValueError, RecursionError) as error:
        raise Unsound(f"{LISTING} is missing or damaged") from error


def _changed(folder: Target, generation: Generation) -> Changed:
    """Return the record of a generation's changes, as its entry in the export's manifest has them.

    What the sync was asked to do, and what it said of the ontology, matters to an unfinished one only.
    """
    frozen = read_header(folder, LISTED)
    return Changed(
        generation=generation.number,
        listing=frozen.digest if frozen else "",
        relisted=True,
        rows={name: generation.counts[name] for name in ("listed", "unlabelled", "filtered")},
        changes=generation.changes,
        feed=generation.feed,
        options=SyncOptions(),
        ontology=None,
        kept_names=generation.kept_names,
    )


def _ontologies(target: Target, manifest: Manifest) -> Iterator[tuple[Target, planfile.PlainFile | None]]:
    """Yield the folders of all generations, with the description of their ontology."""
    for number in manifest.numbers:
        yield folder_of(target, number), (manifest.generation(number) or manifest).ontology


def spec_in(manifest: Manifest) -> ExportSpec:
    """Return the spec of the export, as its manifest has it."""
    return ExportSpec(project=manifest.project, selection=manifest.selection, format=manifest.options)
