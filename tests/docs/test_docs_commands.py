"""Commands and code of each page run as they are written, in a new shell, one after another."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from harvester.simulator import Simulator
from harvester.simulator.world import WorldSpec
from tests.docs.markdown import PAGES, page_script
from tests.e2e.conftest import Command, command_for
from tests.engines.cluster import Cluster
from tests.output.stores import s3_server
from tests.patience import LONG
from tests.stand_in import stand_in

# What the pages say that a reader has: `mine.py` of the chapters about functions of one's own.
MINE = """
def large(record):
    box = record["object"].get("boundingBox") if "object" in record else None
    return bool(box) and box["w"] * box["h"] > 0.01
"""


@pytest.fixture(scope="module")
def command() -> Iterator[Command]:
    """The command where the project of the examples can be reached."""
    with Simulator(WorldSpec(rows=200)) as running:
        yield command_for(running)


@pytest.fixture(scope="module")
def exported(command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of that project, in `out`."""
    folder = tmp_path_factory.mktemp("commands")
    command.export(folder / "out", "Demo street scenes")
    return folder / "out"


@pytest.mark.parametrize("page", [page for page in PAGES if page_script(page)], ids=lambda page: page.name)
def test_commands_and_code_of_a_page_run_word_for_word(
    page: Path, command: Command, exported: Path, tmp_path: Path
) -> None:
    """Beside an export called `out`; stores and clusters are local ones."""
    shutil.copytree(exported, tmp_path / "out")
    (tmp_path / "mine.py").write_text(MINE)
    script = page_script(page)
    with ExitStack() as running:
        environment = command.environment
        if "s3://" in script:
            environment = environment | running.enter_context(s3_server()).environment
        if "$SCHEDULER" in script:
            (tmp_path / "cluster").mkdir()
            cluster = running.enter_context(Cluster(tmp_path / "cluster", environment))
            environment = environment | {"SCHEDULER": cluster.address}
        path = [running.enter_context(stand_in()), Path(sys.executable).parent, os.environ["PATH"]]
        said = running.enter_context((tmp_path / "said").open("w+"))
        shell = subprocess.Popen(
            ["sh", "-ec", script],
            cwd=tmp_path,
            env=environment | {"PATH": os.pathsep.join(map(str, path))},
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
        running.callback(_end, shell)
        ended = shell.wait(timeout=LONG)
        said.seek(0)
        assert ended == 0, said.read()


def _end(shell: "subprocess.Popen[bytes]") -> None:
    """End what a page has started and left running."""
    try:
        os.killpg(shell.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    shell.wait()
