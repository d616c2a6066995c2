"""Who runs parts. An engine decides where a part is harvested, never what is in it."""

from typing import Any

from harvester.errors import BadInput, how_to_install


def cluster() -> Any:
    """The engine for a Dask cluster. Imported here: few need it, and it takes long to import.

    Raises:
        BadInput: what it needs is not installed.
    """
    try:
        from harvester.engines import dask
    except ModuleNotFoundError as error:
        raise BadInput(f"the engine dask needs {error.name}: {how_to_install('dask')}") from error
    return dask
