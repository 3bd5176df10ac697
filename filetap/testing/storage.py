"""Storage that hands out files through presigned URLs, as S3 does."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode

from awscrt import checksums

from filetap.testing.server import Response, Route

if TYPE_CHECKING:
    from collections.abc import Iterable

    from filetap.testing.server import Call

DOWNLOAD: Final = Route("download", "GET", "/s3/(.+)")
_AMZ_DATE: Final = "%Y%m%dT%H%M%SZ"
_CRC64NVME: Final = "CRC64NVME"


@dataclass(kw_only=True, eq=False)
class StoredFile:
    """A file in storage. Mutable: changes show in the next response.

    Attributes:
        key: Path in the storage.
        body: Bytes as stored.
        content_type: Content-Type of a download.
        checksum_function: CRC64NVME sends that checksum with a complete file; any other name sends
            none.
        gone: True to answer a download with 404.
    """

    key: str
    body: bytes
    content_type: str = "binary/octet-stream"
    checksum_function: str = _CRC64NVME
    gone: bool = False


class Storage:
    """Signs URLs, and serves requests for them.

    Ranges, ETags and conditions work as in S3, and so do its errors; a presigned URL is refused
    if it was changed or has expired, or if the request carries an Authorization header.
    """

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)
        self._session = 0  # part of every presigned URL: a new one expires them all

    def expire_urls(self) -> None:
        """Expire every URL signed so far."""
        self._session += 1

    def sign(self, base_url: str, key: str, now: datetime, lifetime: int) -> str:
        """A presigned URL.

        Args:
            base_url: URL of the server whose `DOWNLOAD` route reaches the storage.
            key: Path of the file, which need not exist.
            now: Time of signing, aware.
            lifetime: Seconds until it expires.
        """
        date = f"{now.astimezone(UTC):{_AMZ_DATE}}"
        query = {
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": f"EMULATED/{date[:8]}/us-east-1/s3/aws4_request",
            "X-Amz-Date": date,
            "X-Amz-Expires": str(lifetime),
            "X-Amz-Security-Token": f"session/{self._session}",
            "X-Amz-SignedHeaders": "host",
            "x-amz-checksum-mode": "ENABLED",
            "x-id": "GetObject",
        }
        query["X-Amz-Signature"] = self._signature(key, query)
        return f"{base_url}/s3/{quote(key)}?{urlencode(query, quote_via=quote)}"

    def respond(self, call: Call, files: Iterable[StoredFile], now: datetime) -> Response:
        """Answer a request of the `DOWNLOAD` route.

        Args:
            call: The request; its first argument is the key.
            files: The files in the storage.
            now: Time of the request, aware.
        """
        key = call.arguments[0]
        refusal = self._refusal(call, key, now)
        if refusal is not None:
            return refusal
        file = next((file for file in files if file.key == key and not file.gone), None)
        if file is None:
            return _error(404, "NoSuchKey", "The specified key does not exist.")
        return _download(call, file)

    def _refusal(self, call: Call, key: str, now: datetime) -> Response | None:
        """The error for a request that its URL does not permit; None if it does."""
        if "authorization" in call.headers:
            return _error(400, "InvalidArgument", "Only one auth mechanism allowed")
        signature = self._signature(key, call.query)
        if not hmac.compare_digest(signature, call.query.get("X-Amz-Signature", "")):
            return _error(403, "SignatureDoesNotMatch", "The signature does not match")
        signed_at = datetime.strptime(call.query["X-Amz-Date"], _AMZ_DATE).replace(tzinfo=UTC)
        lifetime = timedelta(seconds=int(call.query["X-Amz-Expires"]))
        session = f"session/{self._session}"
        if now >= signed_at + lifetime or call.query["X-Amz-Security-Token"] != session:
            return _error(403, "AccessDenied", "Request has expired")
        return None

    def _signature(self, key: str, query: dict[str, str]) -> str:
        signed = ("X-Amz-Date", "X-Amz-Expires", "X-Amz-Security-Token")
        text = "\n".join((key, *(query.get(name, "") for name in signed)))
        return hmac.new(self._secret, text.encode(), "sha256").hexdigest()


def crc64nvme(body: bytes) -> str:
    """CRC-64/NVME of *body* as S3 states it: base64 of 8 bytes, big-endian."""
    return base64.b64encode(checksums.crc64nvme(body).to_bytes(8)).decode()


def _download(call: Call, file: StoredFile) -> Response:
    """The file, or the range of it that is requested."""
    body = file.body
    etag = call.fault.etag or f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'
    headers = {"Accept-Ranges": "bytes", "Content-Type": file.content_type, "ETag": etag}
    if call.headers.get("if-match", etag) not in {etag, "*"}:
        return _error(412, "PreconditionFailed", "The file has changed")
    span = _span(call.headers.get("range", ""))
    if call.headers.get("if-range", etag) != etag or call.fault.ignore_range:
        span = None
    first, last = span or (0, None)
    if span and first >= len(body):
        error = _error(416, "InvalidRange", "The requested range is not satisfiable")
        error.headers["Content-Range"] = f"bytes */{len(body)}"
        return error
    last = len(body) - 1 if last is None else min(last, len(body) - 1)
    if call.fault.part is not None:
        last = min(last, first + call.fault.part - 1)
        span = first, last
    if span:
        stated = call.fault.content_range
        headers["Content-Range"] = stated or f"bytes {first}-{last}/{len(body)}"
    elif file.checksum_function == _CRC64NVME:
        headers["x-amz-checksum-crc64nvme"] = crc64nvme(body)
    sent, corrupt_at = body[first : last + 1], call.fault.corrupt_at
    if corrupt_at is not None and first <= corrupt_at <= last:
        at = corrupt_at - first
        sent = sent[:at] + bytes([sent[at] ^ 1]) + sent[at + 1 :]
    return Response(206 if span else 200, sent, headers)


def _span(text: str) -> tuple[int, int | None] | None:
    """The first and last byte of a Range header; None if it names no range of bytes."""
    found = re.fullmatch(r"bytes=(\d+)-(\d*)", text)
    return found and (int(found[1]), int(found[2]) if found[2] else None)


def _error(status: int, code: str, message: str) -> Response:
    error = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    declaration = '<?xml version="1.0" encoding="UTF-8"?>\n'
    return Response(status, (declaration + error).encode(), {"Content-Type": "application/xml"})
