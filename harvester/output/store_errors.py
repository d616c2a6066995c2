"""Translates the errors of object stores into ours.

Messages contain the code of a store's error but never its text, which may hold addresses and keys.
"""

import re
from datetime import datetime

from harvester.clock import difference, this_clock
from harvester.errors import BadInput, CannotFinishNow, CredentialsRefused, HarvesterError, StoreAway
from harvester.output.store_address import SCHEMES, Address

# Patterns in the text of an error: the store's code in XML, an HTTP status, or phrases of obstore itself.
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")
_STATUS = re.compile(r"status code: (\d{3})")
_PASSING = ("408", "425", "429")  # as the 5xx; RFC 9110 and 6585: the same request may succeed later
BUCKET_MISSING = re.compile(r"NoSuchBucket|ContainerNotFound|specified bucket does not exist")
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
    what = SCHEMES[address.scheme]
    if BUCKET_MISSING.search(text):
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
        answers = f"{address}: the store answers {status[1]}{called}"
        passing = status[1] in _PASSING or int(status[1]) >= 500
        return StoreAway(answers, answered=True) if passing else CannotFinishNow(answers)
    way = " through the proxy (HTTPS_PROXY or ALL_PROXY)" if "TunnelUnsuccessful" in text else ""
    return StoreAway(f"{address}: the store cannot be reached{way}")


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
