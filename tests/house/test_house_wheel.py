"""What is installed: the package, and nothing that only tests and benchmarks need."""

import tomllib

from hatchling.builders.wheel import WheelBuilder

from tests.house.source import PACKAGE, ROOT


def test_the_wheel_holds_the_package_and_nothing_else() -> None:
    """Benchmarks, fakes and the truth of simulated worlds stand outside of the package."""
    held = {file.distribution_path for file in WheelBuilder(str(ROOT)).recurse_included_files()}
    package = {path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert held == {path.relative_to(ROOT).as_posix() for path in package}
    assert "harvester/py.typed" in held


def test_the_extra_all_is_every_extra_of_a_user() -> None:
    """Those that are not for working on harvester itself."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "optional-dependencies"
    ]
    named = ",".join(name for name in extras if name not in ("all", "test", "lint"))
    assert extras["all"] == [f"encord-harvester[{named}]"]
