"""Writes the table of metrics and their formulas from the registry, whenever the documentation is built."""

import inspect
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import sightline as sl
from sightline.metrics import Metric

_FAMILIES = {
    "faithfulness": "Does the classifier answer as the map says when pixels are altered?",
    "localisation": "Does the map lie where the object is? A different question from faithfulness.",
    "complexity": "How much does a map say?",
    "robustness": "Does the map stay when the image hardly changes?",
    "sanity": "Does the map depend on the weights and on the class?",
    "segmentation": "For explanations of segmentations.",
    "composite": "Figures made of several metrics, and coherency, which they need.",
}


def setup(app: Any) -> dict[str, bool]:
    """Tell Sphinx when to write."""
    app.connect("builder-inited", lambda app: write(Path(app.srcdir) / "generated" / "metrics.md"))
    return {"parallel_read_safe": True}


def write(path: Path) -> None:
    """Write the page, if it changed."""
    text = page(sl.metrics())
    path.parent.mkdir(exist_ok=True)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def page(metrics: Iterable[Metric]) -> str:
    """One section a family: a table, then each metric's formula."""
    families: dict[str, list[Metric]] = {}
    for metric in metrics:
        families.setdefault(metric.family, []).append(metric)
    parts = []
    for family, found in families.items():
        parts += [f"## {family.capitalize()}", _FAMILIES.get(family, ""), table(found), *map(section, found)]
    return "\n\n".join(part for part in parts if part) + "\n"


def table(metrics: Iterable[Metric]) -> str:
    """Name, summary, direction and cost."""
    lines = ["| metric | what it says | better | cost |", "|---|---|---|---|"]
    for m in metrics:
        cells = (f"[`{m.name}`](#metric-{m.name})", m.summary, m.direction, m.cost)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def section(metric: Metric) -> str:
    """Formula and source, as the docstring of the code has them."""
    source = f"{metric.paper}." if metric.paper else ""
    if metric.paper and metric.paper.arxiv:
        source = source.replace(
            f"arXiv {metric.paper.arxiv}", f"[arXiv {metric.paper.arxiv}](https://arxiv.org/abs/{metric.paper.arxiv})"
        )
    low, high = (f"{v:g}" for v in metric.range)
    facts = {
        "better": metric.direction,
        "range": f"{low} to {high}",
        "needs": ", ".join(sorted(metric.needs)) or "nothing beside maps",
        "decisions": f"{', '.join(sorted(metric.decisions))} only" if metric.decisions else "all",
        "settings": ", ".join(f"`{k}={v!r}`" for k, v in metric.settings.items()) or "none",
    }
    listed = "\n".join(f"- {name}: {fact}" for name, fact in facts.items())
    head = f"(metric-{metric.name})=\n### {metric.name}\n\n{metric.summary} {source}".rstrip()
    return f"{head}\n\n{listed}\n\n```text\n{inspect.getdoc(metric.function) or ''}\n```"
