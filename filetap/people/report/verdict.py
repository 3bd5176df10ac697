"""The verdict at the top of the page: is all well, and if not, what is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from filetap.people.inventory import span_words
from filetap.people.report.generations import SOON_SPAN, usual_distance
from filetap.people.report.html import DAY, escaped, when
from filetap.wording import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from filetap.people.report.generations import Generation

# Level → what it looks like without colours, and its heading.
_LEVELS: Final = {
    "well": ("✓", "All is well"),
    "doubt": ("!", "Look at this"),
    "fault": ("✗", "Something is wrong"),
}
_LATE: Final = 2  # usual distances since the newest generation


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is wrong with the available files.

    Attributes:
        faults: What needs to be done now.
        doubts: What may be in order.
        newest: The newest generation, and its age; empty without files.
    """

    faults: Sequence[str]
    doubts: Sequence[str]
    newest: str

    @property
    def level(self) -> str:
        """``fault``, ``doubt`` or ``well``."""
        return "fault" if self.faults else "doubt" if self.doubts else "well"

    def html(self) -> str:
        """The verdict as a block of the page."""
        mark, heading = _LEVELS[self.level]
        lines = [*self.faults, *self.doubts, *([self.newest] if self.newest else [])]
        items = "".join(f"<li>{escaped(line)}</li>" for line in lines)
        return (
            f'<div class="verdict {self.level}"><strong><span aria-hidden="true">{mark}</span> '
            f"{heading}</strong><ul>{items}</ul></div>"
        )


def judge(
    found: Sequence[Generation],
    lost: Mapping[str, Sequence[datetime]],
    damaged: Sequence[str],
    now: datetime,
) -> Verdict:
    """Judge the available files.

    Args:
        found: Their generations.
        lost: Stream → times of its missing generations.
        damaged: Files that cannot be read.
        now: When the page is made.
    """
    faults, doubts = [], []
    if damaged:
        faults.append(f"{counted(len(damaged), 'file')} cannot be read.")
    ends = [(g.deadline - now, g) for g in found if g.deadline is not None]
    within_a_day = [g for left, g in ends if left <= DAY]
    later = [g for left, g in ends if DAY < left <= SOON_SPAN]
    if known := sum(g.unread for g in within_a_day if g.status is not None):
        faults.append(f"{_expire(known, 'not read')} within 24 hours.")
    if unsure := sum(g.unread for g in within_a_day if g.status is None):
        doubts.append(f"{_expire(unsure, 'perhaps not read')} within 24 hours.")
    if more := sum(g.unread for g in later):
        doubts.append(f"{_expire(more, 'not known to be read')} in 24 to 48 hours.")
    doubts += _gaps(lost)
    regular = sorted({g.generated_at for g in found if g.is_regular})
    if not found:
        return Verdict([*faults, "There are no export files."], doubts, "")
    if not regular:
        return Verdict(faults, doubts, "")
    age, usual = now - regular[-1], usual_distance(regular)
    if age > _LATE * usual:
        words = f"the newest generation is {span_words(age)} old"
        doubts.append(f"Late: {words}; one every {span_words(usual)} is usual.")
    return Verdict(
        faults, doubts, f"Newest generation: {when(regular[-1])}, {span_words(age)} old."
    )


def _gaps(lost: Mapping[str, Sequence[datetime]]) -> list[str]:
    """Missing generations, those of several streams in one line if they are the same."""
    gaps: dict[tuple[datetime, ...], list[str]] = {}
    for stream, times in lost.items():
        if times:
            gaps.setdefault(tuple(times), []).append(stream)
    return [
        f"{', '.join(streams)}: {counted(len(times), 'generation')} "
        f"{'is' if len(times) == 1 else 'are'} missing, the last one of {when(times[-1])}."
        for times, streams in gaps.items()
    ]


def _expire(number: int, how: str) -> str:
    return f"{counted(number, 'file')}, {how}, expire{'s' if number == 1 else ''}"
