"""Writes the table of methods and their formulas from the registry, whenever the documentation is built."""

import inspect
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import sightline as sl
from sightline.registry import Method

_FAMILIES = {
    "cam": ("Class activation maps", "Functions of the activations A and gradients G of a layer. They take `layer=`."),
    "pixel": ("Gradients at the pixels", "Maps at the images' own resolution. They look at no layer."),
    "masking": ("Scores under masks", "They ask the classifier about altered images and need no inside."),
    "lrp": ("Relevance propagation", "Its authors state that LRP is patented."),
    "learned": ("Attention that was trained", "They need weights of their own."),
    "control": ("Controls", "They know nothing of the decision. What they score is what a method must beat."),
}


def setup(app: Any) -> dict[str, bool]:
    """Tell Sphinx when to write."""
    app.connect("builder-inited", lambda app: write(Path(app.srcdir) / "generated" / "methods.md"))
    return {"parallel_read_safe": True}


def write(path: Path) -> None:
    """Write the page, if it changed."""
    text = page(sl.methods())
    path.parent.mkdir(exist_ok=True)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def page(methods: Iterable[Method]) -> str:
    """One section a family: a table, then each method's formula."""
    families: dict[str, list[Method]] = {}
    for method in methods:
        families.setdefault(method.family, []).append(method)
    parts = []
    for family, found in families.items():
        title, text = _FAMILIES.get(family, (family.capitalize(), ""))
        parts += [f"## {title}", text, table(found), *map(section, found)]
    return "\n\n".join(part for part in parts if part) + "\n"


def table(methods: Iterable[Method]) -> str:
    """Name, summary and cost: the rest stands in each method's own section, where it has room."""
    lines = ["| method | what it says | cost |", "|---|---|---|"]
    for m in methods:
        cells = (f"[`{m.name}`](#{anchor(m)})", m.summary, m.cost)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def anchor(method: Method) -> str:
    """The label of a method's section: `grad-cam++` and `grad-cam` differ."""
    return "method-" + method.name.replace("+", "-plus")


def sign(method: Method) -> str:
    """How raw maps are read."""
    reading = {"positive": "positive part", "absolute": "absolute value", "height": "height above the lowest value"}
    return f"signed; heat maps show the {reading[method.polarity]}" if method.signed else "not negative"


def section(method: Method) -> str:
    """Formula and source, as the docstring of the code has them."""
    source = f"{method.paper}." if method.paper else "A control: it has no paper."
    if method.paper and method.paper.arxiv:
        source = source.replace(
            f"arXiv {method.paper.arxiv}", f"[arXiv {method.paper.arxiv}](https://arxiv.org/abs/{method.paper.arxiv})"
        )
    formula = inspect.getdoc(method.function) or ""
    facts = {
        "needs": ", ".join(sorted(method.needs)) or "nothing: a `BlackBox` will do",
        "decisions": f"{', '.join(sorted(method.decisions))} only" if method.decisions else "all",
        "raw maps": sign(method),
        "settings": ", ".join(f"`{k}={v!r}`" for k, v in method.settings.items()) or "none",
    }
    listed = "\n".join(f"- {name}: {fact}" for name, fact in facts.items())
    head = f"({anchor(method)})=\n### {method.name}\n\n{method.summary} {source}"
    return f"{head}\n\n{listed}\n\n```text\n{formula}\n```"
