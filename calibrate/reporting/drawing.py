"""A figure as inline SVG: text stays text, colours follow the page (dark, light, print), nothing points elsewhere."""

from __future__ import annotations

import io
import re
import warnings
from typing import Any
from xml.etree import ElementTree

import matplotlib
from matplotlib.figure import Figure

from calibrate.reporting.canvas import BLUE, GREEN, GRID, INK, MUTED, ORANGE, PURPLE

__all__ = ["inline_svg"]

_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_COLOURS = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--line)",
    BLUE: "var(--blue)",
    ORANGE: "var(--orange)",
    GREEN: "var(--green)",
    PURPLE: "var(--purple)",
}


def inline_svg(figure: Figure, name: str, title: str, description: str) -> str:
    """An `<svg>` element with title and description for those who cannot see it. `name` keeps figures apart."""
    buffer = io.StringIO()
    settings: Any = {"svg.fonttype": "none", "svg.hashsalt": name}
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # the browser has other fonts
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    root = ElementTree.fromstring(buffer.getvalue())
    for element in root.iter():
        _adapt(element)
    for child in root.findall(f"{{{_SVG}}}metadata"):
        root.remove(child)
    return _labelled(root, name, title, description)


def _adapt(element: ElementTree.Element) -> None:
    """Page colours, local references, no ids but those referred to."""
    if element.tag == f"{{{_SVG}}}g":
        element.attrib.pop("id", None)
    link = element.attrib.pop(f"{{{_XLINK}}}href", None)
    if link is not None:
        element.set("href", link)
    style = element.get("style")
    if style is not None:
        style = re.sub(r"font: ([\d.]+px) [^;]*", r"font: \1 system-ui, 'DejaVu Sans', Verdana, sans-serif", style)
        for colour, variable in _COLOURS.items():
            style = style.replace(colour, variable)
        element.set("style", style)


def _labelled(root: ElementTree.Element, name: str, title: str, description: str) -> str:
    for attribute in ("width", "height"):
        root.attrib.pop(attribute, None)
    root.set("role", "img")
    root.set("aria-labelledby", f"{name}-title {name}-description")
    for position, (tag, part, text) in enumerate((("title", "title", title), ("desc", "description", description))):
        child = ElementTree.Element(f"{{{_SVG}}}{tag}", {"id": f"{name}-{part}"})
        child.text = text
        root.insert(position, child)
    for element in root.iter():
        element.tag = element.tag.removeprefix(f"{{{_SVG}}}")  # inside HTML the namespace goes without saying
    return ElementTree.tostring(root, encoding="unicode")
