"""The SDK version that harvester is made for, and the errors for other versions. Does not import the SDK."""

from importlib import metadata

from harvester.errors import BadInput

KNOWN_SDK = "0.1.211"


def unknown_sdk(why: str) -> BadInput:
    """Return the error for an SDK that the pooled transport does not know."""
    return BadInput(
        f"this version of encord ({_installed()}) is not known to the pooled transport ({why}):"
        f" use --transport sdk, or install encord {KNOWN_SDK}"
    )


def unusable_sdk(why: object) -> BadInput:
    """Return the error for an SDK that no transport can use: too old, changed since, or not there."""
    return BadInput(
        f"this version of encord ({_installed()}) cannot be used ({why}): install encord {KNOWN_SDK}"
    )


def _installed() -> str:
    try:
        return metadata.version("encord")
    except metadata.PackageNotFoundError:
        return "not installed"
