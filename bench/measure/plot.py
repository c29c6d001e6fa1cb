"""Plots as SVG, by hand: bars with their spread, and lines. They are readable on light and on dark
pages, and without colours, for every bar and line bears its name."""

import math
from xml.sax.saxutils import escape

COLOURS = {
    "nginx": "#2a9d4e",
    "lean": "#86c998",
    "haproxy": "#3b82c4",
    "envoy": "#a05cc9",
    "traefik": "#1aa5a5",
    "caddy": "#7f8c8d",
    "pingora": "#c9a227",
    "ferrix": "#e4572e",
    "before": "#f0a48c",
}
STYLE = """<style>
  text { font: 12px system-ui, sans-serif; fill: #1f2328 }
  .title { font-size: 15px; font-weight: 600 } .small { font-size: 11px }
  .axis { stroke: #59636e; fill: none } .grid { stroke: #d1d9e0; fill: none }
  .spread { stroke: #1f2328; stroke-width: 1.5 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .axis { stroke: #9198a1 } .grid { stroke: #3d444d } .spread { stroke: #e6edf3 }
  }
</style>"""
WIDTH = 760


def bars(title, unit, groups):
    """`groups`: (name, [(peer, title, value, least, most, share in user mode or None)])."""
    left, right, row = 150, 130, 22
    most = max((bar[4] for _, group in groups for bar in group), default=1) or 1
    ticks = nice(most)
    scale = (WIDTH - left - right) / ticks[-1]
    parts, y = [], 46
    for name, group in groups:
        parts.append(text(10, y + 12, name, "start", bold=True))
        y += 20
        for peer, label, value, least, greatest, user in group:
            colour = COLOURS[peer]
            parts.append(text(left - 8, y + 13, label, "end"))
            parts.append(rectangle(left, y + 3, value * scale, row - 8, colour, 0.55 if user is not None else 1))
            if user is not None:
                parts.append(rectangle(left, y + 3, value * scale * user, row - 8, colour, 1))
            middle = y + 3 + (row - 8) / 2
            parts.append(line(left + least * scale, middle, left + greatest * scale, middle, "spread"))
            parts.append(text(left + greatest * scale + 6, y + 13, number(value), "start"))
            y += row
        y += 8
    grid = []
    for tick in ticks:
        x = left + tick * scale
        grid.append(line(x, 44, x, y, "grid" if tick else "axis"))
        grid.append(text(x, y + 15, number(tick), "middle", small=True))
    parts.append(text(left + (WIDTH - left - right) / 2, y + 34, unit, "middle"))
    return document(title, y + 46, grid + parts)


def lines(title, x_unit, y_unit, series, log_x=False):
    """`series`: (peer, title, [(x, y)]); the y axis is logarithmic."""
    left, top, right, height = 70, 50, 150, 330
    points = [point for _, _, values in series for point in values]
    if not points:
        return document(title, 80, [text(10, 60, "nothing was measured", "start")])
    x_axis = axis([x for x, _ in points], log_x)
    y_axis = axis([y for _, y in points], True)
    place_x = lambda x: left + x_axis[1](x) * (WIDTH - left - right)
    place_y = lambda y: top + (1 - y_axis[1](y)) * height
    parts = []
    for tick in x_axis[0]:
        parts.append(line(place_x(tick), top, place_x(tick), top + height, "grid"))
        parts.append(text(place_x(tick), top + height + 16, number(tick), "middle", small=True))
    for tick in y_axis[0]:
        parts.append(line(left, place_y(tick), WIDTH - right, place_y(tick), "grid"))
        parts.append(text(left - 6, place_y(tick) + 4, number(tick), "end", small=True))
    labels = []
    for peer, label, values in series:
        if not values:
            continue
        path = " ".join(f"{place_x(x):.1f},{place_y(y):.1f}" for x, y in values)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{COLOURS[peer]}" stroke-width="2"/>')
        for x, y in values:
            parts.append(f'<circle cx="{place_x(x):.1f}" cy="{place_y(y):.1f}" r="3.5" fill="{COLOURS[peer]}"/>')
        labels.append([place_y(values[-1][1]), place_x(values[-1][0]), label, COLOURS[peer]])
    parts += beside(labels, WIDTH - right)
    parts.append(text(left + (WIDTH - left - right) / 2, top + height + 36, x_unit, "middle"))
    parts.append(text(10, 40, y_unit, "start", small=True))
    return document(title, top + height + 48, parts)


def beside(labels, right):
    """Names at the right, moved apart, each with a thread to where its line ends."""
    parts, last = [], -100
    for y, x, label, colour in sorted(labels):
        place = max(y, last + 15)
        last = place
        parts.append(
            f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{right + 10}" y2="{place:.1f}" stroke="{colour}" '
            'stroke-dasharray="2 3"/>'
        )
        parts.append(text(right + 14, place + 4, label, "start"))
    return parts


def axis(values, logarithmic):
    """The ticks, and a function from a value to its place between 0 and 1."""
    low, high = min(values), max(values)
    if not logarithmic:
        ticks = nice(high)
        return ticks, lambda value: value / ticks[-1]
    start, end = math.floor(math.log10(low)), math.ceil(math.log10(high) or 0)
    end = max(end, start + 1)
    ticks = [10.0**power for power in range(start, end + 1)]
    return ticks, lambda value: (math.log10(value) - start) / (end - start)


def nice(most):
    """Round ticks from 0 to at least `most`."""
    step = 10 ** math.floor(math.log10(most / 4)) if most > 0 else 1
    step = next(step * factor for factor in (1, 2, 2.5, 5, 10) if most / (step * factor) <= 6)
    return [step * count for count in range(math.ceil(most / step - 1e-9) + 1)]


def number(value):
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def rectangle(x, y, width, height, colour, opacity):
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{height}" fill="{colour}" '
        f'fill-opacity="{opacity}"/>'
    )


def line(x1, y1, x2, y2, kind):
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def text(x, y, words, anchor, small=False, bold=False):
    kind = ' class="small"' if small else ' font-weight="600"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{kind}>{escape(words)}</text>'


def document(title, height, parts):
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" '
        f'height="{height:.0f}" role="img" aria-label="{escape(title)}">'
    )
    heading = f'<text class="title" x="10" y="22">{escape(title)}</text>'
    return "\n".join([head, STYLE, heading, *parts, "</svg>", ""])
