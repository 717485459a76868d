"""Bar charts as SVG, drawn on the server: the page needs no script for them."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

WIDTH, HEIGHT, ROW = 720, 200, 22
NAME_WIDTH, NAME_CHARACTERS = 200, 28


def columns(values: Sequence[tuple[str, int]], what: str) -> Markup:
    """Return a chart of upright bars, one for each ``(label, count)``; ``what`` names the unit."""
    if not values:
        return Markup("<p>Nothing yet.</p>")
    top = max(max(count for _, count in values), 1)
    step = WIDTH / len(values)
    bars = []
    for i, (label, count) in enumerate(values):
        height = (HEIGHT - 40) * count / top
        bars.append(
            f'<rect x="{i * step + step * 0.1:.1f}" y="{HEIGHT - 20 - height:.1f}" width="{step * 0.8:.1f}" '
            f'height="{height:.1f}"><title>{escape(label)}: {count:,} {escape(what)}</title></rect>'
        )
    first, last = escape(values[0][0]), escape(values[-1][0])
    total = sum(count for _, count in values)
    return Markup(
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{total:,} {escape(what)} from {first} to {last}, at most {top:,} at once">'
        f'<line x1="0" x2="{WIDTH}" y1="{HEIGHT - 20}" y2="{HEIGHT - 20}"/>{"".join(bars)}'
        f'<text x="4" y="{HEIGHT - 5}">{first}</text>'
        f'<text x="{WIDTH - 4}" y="{HEIGHT - 5}" text-anchor="end">{last}</text>'
        f'<text x="4" y="14">{top:,}</text></svg>'
    )


def bars(values: Sequence[tuple[str, int]], what: str) -> Markup:
    """Return a chart of lying bars with their names, the longest first."""
    if not values:
        return Markup("<p>Nothing yet.</p>")
    top = max(max(count for _, count in values), 1)
    rows = []
    for i, (label, count) in enumerate(values):
        y = i * ROW
        short = label if len(label) <= NAME_CHARACTERS else label[: NAME_CHARACTERS - 1] + "…"
        width = (WIDTH - NAME_WIDTH - 80) * count / top
        rows.append(
            f'<text x="{NAME_WIDTH - 8}" y="{y + 15}" text-anchor="end">{escape(short)}</text>'
            f'<rect x="{NAME_WIDTH}" y="{y + 4}" width="{width:.1f}" height="{ROW - 8}"/>'
            f'<text x="{NAME_WIDTH + width + 6:.1f}" y="{y + 15}">{count:,}</text>'
        )
    spoken = escape("; ".join(f"{label}: {count:,}" for label, count in values[:5]))
    return Markup(
        f'<svg class="chart" viewBox="0 0 {WIDTH} {len(values) * ROW + 4}" role="img" '
        f'aria-label="{escape(what)} by name: {spoken}">{"".join(rows)}</svg>'
    )
