"""Objects in a bucket. The only module that uses obstore; its errors are translated into ours.

obstore finds credentials as each cloud's own tools do: in environment variables, by web identity, and from
the metadata of the instance or container. Our messages contain the code of a store's error but never its
text, which may hold addresses and keys.
"""

import io
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, cast
from urllib.parse import urlsplit

from harvester.clock import difference, this_clock
from harvester.errors import BadInput, CannotFinishNow, CredentialsRefused, HarvesterError, how_to_install
from harvester.events import one_line
from harvester.output.layout import check_size
from harvester.settings import object_store_ca_bundle, object_store_plain_http

if TYPE_CHECKING:
    from obstore import UpdateVersion
    from obstore.store import ObjectStore

CHUNK = 5 * 1024**2  # bytes; the smallest part of a multipart upload that S3 accepts
_CHUNKS_IN_FLIGHT = 2
_PIECE = 1024**2
_SCHEMES: Mapping[str, str] = {"s3": "bucket", "gs": "bucket", "az": "container"}
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class ObjectChanged(Exception):
    """The condition of a write does not hold: another process has written the object."""


class Address(NamedTuple):
    """The address of a target, such as ``s3://bucket/prefix``."""

    scheme: str
    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}" + (f"/{self.prefix}" if self.prefix else "")


def is_address(name: str) -> bool:
    """Return whether a target's name is an address rather than a path."""
    return _ADDRESS.match(name) is not None


def parse_address(name: str) -> Address:
    """Parse the address of an object store. Raises BadInput if it is not one."""
    try:
        parts = urlsplit(name)
    except ValueError:
        raise BadInput("the target is no address: write s3://bucket/prefix") from None
    if parts.scheme not in _SCHEMES:
        raise BadInput(one_line(f"no target is at {parts.scheme}://: use s3://, gs://, az:// or a directory"))
    what = _SCHEMES[parts.scheme]
    if "@" in parts.netloc or ":" in parts.netloc or parts.query or parts.fragment:
        raise BadInput(
            f"the target may hold no user, port, query or fragment: write {parts.scheme}://{what}/prefix"
        )
    names = [name for name in parts.path.split("/") if name]
    if not parts.netloc or {".", ".."} & set(names):
        raise BadInput(f"the target names no {what}: write {parts.scheme}://{what}/prefix")
    return Address(parts.scheme, parts.netloc, "/".join(names))


class Objects:
    """The objects below an address. Methods block, and may be called from several threads."""

    def __init__(self, address: Address, store: "ObjectStore | None" = None) -> None:
        try:
            import obstore
        except ModuleNotFoundError as error:
            raise BadInput(f"{address} needs more than is here: {how_to_install('cloud')}") from error
        self._obstore = obstore
        self.address = address
        self._impatient = store or self._open(retries=1)
        self._store = store or self._open(retries=10)

    def _open(self, *, retries: int) -> "ObjectStore":
        from obstore.store import from_url

        client: dict[str, Any] = {
            "allow_http": object_store_plain_http(self.address.scheme),
            "allow_invalid_certificates": False,
            "connect_timeout": timedelta(seconds=10),
            "read_timeout": timedelta(seconds=60),
            "timeout": timedelta(minutes=10),  # of a whole response
        }
        if (bundle := object_store_ca_bundle()) is not None:
            client["root_certificate"] = bundle
        backoff = {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=15), "base": 2}
        retry: Any = {"max_retries": retries, "retry_timeout": timedelta(minutes=2), "backoff": backoff}
        with self._translated():
            return from_url(str(self.address), client_options=cast(Any, client), retry_config=retry)

    def check(self) -> None:
        """Raise if the store cannot be used. Retries only once, to report a wrong address quickly."""
        with self._translated():
            for _ in self._obstore.list(self._impatient, chunk_size=1):
                break

    def get(self, name: str) -> "tuple[bytes, UpdateVersion] | None":
        """Return the content and version of an object, or None if it does not exist."""
        try:
            with self._translated():
                found = self._obstore.get(self._store, name)
                check_size(f"{self.address}/{name}", found.meta["size"])
                return bytes(found.bytes()), _version(found.meta)
        except FileNotFoundError:
            return None

    def stream(self, name: str) -> BinaryIO:
        """Open an object for reading in pieces. Raises FileNotFoundError."""
        with self._translated():
            pieces = iter(self._obstore.get(self._store, name).stream(min_chunk_size=_PIECE))
        return cast(BinaryIO, io.BufferedReader(_Stream(pieces, self), _PIECE))

    def size(self, name: str) -> int | None:
        """Return the size of an object in bytes, or None if it does not exist."""
        try:
            with self._translated():
                return int(self._obstore.head(self._store, name)["size"])
        except FileNotFoundError:
            return None

    def version(self, name: str) -> "UpdateVersion | None":
        """Return the version of an object, or None if it does not exist."""
        try:
            with self._translated():
                return _version(self._obstore.head(self._store, name))
        except FileNotFoundError:
            return None

    def put(self, name: str, data: bytes, *, over: "UpdateVersion | None") -> "UpdateVersion":
        """Write an object if its current version is `over` (None: if it does not exist). Return its new
        version.

        Raises:
            ObjectChanged: it has another version. That may be the version that this call itself wrote: a
                request is sent again if its response is lost.
        """
        with self._translated():
            return _version(
                self._obstore.put(self._store, name, data, mode=over or "create", use_multipart=False)
            )

    def upload(self, name: str, pieces: Iterable[bytes]) -> None:
        """Write an object in pieces, unconditionally. An error that `pieces` raises aborts the upload."""
        with self._translated():
            self._obstore.put(
                self._store,
                name,
                cast("Iterator[bytes]", pieces),
                use_multipart=True,
                chunk_size=CHUNK,
                max_concurrency=_CHUNKS_IN_FLIGHT,
            )

    def names(self, folder: str) -> list[tuple[str, int]]:
        """Return the names and sizes in bytes of the objects directly in a folder, sorted by name."""
        with self._translated():
            found = self._obstore.list_with_delimiter(self._store, folder or None)["objects"]
        return sorted((meta["path"].rpartition("/")[2], meta["size"]) for meta in found)

    def delete(self, name: str) -> None:
        """Delete an object if it exists."""
        try:
            with self._translated():
                self._obstore.delete(self._store, name)
        except FileNotFoundError:
            return

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Translate obstore's errors. Callers handle the ObjectChanged and FileNotFoundError it may raise."""
        from obstore import exceptions as theirs

        try:
            yield
        except (theirs.AlreadyExistsError, theirs.PreconditionError) as error:
            raise ObjectChanged from error
        except theirs.BaseError as error:
            raise translate(self.address, error) from error
        except FileNotFoundError as error:
            if _BUCKET_MISSING.search(str(error)):
                raise translate(self.address, error) from error
            raise


class _Stream(io.RawIOBase):
    def __init__(self, pieces: Iterator[Any], objects: Objects) -> None:
        self._pieces = pieces
        self._objects = objects
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            with self._objects._translated():
                self._rest = memoryview(next(self._pieces, b""))
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


# Patterns in the text of an error: the store's code in XML, an HTTP status, or phrases of obstore itself.
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")
_STATUS = re.compile(r"status code: (\d{3})")
_BUCKET_MISSING = re.compile(r"NoSuchBucket|ContainerNotFound|specified bucket does not exist")
# A store answers this to a condition (If-Match, If-None-Match) that it does not know, among others.
_NOT_IMPLEMENTED = re.compile(r"status code: 501|<Code>NotImplemented</Code>")
_NO_CREDENTIALS = re.compile(
    r"169\.254\.|/computeMetadata/|metadata\.google|MissingAccessKey|MissingSecretAccessKey|Missing.{0,20}[Cc]redential"
)
_REFUSED = re.compile(
    r"ExpiredToken|InvalidToken|InvalidAccessKeyId|SignatureDoesNotMatch|AuthenticationFailed|TokenRefreshRequired"
)
_WRONG_REGION = re.compile(
    r"configured region|AuthorizationHeaderMalformed|PermanentRedirect|IllegalLocation"
)
# The date of a signature or token is refused: S3's code, then the words of Azure, of AWS's token service and
# of Google's. Of these, S3 says what its own clock shows.
_WRONG_DATE = re.compile(
    r"RequestTimeTooSkewed|Request date header too old|Signature (?:expired|not yet current)"
    r"|Token must be a short-lived token"
)
_SERVER_TIME = re.compile(r"<ServerTime>(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z)</ServerTime>")
_CERTIFICATE = re.compile(r"InvalidCertificate\(\s*(Expired|NotValidYet)?")
_WRONG_TIME = {"Expired": "has expired", "NotValidYet": "is not valid yet"}
_NO_ACCOUNT = re.compile(r"Account must be specified|MissingAccount")
_CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_KEY",
}


def translate(address: Address, error: Exception) -> HarvesterError:
    """Return our error for one of the store. Of its text only the name of the error code is kept."""
    text = str(error)
    code, status = _CODE.search(text), _STATUS.search(text)
    called = f" ({code[1]})" if code else ""
    what = _SCHEMES[address.scheme]
    if _BUCKET_MISSING.search(text):
        return BadInput(f"{address}: there is no such {what}")
    if _NOT_IMPLEMENTED.search(text) or type(error).__name__ in ("NotImplementedError", "NotSupportedError"):
        return BadInput(
            f"{address}: its store does not do what an export there needs, such as conditional writes{called}"
        )
    if _NO_ACCOUNT.search(text):
        return BadInput(f"{address}: the account is not named: set AZURE_STORAGE_ACCOUNT_NAME")
    if _WRONG_REGION.search(text):
        return BadInput(f"{address}: the {what} is in another region{called}: set AWS_REGION")
    if _NO_CREDENTIALS.search(text):
        return CredentialsRefused(f"{address}: no credentials found: set {_CREDENTIALS[address.scheme]}")
    if _WRONG_DATE.search(text):
        return CredentialsRefused(f"{address}: the store refuses the request's date{called}: {_clocks(text)}")
    if certificate := _CERTIFICATE.search(text):
        return CredentialsRefused(f"{address}: {_of_certificate(certificate[1])}")
    if "ProxyAuthRequired" in text:
        return CredentialsRefused(
            f"{address}: the proxy (HTTPS_PROXY or ALL_PROXY) does not accept the user and password of its"
            " address, or wants them"
        )
    refused = type(error).__name__ in ("PermissionDeniedError", "UnauthenticatedError") or _REFUSED.search(
        text
    )
    if refused or (status and status[1] in ("401", "403")):
        return CredentialsRefused(f"{address}: the store refuses these credentials{called}")
    if status:
        return CannotFinishNow(f"{address}: the store answers {status[1]}{called}")
    way = " through the proxy (HTTPS_PROXY or ALL_PROXY)" if "TunnelUnsuccessful" in text else ""
    return CannotFinishNow(f"{address}: the store cannot be reached{way}")


def _clocks(text: str) -> str:
    """What is wrong with this machine's clock, by that of the store where its answer shows it."""
    shown = _SERVER_TIME.search(text)
    differ = difference(datetime.fromisoformat(shown[1])) if shown else None
    if differ:
        return f"this machine's clock is {differ} the store's: set it, then try again"
    return f"check {this_clock()}"


def _of_certificate(wrong_time: str | None) -> str:
    if wrong_time:
        return (
            f"the store's certificate {_WRONG_TIME[wrong_time]} as of {this_clock()}: check that clock first;"
            " if it is right, the certificate must be renewed there"
        )
    return "the store's certificate cannot be trusted: if a private authority signed it, set AWS_CA_BUNDLE"


def _version(found: Mapping[str, Any]) -> "UpdateVersion":
    """Return the version for a conditional write. obstore returns None values but does not accept them."""
    named = {key: found[key] for key in ("e_tag", "version") if found.get(key) is not None}
    return cast("UpdateVersion", named)
