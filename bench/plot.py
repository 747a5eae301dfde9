"""The plot of the results, as SVG: requests per second as bars, latency as marks on a logarithmic scale.

Its colours follow whether the reader's system is light or dark; it has no background of its own.
"""

import math
from collections.abc import Iterator
from html import escape
from typing import Any, Final, NamedTuple

from bench.results import Results
from bench.rounds import said

_WIDTH: Final = 920
_LABELS: Final = 250
"""Pixels left of the bars, for words."""
_ROW: Final = 18
_GAP: Final = 10
_BARS: Final = 330
_SCALE: Final = 620
"""Where the latencies begin, and their width is what is left."""
_STYLE: Final = """
  text { font: 12px system-ui, sans-serif; fill: #1f2328 }
  .head { font-weight: 600 } .quiet { fill: #59636e }
  .floor { fill: #8c959f } .broker { fill: #0969da } .grid { stroke: #d1d9e0 } .range { stroke-width: 2 }
  line.floor { stroke: #8c959f } line.broker { stroke: #0969da }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc } .quiet { fill: #9198a1 } .grid { stroke: #3d444d }
    .floor { fill: #768390 } .broker { fill: #4493f8 } line.floor { stroke: #768390 } line.broker { stroke: #4493f8 }
  }
"""


class _Bar(NamedTuple):
    words: str
    kind: str
    per_second: float
    latency: tuple[float, float, float]


def draw(results: Results) -> str:
    """The whole picture, of all comparisons that the results hold."""
    groups = list(_groups(results))
    most = max((bar.per_second for _, bars in groups for bar in bars), default=1)
    latencies = [value for _, bars in groups for bar in bars for value in bar.latency if value > 0] or [1.0]
    low, high = math.floor(math.log10(min(latencies))), math.ceil(math.log10(max(latencies)))
    high = max(high, low + 1)
    height = 58 + sum(_GAP + _ROW * (1 + len(bars)) for _, bars in groups)

    def across(milliseconds: float) -> float:
        share = (math.log10(max(milliseconds, 10**low)) - low) / (high - low)
        return _SCALE + share * (_WIDTH - _SCALE - 30)

    parts = [
        f'<text x="{_LABELS}" y="16" class="head">requests per second</text>',
        f'<text x="{_SCALE}" y="16" class="head">latency: p50, p99, p99.9 (ms)</text>',
    ]
    for power in range(low, high + 1):
        x = across(10**power)
        parts.append(f'<line x1="{x:.1f}" y1="40" x2="{x:.1f}" y2="{height - 8}" class="grid"/>')
        parts.append(f'<text x="{x:.1f}" y="34" text-anchor="middle" class="quiet">{10.0**power:g}</text>')
    y = 44.0
    for title, bars in groups:
        y += _GAP
        parts.append(f'<text x="8" y="{y + 12}" class="head">{escape(title)}</text>')
        for bar in bars:
            y += _ROW
            parts += _row(bar, y, bar.per_second / most * (_BARS - 70), [across(value) for value in bar.latency])
        y += _ROW
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-label="Requests per second and latency of the broker and what it is compared with">\n'
        f"<style>{_STYLE}</style>\n" + "\n".join(parts) + "\n</svg>\n"
    )


def _row(bar: _Bar, y: float, width: float, marks: list[float]) -> Iterator[str]:
    middle, kind = y + 8, bar.kind
    yield f'<text x="{_LABELS - 8}" y="{y + 12}" text-anchor="end">{escape(bar.words)}</text>'
    yield f'<rect x="{_LABELS}" y="{y + 2}" width="{width:.1f}" height="12" rx="2" class="{kind}"/>'
    yield f'<text x="{_LABELS + width + 6:.1f}" y="{y + 12}" class="quiet">{bar.per_second:,.0f}</text>'
    yield f'<line x1="{marks[0]:.1f}" y1="{middle}" x2="{marks[2]:.1f}" y2="{middle}" class="range {kind}"/>'
    for x, radius in zip(marks, (4.5, 3.5, 2.5), strict=True):
        yield f'<circle cx="{x:.1f}" cy="{middle}" r="{radius}" class="{kind}"/>'


def _groups(results: Results) -> Iterator[tuple[str, list[_Bar]]]:
    """A title and its bars, for each comparison; the first bar is what the others are compared with."""
    for name, report in results.items():
        for comparison in report.get("comparisons", []):
            yield (
                f"{name}, {said(comparison)}",
                [
                    _Bar(side["name"], "broker" if place else "floor", side["requests_per_second"], _latency(side))
                    for place, side in enumerate(comparison["sides"])
                ],
            )


def _latency(side: dict[str, Any]) -> tuple[float, float, float]:
    latency = side["milliseconds"]
    return latency["p50"], latency["p99"], latency["p999"]
