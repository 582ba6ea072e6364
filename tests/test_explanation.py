"""Explanations: readings of raw maps, several layers, pictures, and what is saved comes back."""

import errno
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import sightline as sl
from nets import ConvNet, Segmenter, images, seeded
from sightline.errors import InputError, LayerError, MethodError, StorageError


def rows(*maps: Any, polarity: Any = "positive") -> sl.Explanation:
    stack = torch.stack([torch.as_tensor(m, dtype=torch.float32) for m in maps])
    n = len(stack)
    return sl.Explanation(
        maps=stack,
        image=torch.zeros(n, dtype=torch.long),
        targets=tuple(sl.Category(i) for i in range(n)),
        score=torch.ones(n),
        probability=torch.full((n,), 0.5),
        method="made-up",
        layers=(),
        polarity=polarity,
        signed=True,
        size=(4, 4),
    )


def test_heat_maps_read_the_positive_part_or_the_absolute_value() -> None:
    signed = [[-2.0, 0.0], [1.0, 0.5]]
    assert rows(signed).heatmaps((2, 2))[0].tolist() == [[0, 0], [1, 0.5]]
    assert rows(signed, polarity="absolute").heatmaps((2, 2))[0].tolist() == [[1, 0], [0.5, 0.25]]
    assert rows(signed).heatmaps((2, 2), polarity="absolute")[0].tolist() == [[1, 0], [0.5, 0.25]]
    assert rows(signed).signed_heatmaps((2, 2))[0].tolist() == [[-1, 0], [0.5, 0.25]]
    assert rows(signed).maps[0].tolist() == signed


def test_constant_and_empty_maps_are_told_apart() -> None:
    out = rows([[3.0, 3.0], [3.0, 3.0]], [[0.0, 0.0], [0.0, 0.0]], [[-1.0, -2.0], [-3.0, -1.0]])
    assert out.empty.tolist() == [False, True, True]
    heat = out.heatmaps()
    assert heat.shape == (3, 4, 4)
    assert bool((heat[0] == 1).all())
    assert bool((heat[1:] == 0).all())
    assert rows([[-1.0, -2.0], [-3.0, -1.0]], polarity="absolute").empty.tolist() == [False]


def test_rows_are_image_major_and_can_be_selected() -> None:
    classifier, x = sl.Classifier(seeded(ConvNet), labels=list("abcde")), images(3)
    out = sl.explain(classifier, x, target=sl.each(["b", "d"]))
    assert out.image.tolist() == [0, 0, 1, 1, 2, 2]
    assert [str(t) for t in out.targets] == ["b", "d"] * 3
    part = out.select(out.image == 1)
    assert torch.equal(part.maps, out.maps[2:4])
    assert [str(t) for t in part.targets] == ["b", "d"]
    assert len(out.select(5)) == 1


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    classifier, x = sl.Classifier(seeded(ConvNet), labels=list("abcde")), images()
    target = [sl.Contrast("a", "c"), sl.Category("d")]
    out = sl.explain(classifier, x, method="layer-cam", layer=["relu1", "relu2"], target=target)
    assert set(out.parts) == {"relu1", "relu2"}
    folder = out.save(tmp_path / "run" / "one", pixels=x)
    assert sorted(p.name for p in folder.iterdir()) == [
        "layers", "manifest.json", "maps.npz", "overlay-0000.png", "overlay-0001.png",
    ]  # fmt: skip
    back = sl.Explanation.load(folder)
    for name in ("maps", "image", "score", "probability", "empty"):
        assert torch.equal(getattr(back, name), getattr(out, name)), name
    assert back.targets == out.targets
    assert [str(t) for t in back.targets] == [str(t) for t in out.targets]
    assert (back.method, back.layers, back.size, back.signed) == (out.method, out.layers, out.size, out.signed)
    assert torch.equal(back.parts["relu1"].maps, out.parts["relu1"].maps)
    assert back.provenance["classifier"]["weights"] == classifier.fingerprint()
    assert {"settings", "paper", "versions", "seed"} <= set(back.provenance)


def test_the_account_of_relevance_comes_back(tmp_path: Path) -> None:
    out = sl.explain(sl.Classifier(seeded(ConvNet)), images(), method="lrp", target=sl.each(range(2)))
    books = out.conservation
    assert books is not None
    folder = out.save(tmp_path / "whole")
    back = sl.Explanation.load(folder).conservation
    assert back is not None
    assert (back.layers, back.kinds, back.rules) == (books.layers, books.kinds, books.rules)
    for name, values in books.arrays().items():
        assert torch.equal(back.arrays()[name], values), name
    assert (back.table(1), str(back)) == (books.table(1), str(books))
    some = sl.Explanation.load(out.select([3, 1]).save(tmp_path / "some")).conservation
    assert some is not None
    assert torch.equal(some.relevance_in, books.relevance_in[:, [3, 1]])
    assert torch.equal(some.total, books.total[[3, 1]])
    older = out.save(tmp_path / "older")
    manifest = json.loads((older / "manifest.json").read_text())
    names = manifest.pop("account")
    (older / "manifest.json").write_text(json.dumps(manifest))
    assert sl.Explanation.load(older).conservation is None
    short = {n: v[:-1] for n, v in names.items()}
    for wrong in ({**names, "rules": short["rules"]}, {"layers": names["layers"]}, short, [1]):
        (older / "manifest.json").write_text(json.dumps({**manifest, "account": wrong}))
        with pytest.raises(StorageError, match="no complete explanation"):
            sl.Explanation.load(older)


def test_targets_that_hold_tensors_come_back(tmp_path: Path) -> None:
    x = images()
    out = sl.explain(
        sl.Classifier(seeded(Segmenter)), x, method="hires-cam", target=sl.Region(1, torch.ones(16, 16) > 0)
    )
    back = sl.Explanation.load(out.save(tmp_path / "regions"))
    assert isinstance(back.targets[1], sl.Region)
    assert isinstance(back.targets[1].pixels, Tensor)
    assert bool(back.targets[1].pixels.all())
    faces = sl.Classifier(seeded(ConvNet), decision="embedding")
    like = sl.explain(faces, x, target=sl.Similarity(x[1]))
    assert float(like.score[1]) == pytest.approx(1, abs=1e-5)
    again = sl.Explanation.load(like.save(tmp_path / "likeness"))
    assert torch.equal(again.targets[0].reference, like.targets[0].reference)  # type: ignore[attr-defined]


def test_nothing_is_overwritten_or_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = rows([[1.0, 2.0], [3.0, 4.0]])
    folder = out.save(tmp_path / "one")
    with pytest.raises(StorageError, match="replace"):
        out.save(folder)
    out.save(folder, replace=True)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises((StorageError, OSError), match="space"):
        out.save(tmp_path / "two")
    assert [p.name for p in tmp_path.iterdir()] == ["one"]
    (folder / "maps.npz").write_bytes(b"PK broken")
    with pytest.raises(StorageError, match="no complete explanation"):
        sl.Explanation.load(folder)
    with pytest.raises(StorageError):
        sl.Explanation.load(tmp_path / "nowhere")


def test_overlays_fit_their_batch() -> None:
    classifier, x = sl.Classifier(seeded(ConvNet)), images(3)
    out = sl.explain(classifier, x)
    pictures = out.overlay(x)
    assert pictures.shape == (3, 16, 16, 3)
    assert pictures.dtype == np.uint8
    plain = out.overlay(x, opacity=0)
    assert np.abs(plain.astype(int) - (x.permute(0, 2, 3, 1) * 255).round().numpy()).max() <= 1
    with pytest.raises(InputError, match="batch that was explained"):
        out.overlay(x[:2])
    with pytest.raises(InputError):
        out.overlay(x[0])


def test_the_notebook_shows_pictures_and_escapes_labels() -> None:
    classifier = sl.Classifier(seeded(ConvNet), labels=["<b>", "&", "c", "d", "e"])
    html = sl.explain(classifier, images(), target=0)._repr_html_()
    assert html.count("data:image/png;base64") == 2
    assert "&lt;b&gt;" in html
    assert "<b>" not in html


@pytest.mark.parametrize("fuse", ["mean", "max", "layer-cam"])
def test_several_layers_are_fused_and_kept_apart(fuse: Any) -> None:
    classifier, x = sl.Classifier(seeded(ConvNet)), images()
    out = sl.explain(classifier, x, layer=["relu1", "relu2"], fuse=fuse)
    assert out.layers == ("relu1", "relu2")
    assert out.maps.shape == (2, 16, 16)
    for layer in ("relu1", "relu2"):
        alone = sl.explain(classifier, x, layer=layer)
        assert torch.allclose(out.parts[layer].maps, alone.maps, atol=1e-6)
    with pytest.raises(MethodError, match="fuse must be"):
        sl.explain(classifier, x, layer=["relu1", "relu2"], fuse="sum")  # type: ignore[arg-type]


def test_layers_are_listed_and_wrong_ones_named() -> None:
    classifier = sl.Classifier(seeded(ConvNet), size=16)
    known = {info.name: info for info in classifier.layers()}
    assert [n for n, info in known.items() if info.default] == ["relu2"]
    assert known["relu2"].layout is not None
    assert known["relu2"].layout.shape == (8, 8, 8)
    for layer, says in [
        ("relu3", "did you mean"),
        ("head", "no spatial map; take 'relu2'"),
        ("relu2@tensor", "after @"),
    ]:
        with pytest.raises(LayerError, match=says):
            sl.explain(classifier, images(), layer=layer)
    with pytest.raises(MethodError, match="looks at no layer"):
        sl.explain(classifier, images(), method="saliency", layer="relu2")
    with pytest.raises(MethodError, match="did you mean 'grad-cam'"):
        sl.explain(classifier, images(), method="gradcam")
    with pytest.raises(MethodError, match="has no setting 'sample'; it has: samples=25"):
        sl.explain(classifier, images(), method="smooth-grad", sample=3)


def test_a_figure_has_the_raw_numbers_and_enlarges_small_images() -> None:
    classifier, x = sl.Classifier(seeded(ConvNet)), images(2)
    out = sl.explain(classifier, x, method="hires-cam")
    for signed in (False, True):
        figure = out.figure(1, x, signed=signed)
        assert min(figure.size) >= 224
        assert len(figure.getcolors(1 << 24) or ()) > 100
    empty = rows([[0.0, 0.0], [0.0, 0.0]])
    plain = np.asarray(empty.figure(0, images(1, 4)))
    assert plain.std() > 0
