"""The wire as msgspec structs: the parts of the API's JSON that we look into, and no more."""

import msgspec


class WorkflowStage(msgspec.Struct, frozen=True):
    """The stage of the workflow that a row's task is in."""

    title: str | None = None


class ListedRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the listing, as far as planning needs it. Unknown fields pass by."""

    data_hash: str
    dataset_hash: str
    dataset_title: str | None = None
    data_title: str | None = None
    data_type: str | None = None
    label_hash: str | None = None
    branch_name: str | None = None
    label_status: str | None = None
    annotation_task_status: str | None = None
    workflow_graph_node: WorkflowStage | None = None
    last_edited_at: str | None = None


class PlanRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A row of the frozen plan.

    `outcome` is decided while planning for rows that are never asked for: ``unlabelled`` (no label yet)
    or ``filtered`` (the listing rules it out). `metadata` is the listing item as sent, kept only where
    row records are emitted.
    """

    dataset_hash: str
    data_title: str
    label_hash: str | None
    branch_name: str | None
    data_hash: str
    data_type: str = ""
    dataset_title: str = ""
    last_edited_at: str | None = None
    outcome: str | None = None
    metadata: msgspec.Raw | None = None
