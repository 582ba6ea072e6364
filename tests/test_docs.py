"""The documentation says what the code does: blocks of Python run, names exist, the example of a method works."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import sightline as sl
from sightline import registry

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "docs/index.md", *(ROOT / "docs/how-to").glob("*.md")])


def blocks(page: Path) -> list[tuple[int, str]]:
    """Blocks of Python of a page with the line on which they begin; one after `<!-- not run: why -->` is left out."""
    text = page.read_text(encoding="utf-8")
    found = re.finditer(r"(?P<skip><!-- not run: .+? -->\n+)?^```python\n(?P<code>.*?)^```$", text, re.M | re.S)
    return [(text.count("\n", 0, m.start("code")), m["code"]) for m in found if not m["skip"]]


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p)], ids=lambda p: p.stem)
def test_the_blocks_of_a_page_run_one_after_another(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": f"page_{page.stem}"}
    if "timm:" in "".join(code for _, code in blocks(page)):
        pytest.importorskip("timm")
    for line, code in blocks(page):
        exec(compile("\n" * line + code, page, "exec"), namespace)


@pytest.fixture
def example() -> Iterator[str]:
    """The method of CONTRIBUTING.md, registered for one test."""
    ((_, code),) = blocks(ROOT / "CONTRIBUTING.md")
    known = set(registry._METHODS)
    exec(compile(code, "CONTRIBUTING.md", "exec"), {"__name__": "norm_grad"})
    (name,) = set(registry._METHODS) - known
    yield name
    del registry._METHODS[name]


def test_the_method_of_the_contributing_page_is_one_file(example: str) -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(4 * 6 * 6, 2)
    )
    clf = sl.Classifier(net, size=8)
    pixels = torch.rand(2, 3, 8, 8)
    out = sl.explain(clf, pixels, method=example, target=1, layer="1")
    A = net[:2](pixels).detach()
    G = net[3].weight[1].detach().reshape(1, 4, 6, 6).expand_as(A)
    torch.testing.assert_close(out.maps, (A**2).sum(1).sqrt() * (G**2).sum(1).sqrt())
    assert example in {m.name for m in sl.methods()}
    assert not registry.find(example).signed


def _names_of_methods(text: str) -> set[str]:
    return set(re.findall(r"""(?:method=|--method )["']?([a-z][a-z0-9+-]*)""", text))


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda p: p.stem)
def test_methods_that_a_page_names_exist(page: Path) -> None:
    known = {m.name for m in sl.methods()}
    assert _names_of_methods(page.read_text(encoding="utf-8")) <= known


def test_the_readme_lists_methods_that_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = text.partition("## Methods")[2].partition("\n## ")[0]
    names = set(re.findall(r"`([a-z0-9+-]+)`", table))
    assert names
    assert names <= {m.name for m in sl.methods()}


def test_links_between_pages_lead_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    pages = [p for p in pages if not {"_build", "generated"} & set(p.parts)]
    for page in pages:
        for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.S)):
            if "://" not in link:
                assert (page.parent / link).exists(), f"{page.relative_to(ROOT)} links to {link}"


def test_the_table_of_methods_has_a_row_and_a_formula_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs/_ext"))
    import from_registry

    text = from_registry.page(sl.methods())
    sys.modules.pop("from_registry")
    for method in sl.methods():
        assert f"({from_registry.anchor(method)})=\n### {method.name}\n" in text
        assert f"[`{method.name}`](#{from_registry.anchor(method)})" in text


def test_one_version_everywhere() -> None:
    assert f'version: "{sl.__version__}"' in (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"## [{sl.__version__}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert f'version = "{sl.__version__}"' in (ROOT / "pyproject.toml").read_text("utf-8")


def test_the_table_of_metrics_has_a_row_and_a_formula_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs/_ext"))
    import metrics_page

    text = metrics_page.page(sl.metrics())
    sys.modules.pop("metrics_page")
    for metric in sl.metrics():
        assert f"(metric-{metric.name})=\n### {metric.name}\n" in text
        assert f"[`{metric.name}`](#metric-{metric.name})" in text
