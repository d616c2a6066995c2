"""Signed URLs as three object stores write them: Google Cloud Storage, Amazon S3, Azure Blob Storage.

Not secure, but strict: a URL is good for its path alone, and until it expires.
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Literal
from urllib.parse import quote, urlencode

Provider = Literal["gcp", "s3", "azure"]
PROVIDERS: tuple[Provider, ...] = ("gcp", "s3", "azure")  # of the rows of each dataset, in turn

# At the start of every signature: whatever holds it has leaked a signed URL.
CANARY = "5ec2e7ca9a27"

_COMPACT = "%Y%m%dT%H%M%SZ"
_LONG = "%Y-%m-%dT%H:%M:%SZ"
# What the signature is called.
SIGNATURE: dict[Provider, str] = {"gcp": "X-Goog-Signature", "s3": "X-Amz-Signature", "azure": "sig"}


class Signer:
    """Signs paths, and knows its signatures again.

    Args:
        key: what its signatures depend on.
    """

    def __init__(self, key: str) -> None:
        self._key = key.encode()

    def query(self, provider: Provider, path: str, now: datetime, life: float) -> str:
        """Return the query that makes `path` a signed URL for `life` seconds from `now`, in whole seconds."""
        seconds = max(1, round(life))
        if provider == "azure":
            end = (now.replace(microsecond=0) + timedelta(seconds=seconds)).strftime(_LONG)
            values = {"sv": "2024-11-04", "se": end, "sr": "b", "sp": "r"}
        else:
            date = now.strftime(_COMPACT)
            name = "Goog" if provider == "gcp" else "Amz"
            values = {
                f"X-{name}-Algorithm": "GOOG4-RSA-SHA256" if provider == "gcp" else "AWS4-HMAC-SHA256",
                f"X-{name}-Credential": f"simulator/{date[:8]}/auto/storage/request",
                f"X-{name}-Date": date,
                f"X-{name}-Expires": str(seconds),
                f"X-{name}-SignedHeaders": "host",
            }
        values[SIGNATURE[provider]] = self._signature(path, values)
        return urlencode(values)

    def _signature(self, path: str, values: Mapping[str, str]) -> str:
        text = path + "?" + urlencode(sorted(values.items()))
        return CANARY + hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()

    def signed_by(self, path: str, values: Mapping[str, str]) -> Provider | None:
        """Return whose signature of `path` the values of a query are; None if they are none."""
        for provider, name in SIGNATURE.items():
            if name in values:
                rest = {key: value for key, value in values.items() if key != name}
                if hmac.compare_digest(values[name].encode(), self._signature(path, rest).encode()):
                    return provider
        return None


def expires(provider: Provider, values: Mapping[str, str]) -> datetime:
    """Return when a URL with these values ends."""
    if provider == "azure":
        return datetime.strptime(values["se"], _LONG).replace(tzinfo=UTC)
    name = "Goog" if provider == "gcp" else "Amz"
    start = datetime.strptime(values[f"X-{name}-Date"], _COMPACT).replace(tzinfo=UTC)
    return start + timedelta(seconds=int(values[f"X-{name}-Expires"]))


def as_path(text: str) -> str:
    """Return a path as it stands in a URL."""
    return quote(text, safe="/")
