"""What the simulation saw, as an SVG: refreshes per second over time, one curve for each scenario of a panel.

Its colours follow whether the reader's system is light or dark; it has no background of its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Final

_WIDTH: Final = 920
_HEIGHT: Final = 170
"""Of a panel's curves."""
_LEFT, _RIGHT, _HEAD, _FOOT = 56, 20, 44, 34
_STEPS: Final = (1, 2, 5)
_STYLE: Final = """
  text { font: 12px system-ui, sans-serif; fill: #1f2328 }
  .head { font-weight: 600 } .quiet { fill: #59636e } .grid { stroke: #d1d9e0 } .down { fill: #d1d9e0; opacity: .5 }
  path { fill: none; stroke-width: 1.5 }
  .c0 { stroke: #0969da } .c1 { stroke: #bc4c00 } .c2 { stroke: #8250df } .c3 { stroke: #1a7f37 }
  text.c0 { fill: #0969da; stroke: none } text.c1 { fill: #bc4c00; stroke: none }
  text.c2 { fill: #8250df; stroke: none } text.c3 { fill: #1a7f37; stroke: none }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc } .quiet { fill: #9198a1 } .grid { stroke: #3d444d } .down { fill: #3d444d }
    .c0 { stroke: #4493f8 } .c1 { stroke: #f0883e } .c2 { stroke: #ab7df8 } .c3 { stroke: #3fb950 }
    text.c0 { fill: #4493f8 } text.c1 { fill: #f0883e } text.c2 { fill: #ab7df8 } text.c3 { fill: #3fb950 }
  }
"""


def draw(
    panels: Mapping[str, Mapping[str, Sequence[float]]],
    *,
    minutes: Mapping[str, int],
    outages: Mapping[str, tuple[float, float]],
) -> str:
    """
    :param panels: by title; curves by name, each a figure for every so many minutes.
    :param minutes: how many those are, by title.
    :param outages: from which hour to which, by the title of the panel.
    """
    apart = _HEAD + _HEIGHT + _FOOT
    parts: list[str] = []
    for place, (title, curves) in enumerate(panels.items()):
        parts += _panel(title, curves, place * apart + _HEAD, minutes=minutes[title], outage=outages.get(title))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {apart * len(panels)}" role="img" '
        'aria-label="Refreshes per second over time, in the simulated scenarios">\n'
        f"<style>{_STYLE}</style>\n" + "\n".join(parts) + "\n</svg>\n"
    )


def _panel(
    title: str, curves: Mapping[str, Sequence[float]], top: int, *, minutes: int, outage: tuple[float, float] | None
) -> Iterator[str]:
    most = max((figure for curve in curves.values() for figure in curve), default=0) or 1
    length = max(map(len, curves.values()))
    hours = length * minutes / 60
    bottom, inner = top + _HEIGHT, _WIDTH - _LEFT - _RIGHT

    def across(hour: float) -> float:
        return _LEFT + inner * hour / hours

    yield f'<text x="8" y="{top - 24}" class="head">{escape(title)}</text>'
    if outage:
        begin, end = map(across, outage)
        yield f'<rect x="{begin:.1f}" y="{top}" width="{end - begin:.1f}" height="{_HEIGHT}" class="down"/>'
        yield f'<text x="{begin + 6:.1f}" y="{top + 14}" class="quiet">the provider is down</text>'
    step = _step(most / 4)
    for number in range(int(most / step) + 1):
        y = bottom - _HEIGHT * number * step / most
        yield f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" y2="{y:.1f}" class="grid"/>'
        yield f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" class="quiet">{number * step:g}</text>'
    every = _step(hours / 8)
    for number in range(int(hours / every) + 1):
        x = across(number * every)
        yield f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle" class="quiet">{number * every:g} h</text>'
    x = float(_LEFT)
    for colour, (name, curve) in enumerate(curves.items()):
        points = " ".join(
            f"{across(place * minutes / 60):.1f},{bottom - _HEIGHT * figure / most:.1f}"
            for place, figure in enumerate(curve)
        )
        yield f'<path d="M{points}" class="c{colour}"/>'
        yield f'<text x="{x:.1f}" y="{top - 8}" class="c{colour}">{escape(name)}</text>'
        x += 24 + 6.5 * len(name)


def _step(about: float) -> float:
    """A round number of about that size."""
    power = 1.0
    while power > about:
        power /= 10
    while power * 10 <= about:
        power *= 10
    return next((factor * power for factor in _STEPS if factor * power >= about), 10 * power)
