"""A figure as an image that stands alone: its title, the suite and the day above it, and where it is from below."""

from __future__ import annotations

import dataclasses
import io
import re
import textwrap
from xml.sax.saxutils import escape

from matplotlib.font_manager import findfont
from PIL import Image, ImageDraw, ImageFont

from kdbench.report.style import FAINT

MARGIN = 9
"""Points, as all lengths here."""
TITLE, SMALL = 11, 8
LINE = 1.4
"""From one line to the next, in sizes of the font."""
WIDE = 0.62
"""Of a character of the bold font, in sizes."""
BOLD, REGULAR = "DejaVu Sans:bold", "DejaVu Sans"


@dataclasses.dataclass(frozen=True)
class Heading:
    """What stands around a figure, each text such as ``style.plain`` returns."""

    subtitle: str
    """The suite, and when it was measured."""
    source: str

    def around_svg(self, svg: bytes, title: str) -> bytes:
        """The SVG that matplotlib wrote, with title, subtitle and source."""
        text = svg.decode()
        found = re.search(r'width="([\d.]+)pt" height="([\d.]+)pt"', text)
        assert found is not None  # as matplotlib writes it
        width, height = map(float, found.groups())
        inner = text[text.index("<svg") :].replace(found[0], f'width="{width}" height="{height}"', 1)
        lines, above, below = self._lines(title, width)
        written = "".join(
            f'<text x="{MARGIN}" y="{y + (height if under else 0):g}" font-family="{REGULAR}, sans-serif" '
            f'font-size="{size}" font-weight="{"bold" if bold else "normal"}" '
            f'fill="{"black" if bold else FAINT}">{escape(line)}</text>'
            for line, y, size, bold, under in lines
        )
        whole = height + above + below
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}pt" height="{whole:g}pt" '
            f'viewBox="0 0 {width} {whole:g}"><rect width="{width}" height="{whole:g}" fill="white"/>{written}'
            f'<g transform="translate(0 {above:g})">{inner}</g></svg>\n'
        ).encode()

    def around_png(self, png: bytes, title: str) -> bytes:
        """The PNG that matplotlib wrote, with the same."""
        with Image.open(io.BytesIO(png)) as image:
            dpi = image.info["dpi"]
            points = dpi[0] / 72
            lines, above, below = self._lines(title, image.width / points)
            whole = Image.new("RGB", (image.width, image.height + round((above + below) * points)), "white")
            whole.paste(image.convert("RGB"), (0, round(above * points)))
            pen = ImageDraw.Draw(whole)
            for line, y, size, bold, under in lines:
                font = ImageFont.truetype(findfont(BOLD if bold else REGULAR), round(size * points))
                place = (MARGIN * points, y * points + (image.height if under else 0))
                pen.text(place, line, font=font, fill="black" if bold else FAINT, anchor="ls")
        file = io.BytesIO()
        whole.save(file, format="PNG", dpi=dpi, optimize=True)
        return file.getvalue()

    def _lines(self, title: str, width: float) -> tuple[list[tuple[str, float, int, bool, bool]], float, float]:
        """Lines, each with its baseline, size, whether it is bold and whether it lies below the figure, whose height
        its baseline then leaves out; and the room above and below."""
        found, y = [], float(MARGIN) / 2
        for text, size, bold, under in (
            (title, TITLE, True, False), (self.subtitle, SMALL, False, False), (self.source, SMALL, False, True),
        ):  # fmt: skip
            if under:
                above = y + MARGIN / 2
                y = above
            for line in textwrap.wrap(text, int((width - 2 * MARGIN) / (WIDE * size))):
                y += LINE * size
                found.append((line, y, size, bold, under))
        return found, above, y + MARGIN - above
