"""Draws what a program showed on a terminal as SVG, once on a light and once on a dark ground.

usage: PROGRAM | terminal_picture.py TITLE OUTPUT

Writes OUTPUT-light.svg and OUTPUT-dark.svg. Of the escape sequences it knows those for colours and
bold text, as perf-check writes them; there are no others in its output.
"""

from __future__ import annotations

import re
import sys
from html import escape
from pathlib import Path
from typing import Iterator

CHARACTER, LINE, MARGIN, BAR = 7.25, 17, 16, 30
# GitHub's own colours for text and the eight colours of a terminal, which are legible on its pages.
GROUNDS = {
    "light": {
        "ground": "#ffffff",
        "frame": "#d0d7de",
        "text": "#24292f",
        "31": "#cf222e",
        "32": "#116329",
        "33": "#7d4e00",
        "35": "#8250df",
        "36": "#1b7c83",
    },
    "dark": {
        "ground": "#0d1117",
        "frame": "#30363d",
        "text": "#e6edf3",
        "31": "#ff7b72",
        "32": "#3fb950",
        "33": "#d29922",
        "35": "#bc8cff",
        "36": "#39c5cf",
    },
}
ESCAPE = re.compile(r"\x1b\[([0-9;]*)m")


def spans(line: str) -> Iterator[tuple[str, str]]:
    """Yield the pieces of a line, each with the codes that it is written in, such as ``31;1``."""
    codes = ""
    for number, piece in enumerate(ESCAPE.split(line)):
        if number % 2:
            codes = "" if piece in ("", "0") else piece
        elif piece:
            yield piece, codes


def drawn(line: str, colours: "dict[str, str]") -> str:
    """Return the content of a line's text element."""
    pieces = []
    for text, codes in spans(line):
        look = [f'fill="{colours[code]}"' for code in codes.split(";") if code in colours]
        if "1" in codes.split(";"):
            look.append('font-weight="bold"')
        text = escape(text, quote=False)
        pieces.append(f"<tspan {' '.join(look)}>{text}</tspan>" if look else text)
    return "".join(pieces)


def picture(title: str, shown: str, ground: str) -> str:
    """Return an SVG of a terminal that has `title` above what it shows."""
    colours, lines = GROUNDS[ground], shown.rstrip("\n").split("\n")
    columns = max(len(ESCAPE.sub("", line)) for line in lines)
    width = round(columns * CHARACTER + 2 * MARGIN)
    height = BAR + len(lines) * LINE + MARGIN
    rows = "\n".join(
        f'<text x="{MARGIN}" y="{BAR + LINE * (number + 1) - 4}">{drawn(line, colours)}</text>'
        for number, line in enumerate(lines)
        if line
    )
    return f"""<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" \
viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">
<style>text {{ font: 12px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; \
fill: {colours["text"]}; white-space: pre }}</style>
<rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8" \
fill="{colours["ground"]}" stroke="{colours["frame"]}"/>
<path d="M1 {BAR}H{width - 1}" stroke="{colours["frame"]}"/>
<text x="{MARGIN}" y="{BAR - 10}">$ {escape(title, quote=False)}</text>
{rows}
</svg>
"""


def draw(title: str, shown: str, output: Path) -> None:
    """Write both pictures, whose names begin as `output` says."""
    for ground in GROUNDS:
        path = output.with_name(f"{output.name}-{ground}.svg")
        path.write_text(picture(title, shown, ground), encoding="utf-8")


if __name__ == "__main__":
    draw(sys.argv[1], sys.stdin.read(), Path(sys.argv[2]))
