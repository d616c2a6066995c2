"""All faults of the simulator, and when they occur. Everything is off by default.

Times are seconds since these faults were set. The same seed and the same order of requests give the same
faults. Codes and what the SDK makes of them: the platform's error envelope.
"""

from typing import Literal

import msgspec

# What can happen to an answer as a whole. A word in capitals is an error code for the envelope.
Strike = str
STRIKES = frozenset(
    {
        "400", "403", "404", "413", "429", "500", "502", "503", "504",
        "html",  # a proxy's page, status 502
        "html_200",  # a proxy's page, status 200
        "not_json",  # status 200, not JSON
        "truncated",  # the body ends half-way, the connection is closed
        "stalled",  # the body stops half-way and nothing more comes
        "mute",  # no answer at all, the connection stays open
        "trickle",  # the body comes a byte at a time
        "reset",  # the connection is reset in mid-body
        "closed",  # the connection is closed without an answer
        "redirect",  # to another host
        "bomb",  # 100 MB of zeros, gzipped
    }
)  # fmt: skip

# What can happen to a request for a file.
MEDIA_STRIKES = frozenset(
    {
        "403", "404", "429", "500", "503",
        "expired",  # the URL counts as expired, although it is not
        "truncated", "stalled", "mute", "reset", "closed",  # as above
        "slow",  # the second half of the body comes in 20 pieces, `trickle_seconds` apart
        "wrong_length",  # the last bytes are missing, and Content-Length says that this is all
        "wrong_checksum",  # one bit of the body is another
        "html",  # a page with status 200 instead of the file
        "changed",  # the body ends half-way, and from then on the file is another one
        "redirect_http",  # to the same file without TLS
        "redirect_private",  # to a private address
        "redirect_host",  # to the same file at another https host, which answers
        "redirect_loop",  # to itself
    }
)  # fmt: skip

# Faults of one row. Those of the first group affect every answer that contains the row.
RowTrouble = Literal[
    "corrupt",  # the answer is the envelope's CORRUPTED_LABEL_ERROR
    "error_500",  # the answer is a plain 500
    "too_large",  # the answer is a plain 413, even for the row alone
    "hang",  # the answer stalls half-way
    "bomb",  # the answer is 100 MB of zeros, gzipped
    # Alone: AUTHORISATION_ERROR or RESOURCE_NOT_FOUND_ERROR; in a bundle it is left out.
    "forbidden",
    "deleted",
    "unbundled",  # alone it comes, from a bundle it is left out
    # The row itself.
    "stale",  # as it was before its last edit, with an older `last_edited_at` than the listing's
    # Its own branch_name, data_hash or dataset_hash is not the listing's.
    "other_branch", "other_data", "other_dataset",
    # Unpaired surrogates, escaped, in names, answers, a key and titles; and in the listing's item, in title
    # and client metadata.
    "surrogates",
    "broken",  # its JSON is cut off in the middle
    "foreign",  # another row comes in its place
    "nested",  # JSON 100,000 deep
    "pretty",  # newlines and spaces between the values
    "line_separator",  # U+2028 and U+2029, unescaped
    "surrogate",  # a lone surrogate, escaped
    "big_integer",  # 30 digits
    "duplicate_keys",
    "nan",  # NaN and infinities in a field that nobody knows
    "nan_confidence",  # NaN as the confidence of an object
    "huge",  # 50 MB of one text
    # Only in the listing: the row is listed again at its end, under another title or on another branch.
    "twice_by_title", "twice_by_branch",
]  # fmt: skip

LISTED_TWICE: tuple[RowTrouble, ...] = ("twice_by_title", "twice_by_branch")
# Keys of the list call's payload that can be ignored.
FILTERS = frozenset(
    {
        "label_statuses", "edited_before", "edited_after", "shadow_data_state", "data_hashes", "label_hashes",
        "data_title_eq", "data_title_like", "workflow_graph_node_title_eq", "workflow_graph_node_title_like",
        "branch_name", "include_all_label_branches",
    }
)  # fmt: skip

BundleTrouble = Literal["missing", "duplicate", "foreign"]


class Faults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The faults that are set.

    Raises:
        ValueError: two settings contradict one another, or a word is unknown.
    """

    seed: int = 0

    # Seconds until an answer starts: fixed, plus up to `jitter`, plus a time for each row. With more than
    # `slow_above` requests in flight it grows with the square of their number, as on a thrashing server.
    latency: float = 0.0
    jitter: float = 0.0
    latency_per_row: float = 0.0
    slow_above: int | None = None

    # After this number of label rows, requests for more wait until other faults are set.
    hold_after: int | None = None

    # Requests a second, as a token bucket of `burst` requests (default: one second of `rate`), or counted
    # in fixed windows of `window` seconds. `capacity` is a schedule of (time, share of the rate).
    rate: float | None = None
    burst: float | None = None
    window: float | None = None
    capacity: tuple[tuple[float, float], ...] = ()
    max_in_flight: int | None = None
    refused_as: Literal["status", "envelope"] = "status"

    # The header of refusals and outages. `retry_after_seconds`: default: until a request is admitted.
    retry_after: Literal["none", "seconds", "date", "garbage", "day"] = "none"
    retry_after_seconds: float | None = None

    # Outages: windows (from, to), or `down` until other faults are set. `port_closed` takes windows only.
    outages: tuple[tuple[float, float], ...] = ()
    down: bool = False
    outage_as: Literal["503", "closed", "port_closed"] = "503"

    # `revoked`: the key is no longer accepted. `forbidden`: the project is no longer the user's.
    revoked: bool = False
    forbidden: bool = False

    # Seconds that the server's clock is ahead: its refusals say so in their Date, and v2 signatures that were
    # made more than five minutes from its time are refused.
    clock_ahead: float = 0.0

    # Whole answers: `strikes` in turn, on every n-th request or at random, at most `times`; `on` names
    # kinds of requests as the statistics do ("labelrow/GET", "labelrowmetadata/GET", "GET projects", "*").
    strikes: tuple[Strike, ...] = ()
    every: int | None = None
    probability: float = 1.0
    times: int | None = None
    on: tuple[str, ...] = ("labelrow/GET",)
    trickle_seconds: float = 0.05  # between two bytes

    # Files: what happens to requests for them, one of `media` for each file. `media_share` of all files are
    # struck (the path and `seed` decide which, and by what), each `media_times` times, or for ever.
    # `media_rate`: requests a second, 429 above, with Retry-After as for the API.
    media: tuple[Strike, ...] = ()
    media_share: float = 1.0
    media_times: int | None = None
    media_rate: float | None = None
    media_latency: float = 0.0
    # Seconds that a signed URL is good for, in whole seconds from 1; and whether it is good for HEAD as well.
    media_url_life: float = 86_400.0
    media_head: bool = True

    # Limits of an answer.
    max_rows: int | None = None  # MULTI_LABEL_LIMIT_ERROR above
    max_response_bytes: int | None = None  # 413 above; bytes before compression

    # On every n-th answer to a list of label rows: the fault of one of its rows.
    bundle: tuple[BundleTrouble, ...] = ()
    bundle_every: int = 1

    # By label hash, or by number in the listing's labelled rows, counted from 0. Outranks `shares`.
    rows: dict[str, RowTrouble] = {}
    # Shares of all rows, at most 1 together: which ones, their label hashes and `seed` decide.
    shares: dict[RowTrouble, float] = {}
    # Number of answers with a stale row before it is up to date; None: it stays stale.
    stale_asks: int | None = None
    # Keys of the list call's payload that the server ignores.
    ignored_filters: tuple[str, ...] = ()
    # The first rows and further projects have titles that are paths, escape sequences or very long.
    hostile_titles: bool = False

    def __post_init__(self) -> None:
        for strike in self.strikes:
            if strike not in STRIKES and not strike.isupper():
                raise ValueError(f"unknown strike {strike!r}: one of {', '.join(sorted(STRIKES))}, or a CODE")
        for strike in self.media:
            if strike not in MEDIA_STRIKES:
                raise ValueError(f"unknown media {strike!r}: one of {', '.join(sorted(MEDIA_STRIKES))}")
        if not 0 <= self.media_share <= 1:
            raise ValueError("a share is 0 to 1")
        if self.media_url_life < 1:
            raise ValueError("a URL lives for 1 second at least")
        if self.down and self.outage_as == "port_closed":
            raise ValueError("with its port closed the server could not be told to come back: use outages")
        if (self.every is not None and self.every < 1) or self.bundle_every < 1:
            raise ValueError("every n-th: n is at least 1")
        if min(self.rate or 1, self.media_rate or 1) <= 0 or 0 in (self.rate, self.media_rate):
            raise ValueError("a rate is above 0")
        if min(self.shares.values(), default=0) < 0 or sum(self.shares.values()) > 1:
            raise ValueError("shares are 0 to 1, and at most 1 together")
        for name in self.ignored_filters:
            if name not in FILTERS:
                raise ValueError(f"unknown filter {name!r}: one of {', '.join(sorted(FILTERS))}")

    def plays(self, *troubles: RowTrouble) -> bool:
        """Return whether some row has one of these troubles."""
        return any(trouble in (*self.rows.values(), *self.shares) for trouble in troubles)


HOSTILE_TITLES = (
    "../../etc/passwd",
    "/etc/passwd",
    "..\\..\\windows",
    "\x1b[31mred\x1b[0m \x1b]0;owned\x07",
    "nul\x00byte",
    "x" * 255,
    "invoice\u202egpj.exe",
    "line\nbreak\ttab",
    "\u2028separator\u2029",
    "-rf *",
    "",
)
