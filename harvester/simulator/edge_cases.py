"""Which edge cases of real label rows a variant has.

Rows of one data type share 64 variants, spread evenly, so an edge case of `(period, phase)` occurs in one row
in `period`. The SDK loads them all.
"""

VARIANTS = 64

EDGE_CASES = {
    # Classifications placed by frame-level copies alone, as until 2026: answers have no range, often no
    # feature hash.
    "old_classifications": (4, 1),
    # Placed by ranges, and copied to frames as well: to be counted once.
    "copied_classifications": (8, 2),
    # Frame-level copies of classifications that were deleted: their hash has no answer.
    "leftover_copies": (8, 5),
    # An answer that is placed nowhere: no range, no space, no copy.
    "unplaced_answer": (16, 4),
    # Several dictionaries for one checklist, one a checked option.
    "split_checklists": (4, 3),
    # Answers without `manualAnnotation`, options named after their attribute.
    "bare_answers": (8, 1),
    # Answers and actions of an object that is on no frame.
    "orphan_answers": (8, 3),
    # Dynamic answers that hold on frames where their object is not.
    "wide_ranges": (4, 2),
    # `data_sequence` is text.
    "text_sequence": (2, 0),
    # A branch name of null, media without width and height, label rows without optional keys.
    "null_branch": (32, 9),
    "no_size": (16, 13),
    "few_keys": (8, 6),
    # `isDeleted: false` on every object; `true` on some (still a label).
    "is_deleted": (4, 0),
    "deleted_objects": (16, 8),
    # An unknown field with numbers and text that only survive as they were sent.
    "unknown_fields": (8, 7),
    # Two images of a group with one `data_sequence`.
    "same_sequence": (16, 11),
    # `spaces: {}` on rows that have none; a time series with a space `root`; scene images by start frame.
    "empty_spaces": (2, 1),
    "root_space": (2, 1),
    "start_frames": (2, 1),
    # An object on several spaces that hold ranges.
    "shared_objects": (4, 1),
}


class EdgeCases:
    """The edge cases that one variant has: `edge_cases[name]` is true or false."""

    def __init__(self, variant: int | None) -> None:
        """`variant` None: a row without edge cases."""
        self._has = {
            name: variant is not None and variant % period == phase
            for name, (period, phase) in EDGE_CASES.items()
        }

    def __getitem__(self, name: str) -> bool:
        return self._has[name]
