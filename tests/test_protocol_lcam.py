"""The preset of the L-CAM papers: its figures step by step against a slow reference, its table, the shell."""

import math
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from typer.testing import CliRunner

import sightline as sl
from nets import ConvNet, seeded
from sightline.cli import app
from sightline.errors import InputError, MethodError
from sightline.explainers.masking import _forward
from sightline.report.benchmark import lcam
from sightline.studies.benchmarking import plan_of, protocols, run_plan

COLUMNS = ("AD100", "IC100", "AD50", "IC50", "AD15", "IC15")
MEAN, STD = (0.4, 0.5, 0.6), (0.3, 0.25, 0.2)
SMALL = {"rise": {"masks": 16}}


@pytest.fixture(scope="module")
def classifier():
    net = seeded(ConvNet)
    net.head.weight.data *= 6  # decisions that masking changes
    return sl.Classifier(net, labels=list("abcde"), size=16, mean=MEAN, std=STD, decision="categorical")


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    draw = np.random.default_rng(4)
    for i in range(9):
        small = Image.fromarray(draw.integers(0, 256, (4, 4, 3), dtype=np.uint8))
        small.resize((16, 16), Image.Resampling.BICUBIC).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def plan(classifier, photos):
    given = protocols.arguments("lcam", methods=["layer-cam"], settings=SMALL)
    return plan_of({"net": classifier}, photos, fit="squash", batch=4, backend="eager", pictures=0, **given)


@pytest.fixture(scope="module")
def found(plan, tmp_path_factory):
    return run_plan(plan, tmp_path_factory.mktemp("lcam") / "run", progress=False)


@pytest.fixture(scope="module")
def table(found, plan):
    return lcam.lines(found.rows(), found.manifest, protocols.forward_passes(plan), resamples=200)


def reference(net, image: torch.Tensor, raw: torch.Tensor, keep: float) -> tuple[float, float]:
    """Drop and increase of one image by the steps of the protocol, in float64: C1 3 to 5."""
    mean, std = (torch.tensor(v, dtype=torch.float64)[:, None, None] for v in (MEAN, STD))

    def ask(x: torch.Tensor) -> torch.Tensor:
        return net(((x - mean) / std)[None]).softmax(1)[0].detach()

    whole = ask(image)
    y = int(whole.argmax())
    S = raw.double().relu()
    S = (S - S.min()) / (S.max() - S.min())
    S = F.interpolate(S[None, None], image.shape[1:], mode="bilinear", align_corners=False)[0, 0]
    flat = S.flatten().tolist()
    left = math.ceil(keep * len(flat))
    order = sorted(range(len(flat)), key=lambda i: -flat[i])
    kept = set(order[:left])
    S = torch.tensor([v if i in kept else 0.0 for i, v in enumerate(flat)], dtype=torch.float64).reshape(S.shape)
    masked = float(ask(image * S)[y])
    return max(0.0, float(whole[y]) - masked) / float(whole[y]), float(masked > float(whole[y]))


def test_every_step_is_that_of_the_protocol(classifier, plan, table):
    import copy

    pixels = torch.stack([r.load((16, 16), how="squash").pixels for r in plan.records])
    raw = {m: sl.explain(classifier, pixels, method=m).maps for m in ("grad-cam", "layer-cam")}
    slow = copy.deepcopy(classifier.source).double()
    for method, maps in raw.items():
        line = next(line for line in table if line.method == method)
        assert line.images == len(pixels)
        assert all(float(S.max()) > 0 for S in maps)
        for keep in protocols.KEEPS:
            values = [reference(slow, x.double(), S, keep) for x, S in zip(pixels, maps, strict=True)]
            short = round(100 * keep)
            assert line.cells[f"AD{short}"][0] == pytest.approx(100 * np.mean([v[0] for v in values]), abs=1e-3)
            assert line.cells[f"IC{short}"][0] == pytest.approx(100 * np.mean([v[1] for v in values]), abs=1e-9)
    drops = [next(line for line in table if line.method == "grad-cam").cells[f"AD{k}"][0] for k in (100, 50, 15)]
    assert drops[0] != drops[2]


def test_all_methods_of_the_paper_and_the_controls_stand_in_it(table):
    ours = [line.method for line in table if not line.control]
    assert ours == ["grad-cam", "grad-cam++", "score-cam", "rise (16)", "sidu", "sise", "ada-sise", "layer-cam"]
    controls = {line.method for line in table if line.control}
    assert {"centre", "uniform", "random", "fake-cam", "other-image"} <= controls
    assert all(tuple(line.cells) == COLUMNS for line in table)


def test_forward_passes_are_counted_as_the_paper_counts(table, classifier, plan):
    passes = {line.method: line.passes for line in table}
    assert passes["grad-cam"] == passes["grad-cam++"] == passes["layer-cam"] == 1
    assert passes["rise (16)"] == 16
    assert 1 <= passes["score-cam"] <= 9  # 8 channels of the last layer, and the empty mask
    assert passes["ada-sise"] <= passes["sise"]
    assert passes["centre"] == passes["other-image"] == 0


def test_an_empty_map_counts_as_a_black_image(found, table):
    rows = found.rows().with_columns(
        status=pl.when(pl.col("method") == "sidu").then(pl.lit("empty")).otherwise("status"),
    )
    again = lcam.lines(rows, found.manifest, {}, resamples=50)
    before, after = (next(line for line in t if line.method == "sidu") for t in (table, again))
    assert after.empty == 9
    assert {k: v[0] for k, v in after.cells.items()} == {k: v[0] for k, v in before.cells.items()}
    assert "Empty maps: 9 of sidu." in lcam.as_markdown(again, "")
    assert after.passes is None


def test_the_table_is_written_for_a_text(table, found):
    markdown, latex = lcam.as_markdown(table, "A note."), lcam.as_latex(table, "A note.")
    rows = [line for line in markdown.splitlines() if line.startswith("| ")]
    assert len(rows) == 2 + len(table)
    assert all(row.count("|") == 10 for row in rows)
    assert "A note." in markdown
    assert latex.count(r"\\") == 1 + len(table)
    body = [line for line in latex.splitlines() if line.endswith(r"\\")]
    assert all(line.count("&") == 8 for line in body)
    assert r"$\downarrow$" in body[0]
    for column in COLUMNS:
        means = {line.method: line.cells[column][0] for line in table if not line.control}
        top = min(means.values()) if column.startswith("AD") else max(means.values())
        best = [m for m, v in means.items() if round(v, 2) == round(top, 2)]
        place = 2 + COLUMNS.index(column)
        bold = [row.split("|")[1].strip() for row in rows if "**" in row.split("|")[place]]
        assert bold == best


def test_settings_labels_and_layers(classifier):
    given = protocols.arguments("lcam", settings=SMALL, layer="relu1")
    named = {m["name"]: m for m in given["methods"]}
    assert named["score-cam"]["variant"] == "l-cam"
    assert named["rise"]["masks"] == 16
    assert named["grad-cam"]["layer"] == "relu1"
    assert named["rise"]["layer"] is None
    assert named["sise"]["layer"] is None  # it looks at a layer of each resolution
    labels = [m["label"] for m in given["metrics"]]
    assert labels == list(COLUMNS)
    with pytest.raises(InputError, match="there is lcam"):
        protocols.arguments("l-cam")
    with pytest.raises(MethodError, match="settings name 'opti-cam'"):
        protocols.arguments("lcam", settings={"opti-cam": {}})


def test_a_run_of_other_metrics_has_no_such_table(classifier, photos, tmp_path):
    plan = plan_of(classifier, photos, metrics=["average-drop"], fit="squash", controls=["centre"], backend="eager")
    other = run_plan(plan, tmp_path / "run", progress=False)
    with pytest.raises(InputError, match=r"lacks IC100, AD50.*--protocol lcam"):
        lcam.lines(other.rows(), other.manifest, {})


NET = """
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
"""


def shell(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == code, result.output
    return " ".join(result.output.split())


def test_the_shell_prints_the_table_and_writes_it(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(_forward, "_WORTH", 10**9)  # no graph for a network of this size
    Path("net.py").write_text(NET)
    typed = ("bench", str(photos), "-m", "python:net.py:build", "--size", "8", "--fit", "squash", "--limit", "4")
    preset = ("--protocol", "lcam", "--set", "rise.masks=8")
    said = shell(*typed, *preset, "--method", "hires-cam", "--metric", "average-gain", "--out", "run")
    text = Path("run/lcam.md").read_text(encoding="utf-8")
    assert "| hires-cam |" in text
    assert "| rise (8) |" in text
    assert "mask space pixels" in text
    assert re.search(r"\| rise \(8\) \|.* 8 \| ", said)
    assert Path("run/lcam.tex").read_text(encoding="utf-8").count(r"\begin{tabular}") == 1
    assert "average-gain" in said
    assert "lcam.md" in said

    Path("plan.toml").write_text(
        f"""
        out = "planned"
        fit = "squash"
        protocol = "lcam"
        methods = [{{ name = "layer-cam", label = "ours" }}, {{ name = "rise", masks = 6 }}]
        [models.build]
        model = "python:net.py:build"
        size = 8
        [data]
        images = "{photos.as_posix()}"
        limit = 2
        """
    )
    assert "there is lcam" in shell(*typed, "--protocol", "l-cam", code=2)
    assert "leave --target away" in shell(*typed, *preset, "--target", "1", code=2)
    assert "--protocol stands in the plan" in shell("bench", "--plan", "plan.toml", "--protocol", "lcam", code=2)
    said = shell("bench", "--plan", "plan.toml")
    assert "| ours |" in said
    assert "| rise (6) |" in said
