"""The object store's HTTP server, as an ASGI application."""

import asyncio
import base64
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qsl

from harvester.simulator.app import CONNECTION
from harvester.simulator.certificates import HOST
from harvester.simulator.delivery import Delivery, Receive, Send
from harvester.simulator.fault_injection import retry_after
from harvester.simulator.faults import Strike
from harvester.simulator.messages import Answer
from harvester.simulator.site import Site
from harvester.simulator.state import RowFacts
from harvester.simulator.storage.blob import Blob
from harvester.simulator.storage.catalogue import StoredFile
from harvester.simulator.storage.ranges import wanted_range
from harvester.simulator.storage.signing import Provider, expires

Headers = list[tuple[str, str]]

OTHER_HOST = "localhost"  # of the same server, and in its certificate
PRIVATE = "https://10.0.0.1"
LOST = 7  # bytes that a wrong length is short of
_IN_TRANSIT = ("truncated", "stalled", "mute", "reset", "closed", "slow")
_PAGE = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Please sign in.</body></html>\n"
_XML = "application/xml"


class FileServer:
    """ASGI application: GET and HEAD of signed URLs.

    Args:
        port: where it listens.
    """

    def __init__(self, site: Site, port: int) -> None:
        self._site = site
        self._port = port

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):  # whatever comes, nothing is done with it
            pass
        connection = scope["extensions"][CONNECTION]
        stats, faults = self._site.stats, self._site.faults
        if not connection.counted:
            connection.counted = True
            stats.media_connections += 1
        counts = stats.media[scope["path"]]
        counts.requests += 1

        async def counted(message: dict[str, Any]) -> None:
            # Before they are sent: who has received them finds them counted.
            counts.bytes += 0 if scope["method"] == "HEAD" else len(message.get("body", b""))
            await send(message)

        delivery = Delivery(
            receive, counted, connection.transport, gzip=False, trickle=faults.trickle_seconds
        )
        if faults.media_latency and not await delivery.patience(faults.media_latency):
            return
        if (found := self._site.world.store.find_file(scope["path"])) is not None:
            await self._site.world.store.make([found[1]])
        answer, struck = self._answer(scope)
        counts.struck += struck
        await delivery.send(answer)

    def _answer(self, scope: dict[str, Any]) -> tuple[Answer, bool]:
        """Return the answer, and whether a fault made it what it is."""
        site, path = self._site, scope["path"]
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        values = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        if scope["method"] not in ("GET", "HEAD"):
            return refusal(405, "MethodNotAllowed"), False
        provider = site.world.store.signer.signed_by(path, values)
        if provider is None or (scope["method"] == "HEAD" and not site.faults.media_head):
            return refusal(403, "SignatureDoesNotMatch"), False
        if expires(provider, values) < site.clock():
            return _expired(provider), False
        found = site.world.store.find_file(path)
        if found is None:
            return refusal(404, "NoSuchKey"), False
        wait = site.file_faults.limiter.admit(asyncio.get_running_loop().time() - site.faults_since)
        if wait:
            site.stats.media_refused += 1
            return self._slow_down(wait), False
        elsewhere = headers.get("host", "").startswith(OTHER_HOST)
        strike = None if elsewhere else site.file_faults.strike(path)
        version = 0 if strike else site.file_faults.version(path)
        row, file = found
        blob = site.world.store.blob(row, file, version)
        true_answer = self._file(row, file, blob, headers)
        if strike is None:
            return true_answer, False
        site.stats.struck[strike] += 1
        return self._struck(strike, true_answer, scope, provider), True

    def _file(self, row: RowFacts, file: StoredFile, blob: Blob, headers: dict[str, str]) -> Answer:
        from harvester.simulator.storage.formats import FORMATS

        provider = self._site.world.store.provider(row)
        tag = entity_tag(provider, row, blob)
        sent: Headers = [
            ("etag", tag),
            ("accept-ranges", "bytes"),
            ("last-modified", format_datetime(self._site.world.store.created(row), usegmt=True)),
        ]
        mime_type = FORMATS[file.format].mime_type
        span = wanted_range(headers, blob.size, tag)
        if span is None:
            sent += checksums(provider, row, blob, whole=True)
            return Answer(200, [blob.data], tuple(sent), mime_type)
        if not span:
            return refusal(416, "InvalidRange", (("content-range", f"bytes */{blob.size}"),))
        sent += checksums(provider, row, blob, whole=False)
        sent.append(("content-range", f"bytes {span[0]}-{span[-1]}/{blob.size}"))
        return Answer(206, [blob.data[span[0] : span[-1] + 1]], tuple(sent), mime_type)

    def _struck(self, strike: Strike, answer: Answer, scope: dict[str, Any], provider: Provider) -> Answer:
        if strike.startswith("redirect_"):
            return self._redirect(strike, scope)
        if strike in _IN_TRANSIT or strike == "changed":
            answer.strike = "truncated" if strike == "changed" else strike
            return answer
        body = b"".join(answer.body)
        match strike:
            case "wrong_length":
                answer.body = [body[:-LOST]]
                return answer
            case "wrong_checksum":
                middle = len(body) // 2
                answer.body = [body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]]
                return answer
            case "html":
                return Answer(200, [_PAGE], content_type="text/html")
            case "expired":
                return _expired(provider)
            case "429":
                return self._slow_down(1.0)
        return refusal(int(strike), {"403": "AccessDenied", "404": "NoSuchKey"}.get(strike, "InternalError"))

    def _redirect(self, strike: Strike, scope: dict[str, Any]) -> Answer:
        target = scope["raw_path"].decode() + "?" + scope["query_string"].decode("latin-1")
        scheme = scope["scheme"]
        place = {
            "redirect_http": f"http://{HOST}:{self._port}{target}",
            "redirect_private": f"{PRIVATE}{target}",
            "redirect_host": f"{scheme}://{OTHER_HOST}:{self._port}{target}",
            "redirect_loop": f"{scheme}://{HOST}:{self._port}{target}",
        }[strike]
        return Answer(302, [b""], (("location", place),), _XML)

    def _slow_down(self, wait: float) -> Answer:
        return refusal(429, "SlowDown", retry_after(self._site.faults, wait)[0])


def entity_tag(provider: Provider, row: RowFacts, blob: Blob) -> str:
    """Return an ETag: the MD5, or what an upload or composition of parts leaves, or opaque."""
    match provider:
        case "azure":
            return f'"0x8D{blob.sha256[:7].hex().upper()}"'
        case "gcp" if row.number % 2:
            return f'"C{blob.sha256[:10].hex()}="'
        case "s3" if row.number % 2:
            return f'"{blob.md5.hex()}-2"'
    return f'"{blob.md5.hex()}"'


def checksums(provider: Provider, row: RowFacts, blob: Blob, *, whole: bool) -> Headers:
    """Return the headers that say what the object's bytes are.

    `whole`: the answer is the object; else a range of it, for which only some stores say anything.
    """
    match provider:
        case "gcp":
            made = [("x-goog-hash", f"crc32c={_base64(blob.crc32c)}")]
            if row.number % 2:  # composed of several objects: there is no MD5
                return made
            return [*made, ("x-goog-hash", f"md5={_base64(blob.md5)}")]
        case "azure":
            return [("content-md5" if whole else "x-ms-blob-content-md5", _base64(blob.md5))]
        case "s3" if not whole:
            return []
        case "s3" if row.number % 2:
            return [
                ("x-amz-checksum-crc32", _base64(blob.crc32)),
                ("x-amz-checksum-type", "FULL_OBJECT"),
            ]
    return [("x-amz-checksum-sha256", _base64(blob.sha256)), ("x-amz-checksum-type", "FULL_OBJECT")]


def refusal(status: int, code: str, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    """Return an error as object stores word it."""
    text = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code></Error>"
    return Answer(status, [text.encode()], headers, _XML)


def _expired(provider: Provider) -> Answer:
    """Return what a store says of a URL whose time is over: each says it in its own way."""
    match provider:
        case "gcp":
            return refusal(400, "ExpiredToken")
        case "azure":
            return refusal(403, "AuthenticationFailed")
    return refusal(403, "AccessDenied")


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()
