"""What the user asked for: frozen, validated once, when it is made.

`Selection` and `Format` decide the bytes of an export; they are stored in its plan, and a target made
with others is refused. `Connection` and `Limits` decide how it is fetched; they never change a byte.
This module is also the only one that reads the environment (credentials; the command line's flags name
their own variables).
"""

from pathlib import Path
from typing import Literal

import msgspec

from harvester.errors import BadInput

DEFAULT_DOMAIN = "https://api.encord.com"
DEFAULT_ROWS_PER_PART = 1000

Kind = Literal["objects", "classifications", "rows"]
Transport = Literal["pooled", "sdk"]


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach the API. Holds no secret but `bearer_token`, and is never stored.

    `ssh_key` is the text of a private key, as from ENCORD_SSH_KEY; `ssh_key_file` a path to one.
    Timeouts are in seconds; `request_deadline` bounds a whole call, however slowly bytes trickle.
    """

    domain: str = DEFAULT_DOMAIN
    ssh_key_file: Path | None = None
    ssh_key: str | None = None
    ssh_key_passphrase: str | None = None
    bearer_token: str | None = None
    ca_bundle: Path | None = None
    transport: Transport = "pooled"
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    request_deadline: float = 600.0
    max_response_bytes: int = 2 * 1024**3

    def __repr__(self) -> str:
        return f"Connection(domain={self.domain!r}, transport={self.transport!r})"


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows and which records. Three places, cheapest first: the server, the listing, the record."""

    # Asked of the server's list call.
    task_statuses: tuple[str, ...] = ()
    edited_before: str | None = None
    edited_after: str | None = None
    data_title_eq: str | None = None
    data_title_like: str | None = None
    workflow_graph_node_title_eq: str | None = None
    workflow_graph_node_title_like: str | None = None
    branch_name: str | None = None
    include_all_label_branches: bool = False
    shadow_data_state: str | None = None
    data_hashes: tuple[str, ...] = ()
    label_hashes: tuple[str, ...] = ()
    # Chosen from the listing.
    data_types: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    label_statuses: tuple[str, ...] = ()
    # Chosen record by record.
    shapes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    feature_hashes: tuple[str, ...] = ()
    approved: bool = False
    min_confidence: float | None = None
    authors: tuple[str, ...] = ()
    manual: bool | None = None
    filters: tuple[str, ...] = ()
    # Asked along with each label row.
    include_reviews: bool = False
    signed_urls: bool = False


class Format(msgspec.Struct, frozen=True, kw_only=True):
    """What is written, and how it is cut."""

    emit: tuple[Kind, ...] = ("objects", "classifications")
    per_frame: bool = False
    rows_per_part: int = DEFAULT_ROWS_PER_PART

    def __post_init__(self) -> None:
        if not 1 <= self.rows_per_part <= 1_000_000:
            raise BadInput(f"rows per part must be from 1 to 1000000, not {self.rows_per_part}")
        if not self.emit:
            raise BadInput("nothing to emit: name objects, classifications or rows")


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How hard to ask. `None` means: find out by itself.

    `max_rps` is in requests a second, `max_memory` in bytes in flight, `max_duration` in seconds.
    """

    concurrency: int | None = None
    max_rps: float | None = None
    bundle_size: int | None = None
    max_memory: int = 512 * 1024**2
    max_duration: float | None = None
    max_attempts: int = 6
    processes: int = 1
