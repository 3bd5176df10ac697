"""Faults that a test queues for an emulated server."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Fault:
    """Something that goes wrong with the next requests of a route.

    Attributes:
        route: Route whose requests it strikes.
        status: Sent instead of the true response, with ``headers`` and ``body``.
        headers: Headers of that response.
        body: Body of that response.
        drop_after: Bytes of the body after which the connection closes; -1 closes it without a
            response.
        stall: Seconds to wait before the response or, with ``drop_after``, before the drop.
        corrupt_at: Byte of the whole file in which one bit is flipped.
        ignore_range: True to send the whole file whatever range is requested.
        part: Bytes of what is requested that are sent, as a range of its own; None for all.
        content_range: Sent instead of the true Content-Range.
        etag: Used as the file's ETag instead of the true one, in conditions too.
        headers_extra: Headers added to the true response.
        skip: Matching requests that pass before it strikes.
        times: Requests it strikes; None for all.
        match: Text that the decoded path must contain.
    """

    route: str
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | str = b""
    drop_after: int | None = None
    stall: float = 0.0
    corrupt_at: int | None = None
    ignore_range: bool = False
    part: int | None = None
    content_range: str | None = None
    etag: str | None = None
    headers_extra: dict[str, str] = field(default_factory=dict)
    skip: int = 0
    times: int | None = 1
    match: str = ""

    def strikes(self, route: str, path: str) -> bool:
        """Count this request if it matches; return True if the fault strikes it."""
        if route != self.route or self.match not in path or self.times == 0:
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return True
