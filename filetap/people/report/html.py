"""Charts and tables of an HTML page that is also XML, without scripts."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final

from filetap.times import format_time

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

DAY: Final = timedelta(days=1)
_UNITS: Final = 1000  # of a chart's width, whatever that is on the page
_LABEL: Final = 76  # pixels that the label of a day takes
# Pixels that the days of a chart have on a page that is wide, and on a narrow one.
_WIDE: Final = 900
_NARROW: Final = 260

# Characters that XML forbids, even escaped.
_NO_TEXT = re.compile(r"[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]")


def escaped(value: object) -> str:
    """A value as text of a page; also usable inside quotes."""
    return html.escape(_NO_TEXT.sub("\ufffd", str(value)))


def when(moment: datetime) -> str:
    """A time to the minute, in UTC."""
    return format_time(moment.replace(microsecond=0))[:16].replace("T", " ") + " UTC"


def midnight(day: date) -> datetime:
    """The beginning of a day, or of the day that a time is in."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def short(number: float, unit: str = "") -> str:
    """A number in three digits, with an SI prefix."""
    prefixes = iter(("", "k", "M", "G", "T", "P", "E"))
    prefix = next(prefixes)
    while round(number) >= 1000 and (larger := next(prefixes, "")):
        number, prefix = number / 1000, larger
    return f"{number:.3g} {prefix}{unit}" if unit else f"{number:.3g}{prefix}"


def many(number: int, noun: str) -> str:
    """A number and its noun."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


@dataclass(frozen=True, slots=True)
class Axis:
    """Days from left to right.

    Attributes:
        first: The first day.
        days: How many.
    """

    first: date
    days: int

    @classmethod
    def of(cls, moments: Iterable[datetime]) -> Axis:
        """An axis that includes all *moments*."""
        days = sorted(moment.date() for moment in moments) or [date(2000, 1, 1)]
        return cls(days[0], (days[-1] - days[0]).days + 1)

    @property
    def least(self) -> int:
        """Pixels that the days need; on a page with less room the chart scrolls."""
        return min(4 * self.days, 4000)

    def share(self, moment: datetime) -> float:
        """Horizontal position of a moment, from 0 to 1."""
        return (moment - midnight(self.first)) / DAY / self.days

    def days_at(self, y: float) -> str:
        """Labels of as many days as have room, at height *y*; a narrow page shows fewer."""
        step = self._step(_WIDE)
        coarse = -(-self._step(_NARROW) // step) * step
        wide, narrow = (
            [
                number
                for number in range(0, self.days, each)
                if not number or number + each <= self.days
            ]
            for each in (step, coarse)
        )
        return "".join(
            f'<text class="{"day" if number in narrow else "fine"}" '
            f'x="{100 * number / self.days:.2f}%" y="{y}">{self.first + number * DAY}</text>'
            for number in sorted({*wide, *narrow})
        )

    def _step(self, pixels: int) -> int:
        """Days from one label to the next, where all have so many pixels: some, or whole weeks."""
        step = -int(-_LABEL * self.days // max(pixels, self.least))
        return step if step < 4 else -(-step // 7) * 7


def svg(ident: str, title: str, about: str, size: tuple[int, float], body: str) -> str:
    """A chart as wide as the page, with a title, and a description in words.

    Args:
        ident: Begins the ids of its parts.
        title: Its title, as text.
        about: Its description, as text.
        size: Its least width and its height, in pixels.
        body: What it shows, as SVG. Horizontal places are per cent, so that texts keep their size;
            left of them is room for a scale.
    """
    least, height = size
    title = escaped(title)
    return (
        f'<figure><figcaption>{title}</figcaption><div class="scroll" role="group" tabindex="0" '
        f'aria-label="{title}, chart"><svg class="plot" role="img" '
        f'aria-labelledby="{ident}-t {ident}-d" style="min-width:{least}px" height="{height:.0f}">'
        f'<title id="{ident}-t">{title}</title><desc id="{ident}-d">{escaped(about)}</desc>'
        f"{body}</svg></div></figure>"
    )


def table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; numbers are aligned right, and the first cell of a row is its heading."""
    caption = escaped(caption)
    rows = list(rows)
    sides = [
        "" if any(isinstance(row[place], int) for row in rows) else ' class="w"'
        for place in range(len(heads))
    ]
    body = "".join(
        f'<tr><th scope="row">{escaped(head)}</th>'
        + "".join(
            f"<td{side}>{f'{cell:,}' if isinstance(cell, int) else escaped(cell)}</td>"
            for cell, side in zip(cells, sides[1:], strict=True)
        )
        + "</tr>\n"
        for head, *cells in rows
    )
    names = "".join(
        f'<th scope="col"{side}>{escaped(head)}</th>'
        for head, side in zip(heads, sides, strict=True)
    )
    return (
        f'<div class="scroll tall" role="group" tabindex="0" aria-label="{caption}, table">'
        f"<table><caption>{caption}</caption><thead><tr>{names}</tr></thead>"
        f"<tbody>\n{body}</tbody></table></div>"
    )


def details(caption: str, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table that is closed at first."""
    shown = table(caption, heads, rows)
    return f"<details><summary>{escaped(caption)}, as a table</summary>{shown}</details>"


@dataclass(frozen=True, slots=True)
class Series:
    """What a chart shows.

    Attributes:
        values: Moment and value; None if it is not known.
        step: Time that a bar covers.
        partial: Moments whose values are of a part of that time only.
    """

    values: Sequence[tuple[datetime, int | None]]
    step: timedelta
    partial: Collection[datetime] = ()


def bars(ident: str, title: str, axis: Axis, series: Series) -> str:
    """A chart with a bar for each known value; partial ones are marked."""
    values, step = series.values, series.step
    known = [(moment, value) for moment, value in values if value is not None]
    if not known:
        return f"<figure><figcaption>{escaped(title)}</figcaption><p>Not known.</p></figure>"
    numbers = [max(0, value) for _, value in known]
    most = max(1, *numbers)
    sizes = (scale * 10**power for power in range(len(str(most))) for scale in (1, 2, 5))
    tick = next(size for size in sizes if size * 4 >= most)
    top = -(-most // tick) * tick
    width = max(0.5, 0.9 * _UNITS / axis.days * min(step, DAY) / DAY)
    base = 118
    grid = ticks = ""
    for number in range(0, top + 1, tick):
        y = base - number / top * 110
        grid += f"M0 {y:.1f}H{_UNITS}"
        ticks += f'<text class="tick" x="-6" y="{y + 4:.1f}">{short(number)}</text>'
    drawn = {"bar": "", "bar part": ""}
    for (moment, _), value in zip(known, numbers, strict=True):
        if value:
            drawn["bar part" if moment in series.partial else "bar"] += (
                f"M{_UNITS * axis.share(midnight(moment) if step >= DAY else moment):.1f} {base}"
                f"v-{max(1, value / top * 110):.1f}h{width:.1f}V{base}z"
            )
    marked = "".join(f'<path class="{name}" d="{path}"/>' for name, path in drawn.items() if path)
    about = (
        f"{many(len(known), 'value')} from {when(known[0][0])} to {when(known[-1][0])}: "
        f"at least {min(numbers):,}, at most {max(numbers):,}, {sum(numbers):,} in all; "
        f"{len(values) - len(known):,} not known."
    )
    if among := sum(moment in series.partial for moment, _ in known):
        about += f" {many(among, 'value')} of a day that is not complete."
    return svg(
        ident,
        title,
        about,
        (axis.least, base + 20),
        f'<svg viewBox="0 0 {_UNITS} {base}" preserveAspectRatio="none" width="100%" '
        f'height="{base}"><title>{escaped(title)}</title><path class="grid" d="{grid}"/>{marked}'
        f"</svg>{ticks}{axis.days_at(base + 15)}",
    )


# Printed pages always have the light colours.
CSS: Final = """
:root{color-scheme:light;--page:#f4f6f8;--card:#ffffff;--ink:#1a1f27;--soft:#505a67;--line:#d3d9e0;
--link:#0b55ab;--read:#1c7c58;--pending:#1d5fc0;--partly:#7440b8;--soon:#b63a06;--left:#66707c;
--missing:#b3152f;--unknown:#505a67;--on:#ffffff;--bar:#2c6fb8}
@media screen and (prefers-color-scheme:dark){:root{color-scheme:dark;--page:#11151b;--card:#1a2029;
--ink:#e9ecf1;--soft:#aab4c1;--line:#374150;--link:#8cbaff;--read:#3fae7e;--pending:#79aaf7;
--partly:#bb93f0;--soon:#ff9a5c;--left:#929dab;--missing:#ff7f90;--unknown:#aab4c1;--on:#11151b;
--bar:#6ea8ea}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1120px;padding:0 16px 48px;background:var(--page);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.7rem;line-height:1.25;margin:28px 0 4px}
h2{font-size:1.25rem;margin:0 0 12px}
h3{font-size:1.05rem;margin:28px 0 4px;padding-top:16px;border-top:1px solid var(--line)}
p{margin:0 0 12px;max-width:72ch}
header p,dt,caption,figcaption{color:var(--soft)}
a{color:var(--link)}
nav{display:flex;flex-wrap:wrap;gap:4px 20px;padding:4px 0 16px}
:focus-visible{outline:3px solid var(--link);outline-offset:2px}
main:focus{outline:none}
.skip{position:absolute;left:-999em}
.skip:focus{left:16px;top:8px;padding:8px 12px;background:var(--card);z-index:2}
section{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:20px;
margin:0 0 20px}
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(130px,1fr));gap:12px;margin:0}
dl div{border:1px solid var(--line);border-radius:6px;padding:8px 12px}
dt{font-size:.85rem}
dd{margin:0;font-size:1.6rem;font-weight:600;font-variant-numeric:tabular-nums}
.legend{list-style:none;margin:0;padding:0;font-size:.875rem;display:grid;gap:4px 24px;
grid-template-columns:repeat(auto-fit,minmax(280px,1fr))}
.defs{position:absolute}
figure{margin:12px 0}
figcaption,summary{font-size:.875rem}
.scroll{overflow-x:auto}
.tall{max-height:26rem;overflow-y:auto}
svg{display:block}
.plot{width:100%;padding-left:48px;overflow:visible}
.plot path{vector-effect:non-scaling-stroke}
symbol{overflow:visible}
.legend li{display:flex;gap:8px}
.legend svg{flex:none;margin-top:4px}
text{font:11px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;fill:var(--soft)}
.tick{text-anchor:end}
.grid{stroke:var(--line)}
.bar{fill:var(--bar)}
.part{fill-opacity:.25;stroke:var(--bar);stroke-dasharray:3 3}
.verdict{border:1px solid var(--line);border-left:8px solid var(--read);border-radius:8px;
background:var(--card);padding:12px 16px;margin:12px 0 4px}
.verdict strong{font-size:1.15rem}
.verdict ul{margin:4px 0 0;padding-left:1.2em}
.verdict span{display:inline-block;width:1.2em;font-weight:700;color:var(--read)}
.doubt{border-left-color:var(--soon)}
.doubt span{color:var(--soon)}
.fault{border-left-color:var(--missing)}
.fault span{color:var(--missing)}
.mark{fill:none;stroke-width:2;stroke-linecap:round}
.read{fill:var(--read)}
.soon{fill:var(--soon)}
.on-soon{stroke:var(--on)}
.left{fill:none;stroke:var(--left)}
.on-left{stroke:var(--left);stroke-width:1.2}
.pending{fill:none;stroke:var(--pending);stroke-width:1.4}
.on-pending{stroke:var(--pending);stroke-width:3}
.partly{fill:none;stroke:var(--partly);stroke-width:1.4}
.half{fill:var(--partly)}
.missing{fill:none;stroke:var(--missing);stroke-dasharray:2 2}
.on-missing{stroke:var(--missing)}
.unknown{fill:none;stroke:var(--unknown)}
summary{cursor:pointer;color:var(--link);padding:4px 0}
table{border-collapse:collapse;font-size:.875rem;font-variant-numeric:tabular-nums}
.t{white-space:nowrap}
caption{text-align:left;padding:4px 0}
th,td{overflow-wrap:normal}
th,td{padding:4px 12px;border-bottom:1px solid var(--line);text-align:right;vertical-align:top}
th{font-weight:600}
thead th{position:sticky;top:0;background:var(--card);white-space:nowrap}
th:first-child,.w{text-align:left}
tbody th{white-space:nowrap;font-weight:400}
@media (max-width:900px){.fine{display:none}}
@media (max-width:600px){section{padding:14px 12px}}
@media print{body{max-width:none;padding:0;background:none;font-size:11pt}nav,.skip{display:none}
section{border:0;padding:0}.scroll{overflow:visible;max-height:none}.plot{min-width:0!important}
figure,tr,dl{break-inside:avoid}h2,h3{break-after:avoid}thead th{position:static}}
"""
