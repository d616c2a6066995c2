"""Transport: client CPU a call over TLS, of harvester's pooled connections and of the SDK by itself.

    python -m benchmarks.transport             # both
    python -m benchmarks.transport --profile   # where a call's time goes, by function

One thread asks a simulator in another process for label rows of 14 kB, one a call and a hundred a call, and
reads nothing of them. Both trust the usual certificates besides the simulator's: reading these anew for
each call is most of what the SDK's calls cost. Times are of this process alone, on its CPU.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from benchmarks.functions import by_function
from harvester.encord.session import Session
from harvester.fetch.source import LabelRows
from harvester.plan.planned import listed_rows
from harvester.settings import Connection, Format, Selection
from harvester.simulator import Simulator, WorldSpec

WORLD = WorldSpec(rows=400, objects_per_row=20, mix=("image",), unlabelled=0, odd=False)
CALLS = {"pooled": (400, 60), "sdk": (40, 20)}  # of one row, of a hundred


def cpu_ms(calls: int, call: Callable[[int], object]) -> float:
    """Milliseconds of CPU a call, connections being open already."""
    call(0)
    began = time.process_time()
    for number in range(calls):
        call(number)
    return (time.process_time() - began) / calls * 1000


def measure(
    source: LabelRows, hashes: list[str], calls: tuple[int, int], name: str, *, profile: bool
) -> None:
    """Prints what a call costs, for single rows and for bundles."""

    def single(number: int) -> object:
        return source.get_label_row(hashes[number % len(hashes)])

    def bundle(number: int) -> object:
        return source.get_label_rows([hashes[(number * 100 + i) % len(hashes)] for i in range(100)])

    ones, hundreds = cpu_ms(calls[0], single), cpu_ms(calls[1], bundle)
    print(f"{name:8} {ones:7.2f} ms a call of one row, {hundreds:7.2f} ms a call of a hundred")
    if profile and name == "pooled":
        print(by_function(lambda: [single(number) for number in range(300)]))
        print(by_function(lambda: [bundle(number) for number in range(50)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--profile", action="store_true")
    profile = parser.parse_args().profile
    with Simulator(WORLD) as simulator, tempfile.TemporaryDirectory() as directory:
        assert simulator.ca_file is not None
        bundle = Path(directory, "ca.pem")
        bundle.write_bytes(Path(DEFAULT_CA_BUNDLE_PATH).read_bytes() + simulator.ca_file.read_bytes())
        os.environ["REQUESTS_CA_BUNDLE"] = str(bundle)
        base = Connection(domain=simulator.url, ssh_key_file=simulator.ssh_key_file, ca_bundle=bundle)
        for transport in ("pooled", "sdk"):
            session = Session.open(msgspec.structs.replace(base, transport=transport))
            project = session.find_project(simulator.project_hash)
            with session.listing(project, Selection()) as listing:
                hashes = [row.label_hash for row, _ in listed_rows(listing) if row.label_hash]
            source = session.label_rows(project, Selection(), Format())
            measure(source, hashes, CALLS[transport], transport, profile=profile)
            session.close()


if __name__ == "__main__":
    main()
