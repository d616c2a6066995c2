"""The end of a run with failed rows."""

from harvester.cli import values


class FilesFailed(Exception):
    """Files could not be fetched; all others are there. The same command asks for them again."""

    exit_code = 3

    def __init__(self, failed: int, folder: str) -> None:
        self.message = f"{values.show_count(failed, 'file')} failed, listed in {folder}/failed.ndjson"
        super().__init__(self.message)


class RowsFailed(Exception):
    """Some rows could not be fetched; all others are there. A `synced` export fetches them again by a sync.

    Not in the tree of `harvester.errors`: to who calls harvester from Python such rows are a count in the
    summary, not an error. Only a process has to end with a code and a line.
    """

    exit_code = 3

    def __init__(self, failed: int, target: str, *, synced: bool) -> None:
        where = f", listed in {target}" if target != "-" else ""
        self.message = f"{values.show_count(failed, 'row')} failed{where}"
        self.target = target
        self.synced = synced
        super().__init__(self.message)
