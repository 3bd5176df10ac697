"""What all streams of a run share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filetap.download.spool import Spool
    from filetap.files import Transport
    from filetap.progress import Progress
    from filetap.settings import Settings
    from filetap.vendor import Vendor


@dataclass(frozen=True, slots=True)
class Run:
    """What all streams of a run share.

    Attributes:
        vendor: Whose files they are.
        settings: The settings of the tap.
        transport: Where files come from.
        spool: Downloads them.
        progress: How far the run has come.
    """

    vendor: Vendor
    settings: Settings
    transport: Transport
    spool: Spool
    progress: Progress
