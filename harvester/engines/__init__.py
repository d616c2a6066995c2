"""Engines run parts. An engine decides where a part is harvested, never what is in it."""

from typing import Any

from harvester.errors import BadInput, how_to_install


def cluster() -> Any:
    """Return the engine for a Dask cluster. Imported only here, because few need it and the import is slow.

    Raises:
        BadInput: a library that it needs is not installed.
    """
    try:
        from harvester.engines import dask
    except ModuleNotFoundError as error:
        raise BadInput(f"the engine dask needs {error.name}: {how_to_install('dask')}") from error
    return dask
