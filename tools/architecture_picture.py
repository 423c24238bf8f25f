"""Draws docs/architecture.svg: the rooms of the package in layers, and which imports which.

usage: architecture_picture.py [OUTPUT]

The arrows are read from the imports in the source, so the picture shows the code as it is. What a
room can reach through another room has no arrow of its own.
"""

from __future__ import annotations

import ast
import sys
from html import escape
from pathlib import Path
from typing import Iterator

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "kallithea_tune"
# From the top: a room may import the rooms of the layers below its own.
LAYERS = (
    ("cli",),
    ("perf_check", "static_export", "db_migrate"),
    ("app",),
    ("db", "config"),
    ("system",),
)
WIDTH, HEIGHT, GAP_X, GAP_Y, MARGIN = 210, 66, 50, 58, 24
STYLE = """
    text { font-family: sans-serif; font-size: 14px; fill: #1d2733 }
    .purpose { font-size: 11px; fill: #51606f }
    rect { fill: #eef3f8; stroke: #7a8ea3; rx: 6 }
    path { fill: none; stroke: #7a8ea3; stroke-width: 1.3; marker-end: url(#arrow) }
    marker path { fill: #7a8ea3; stroke: none; marker-end: none }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3 } .purpose { fill: #a3b3c2 }
      rect { fill: #1f2b37; stroke: #6b8096 }
    }"""


def imports(path: Path) -> Iterator[str]:
    """Yield the rooms that a file imports, at any depth."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == PACKAGE and len(parts) > 1:
                yield parts[1]


def arrows() -> set[tuple[str, str]]:
    """Return which room imports which, of those in `LAYERS`."""
    rooms = {room for layer in LAYERS for room in layer}
    return {
        (room, other)
        for room in rooms
        for path in (ROOT / PACKAGE / room).rglob("*.py")
        for other in imports(path)
        if other in rooms and other != room
    }


def reduced(edges: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return the edges without those that a longer way down through the layers replaces."""
    level = {room: number for number, layer in enumerate(LAYERS) for room in layer}
    down = {(room, other) for room, other in edges if level[room] != level[other]}

    def reachable(start: str, goal: str, without: tuple[str, str]) -> bool:
        following = {end for begin, end in down - {without} if begin == start}
        return goal in following or any(reachable(room, goal, without) for room in following)

    return {edge for edge in edges if edge not in down or not reachable(*edge, without=edge)}


def purpose(room: str) -> str:
    """Return the first words of a room's docstring, up to a colon."""
    text = (ROOT / PACKAGE / room / "__init__.py").read_text(encoding="utf-8")
    docstring = ast.get_docstring(ast.parse(text)) or ""
    return docstring.partition(":")[0]


def places() -> dict[str, tuple[float, float]]:
    """Return the upper left corner of each room's box."""
    widest = max(map(len, LAYERS))
    total = widest * WIDTH + (widest - 1) * GAP_X
    corners: dict[str, tuple[float, float]] = {}
    for row, layer in enumerate(LAYERS):
        left = MARGIN + (total - len(layer) * WIDTH - (len(layer) - 1) * GAP_X) / 2
        for column, room in enumerate(layer):
            corners[room] = (left + column * (WIDTH + GAP_X), MARGIN + row * (HEIGHT + GAP_Y))
    return corners


def arrow(start: tuple[float, float], end: tuple[float, float]) -> str:
    """Return a curve between two boxes: downwards, or sideways within a layer."""
    (x1, y1), (x2, y2) = start, end
    if y1 == y2:
        middle = y1 + HEIGHT / 2
        return f'<path d="M{x1 + WIDTH:.0f},{middle:.0f} L{x2:.0f},{middle:.0f}"/>'
    x1, y1, x2 = x1 + WIDTH / 2, y1 + HEIGHT, x2 + WIDTH / 2
    bend = GAP_Y / 2
    curve = f"C{x1:.0f},{y1 + bend:.0f} {x2:.0f},{y2 - bend:.0f} {x2:.0f},{y2:.0f}"
    return f'<path d="M{x1:.0f},{y1:.0f} {curve}"/>'


def picture() -> str:
    """Return the SVG document."""
    corners = places()
    width = max(x for x, _ in corners.values()) + WIDTH + MARGIN
    height = max(y for _, y in corners.values()) + HEIGHT + MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}">',
        f"  <title>The rooms of {PACKAGE}</title>",
        f"  <style>{STYLE}\n  </style>",
        '  <defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0,0 L8,4 L0,8 z"/></marker></defs>',
    ]
    lines += [
        "  " + arrow(corners[room], corners[other]) for room, other in sorted(reduced(arrows()))
    ]
    for room, (x, y) in corners.items():
        middle = x + WIDTH / 2
        lines += [
            f'  <rect x="{x:.0f}" y="{y:.0f}" width="{WIDTH}" height="{HEIGHT}"/>',
            f'  <text x="{middle:.0f}" y="{y + 28:.0f}" text-anchor="middle">{room}</text>',
            f'  <text class="purpose" x="{middle:.0f}" y="{y + 48:.0f}" text-anchor="middle">'
            f"{escape(purpose(room))}</text>",
        ]
    return "\n".join([*lines, "</svg>", ""])


if __name__ == "__main__":
    output = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "architecture.svg"
    output.write_text(picture(), encoding="utf-8")
