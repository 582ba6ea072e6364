"""What training is made of: the two masks against references, kept features, chosen maps, targets and views."""

import errno
import io
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import sightline as sl
from nets import ConvNet, Residual, images, seeded
from sightline import store
from sightline.errors import InputError
from sightline.explainers.learned._attention import attention_for, channel_of
from sightline.target import Attribute, Category
from sightline.training.attention import cache as caching
from sightline.training.attention import fit_attention
from sightline.training.attention.losses import average_variation, chosen, total_variation
from sightline.training.attention.masking import Features, Image
from sightline.training.attention.masks import Masks
from sightline.training.attention.pictures import Pictures, View, views
from sightline.training.attention.targets import ask

QUICK = {"epochs": 2, "batch": 8, "learning_rate": 1e-2, "validation": 0.2, "progress": False}


def classifier_of(make: type[nn.Module] = ConvNet, **settings: object) -> sl.Classifier:
    return sl.Classifier(seeded(make), size=16, decision="categorical", **settings)


def test_masked_features_are_run_as_a_plain_reading_of_the_network_says() -> None:
    classifier = classifier_of(mean=[0.4], std=[0.3])
    net, pixels = classifier.source.double(), images(3)
    looked = Features(sl.Classifier(net, size=16, decision="categorical", mean=[0.4], std=[0.3]), "relu2").look(pixels)
    a = torch.rand(3, 1, 8, 8, requires_grad=True)
    x = (pixels.double() - 0.4) / 0.3
    A = net.relu2(net.bn2(net.conv2(net.relu1(net.bn1(net.conv1(x))))))
    slow = net.head((A * a.double()).mean((2, 3)))
    found = looked.masked(a)
    assert torch.allclose(found.double(), slow, atol=1e-5)
    (ours,) = torch.autograd.grad(found[:, 1].sum(), a)
    (theirs,) = torch.autograd.grad(slow[:, 1].sum(), a)
    assert torch.allclose(ours, theirs.float(), atol=1e-6)
    assert not any(p.requires_grad for p in classifier.twin().parameters())


@pytest.mark.parametrize("space", ["pixels", "normalised"])
def test_a_masked_image_is_black_or_grey_as_the_space_says(space: str) -> None:
    classifier = classifier_of(mean=[0.4], std=[0.3])
    pixels, a = images(3), torch.rand(3, 1, 8, 8, requires_grad=True)
    looked = Image(classifier, classifier, ("relu2",), mask_space=space).look(pixels)
    up = F.interpolate(a, size=(16, 16), mode="bilinear", align_corners=False)
    x = (pixels * up - 0.4) / 0.3 if space == "pixels" else (pixels - 0.4) / 0.3 * up
    slow = classifier.source(x)
    found = looked.masked(a)
    assert torch.allclose(found, slow, atol=1e-5)
    (ours,), (theirs,) = (torch.autograd.grad(out[:, 0].sum(), a) for out in (found, slow))
    assert torch.allclose(ours, theirs, atol=1e-5)


class Noted(nn.Module):
    """Notes each run of its two halves, and whether there was a graph."""

    runs: list[tuple[str, bool]] = []  # noqa: RUF012 - replicas share it

    def __init__(self, inner: nn.Module, name: str) -> None:
        super().__init__()
        self.inner, self.name = inner, name

    def forward(self, x: Tensor) -> Tensor:
        Noted.runs.append((self.name, torch.is_grad_enabled()))
        return self.inner(x)


@pytest.mark.parametrize("make", [Features, Image])
def test_a_step_runs_the_network_once_bare_and_once_masked(make: type) -> None:
    """The bound on the cost: one forward without a graph, one forward and backward through what is masked."""
    body, head = (
        nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU()),
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    )
    net = nn.Sequential(Noted(body, "body"), Noted(head, "head"))
    classifier = sl.Classifier(net, size=16, decision="categorical")
    masker = Features(classifier, "0") if make is Features else Image(classifier, classifier, ("0",))
    masker.look(images(2))  # what is found out once is found out
    Noted.runs.clear()
    looked = masker.look(images(4))
    a = torch.full((4, 1, 8, 8), 0.5, requires_grad=True)
    looked.masked(a).sum().backward()
    assert Noted.runs[:2] == [("body", False), ("head", False)]
    assert Noted.runs[2:] == ([("head", True)] if make is Features else [("body", True), ("head", True)])
    assert a.grad is not None
    assert all(p.grad is None for module in (net, classifier.twin()) for p in module.parameters())


def test_the_tail_alone_gives_what_the_whole_model_gives() -> None:
    masker = Features(classifier_of(), "relu2")
    pixels, a = images(5), torch.rand(5, 1, 8, 8)
    assert masker.stands_alone(pixels[:2])
    looked = masker.look(pixels)
    known = masker.known(looked.outputs, looked.stored)
    assert torch.allclose(known.masked(a), looked.masked(a), atol=1e-6)


class Bypass(nn.Module):
    """Something passes the layer by."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 1, 1), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        early = self.first(x)
        return self.head((early + self.second(early.relu())).mean((2, 3)))


def test_where_something_passes_the_layer_by_features_alone_are_not_enough_and_that_is_said(tmp_path: Path) -> None:
    classifier = classifier_of(Bypass)
    assert not Features(classifier, "second").stands_alone(images(2))
    said: list[str] = []
    found = fit_attention(classifier, images(24), out=tmp_path, layer="second", announce=said.append, **QUICK)
    assert any("needs more than its output" in line for line in said)
    assert len(found.history) == 2
    assert Features(classifier_of(Residual), "relu").stands_alone(images(2))  # in-place, twice in the model


@pytest.mark.parametrize("regularise", ["own", "batch-labels"])
@pytest.mark.parametrize("kind", ["l-cam-fm", "tame", "constant"])
def test_only_the_chosen_maps_are_computed_and_they_are_the_same(kind: str, regularise: str) -> None:
    classifier = classifier_of()
    layers = {"l-cam-fm": ["relu2"], "tame": ["relu1", "relu2"], "constant": []}[kind]
    attention = attention_for(kind, classifier, layers)
    features = [torch.rand(4, c, s, s) for c, s in ((6, 16), (8, 8))][2 - len(layers) :]
    channel, sign = torch.tensor([3, 0, 3, 3]), torch.tensor([1.0, -1.0, -1.0, 1.0])
    if kind == "constant":
        nn.init.normal_(attention.c)
    attention.eval()
    a, maps, times = Masks(attention, regularise)(features, channel, sign)
    c = attention(features)
    own, every = chosen(c.expand(4, *c.shape[1:]), channel, sign, regularise)
    assert torch.allclose(a, own, atol=1e-6)
    assert float(times.sum()) == every.shape[1]
    for term in (total_variation, partial(average_variation, l4=0.3)):
        assert torch.allclose(term(maps, times=times), term(every), rtol=1e-5)


@pytest.mark.parametrize("directions", ["category", "two", "signed"])
def test_a_batch_asks_what_a_target_asks(directions: str) -> None:
    outputs = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    asked = ask(outputs, None, directions, 7)
    for n in range(50):
        y = int(asked.y[n])
        if directions == "category":
            assert y == int(outputs[n].argmax())
            target: Category | Attribute = Category(y)
        else:
            target = Attribute(y, 1 if outputs[n, y] >= 0 else -1)
            assert float(asked.side[n]) == target.sign
        assert channel_of(target, 4, directions) == (int(asked.channel[n]), float(asked.sign[n]))
    again = ask(outputs, None, directions, 7)
    assert torch.equal(asked.y, again.y)
    if directions != "category":
        assert len(set(asked.y.tolist())) == 4  # all attributes are drawn
        truth = (outputs < 0).long()
        assert torch.equal(ask(outputs, truth, directions, 7).side, -asked.side)


@pytest.mark.parametrize(("precision", "off"), [("float32", 0.0), ("float16", 2e-3), ("bfloat16", 2e-2)])
def test_what_is_kept_is_what_was_seen(tmp_path: Path, precision: str, off: float) -> None:
    shapes = caching.Shapes(((4, 3, 3), (7,)), (3, 5, 5), 2)
    blocks, whole = [], []
    for start in range(0, 6, 2):
        values = (torch.randn(2, 2), [torch.randn(2, 4, 3, 3), torch.randn(2, 7)], torch.rand(2, 3, 5, 5))
        whole.append(values)
        blocks.append((range(start, start + 2), values, {}))
    done: list[int] = []
    found = caching.build(tmp_path / "c", "mark", shapes, 6, precision, blocks, done.append)
    assert sum(done) == 6
    assert found.size >= shapes.bytes_of(6, precision)
    rows, cpu = [5, 0, 3], torch.device("cpu")
    for i in range(2):
        seen = torch.cat([block[1][i] for block in whole])[rows]
        assert (found.features(rows, cpu)[i] - seen).abs().max() <= off * 4
    assert torch.equal(found.outputs(rows, cpu), torch.cat([block[0] for block in whole])[rows])
    assert (found.pixels(rows, cpu) - torch.cat([b[2] for b in whole])[rows]).abs().max() < 5e-4
    assert caching.existing(tmp_path / "c", "mark") is not None
    assert caching.existing(tmp_path / "c", "other") is None
    (tmp_path / "c" / "cache.json").unlink()
    assert caching.existing(tmp_path / "c", "mark") is None  # a half of it never counts


def test_features_that_float16_cannot_hold_are_refused(tmp_path: Path) -> None:
    blocks = [(range(1), (torch.zeros(1, 2), [torch.full((1, 3), 1e5)], None), {})]
    with pytest.raises(InputError, match="bfloat16"):
        caching.build(tmp_path / "c", "m", caching.Shapes(((3,),), None, 2), 1, "float16", blocks, lambda n: None)
    assert not (tmp_path / "c").exists()


def test_too_little_room_or_a_full_disk_means_to_compute_again_and_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier, said = classifier_of(), []
    plain = fit_attention(classifier, images(24), out=tmp_path / "a", cache=False, augment=False, **QUICK)
    settings = {**QUICK, "augment": False, "announce": said.append}
    limited = fit_attention(classifier, images(24), out=tmp_path / "b", cache_limit=1000, **settings)
    assert any("more than cache_limit" in line for line in said)

    class Full(io.FileIO):
        def write(self, data: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(caching._Writer, "__init__", _full_writer(Full))
        full = fit_attention(classifier, images(24), out=tmp_path / "c", **settings)
    assert any("No space left" in line and "run again in each epoch" in line for line in said)
    assert not (tmp_path / "c" / "cache").exists()
    kept = fit_attention(classifier, images(24), out=tmp_path / "d", **settings)
    assert store.read_manifest(kept.out)["cache"]["precision"] == "float32"
    losses = [[row["train_loss"] for row in found.history] for found in (plain, limited, full, kept)]
    assert losses[0] == losses[1] == losses[2]
    assert losses[3] == pytest.approx(losses[0], rel=1e-5)


def _full_writer(kind: type) -> object:
    def make(self: caching._Writer, path: Path, rows: int, shape: object, precision: str) -> None:
        self.precision, self.file = precision, kind(path, "wb")

    return make


def test_a_folder_of_features_serves_several_trainings_and_only_those_it_was_made_for(tmp_path: Path) -> None:
    classifier, shared, said = classifier_of(), tmp_path / "features", []
    for name, changes in (("a", {}), ("b", {"l1": 0.0}), ("c", {"layer": "relu1"})):
        settings = {**QUICK, **changes, "announce": said.append}
        fit_attention(classifier, images(24), out=tmp_path / name, cache=shared, **settings)
    assert sum("views are kept" in line for line in said) == 2  # for the second training they were there
    assert len(list(shared.iterdir())) == 2


def test_views_crop_and_flip_as_they_say(tmp_path: Path) -> None:
    from torchvision.utils import save_image

    image = images(1, 32)[0]
    save_image(image, tmp_path / "a.png")
    classifier = sl.Classifier(seeded(ConvNet), size=28, decision="categorical")
    pictures = Pictures(tmp_path, classifier)
    assert pictures.movable
    whole = (image * 255).add(0.5).clamp(0, 255).byte().float() / 255  # 28 / 0.875 = 32: nothing is resized
    assert torch.allclose(pictures.read(0), whole[:, 2:30, 2:30])
    assert torch.allclose(pictures.read(0, View((0.0, 1.0))), whole[:, :28, 4:])
    assert torch.allclose(pictures.read(0, View((1.0, 0.0), True)), whole[:, 4:, :28].flip(-1))
    drawn = views(200, 3, crop=True, flip=True)
    assert drawn == views(200, 3, crop=True, flip=True)
    assert 60 < sum(view.flip for view in drawn) < 140
    assert len({view.crop for view in drawn}) == 200
    with pytest.raises(InputError, match="one tensor"):
        Pictures([image, image], classifier)
