"""Methods whose masks come from channels: each against its slow float64 twin, and the laws they keep."""

import numpy as np
import pytest
import torch
from skimage.filters import threshold_otsu
from torch import nn

import reference
import reference_masking_channels as twin
import sightline as sl
from nets import ConvNet, images, seeded
from sightline.errors import MethodError
from sightline.explainers.masking._otsu import otsu
from sightline.explainers.masking.cluster_cam import clusters_of
from sightline.explainers.question import generator_for

KINDS = ("category", "+1", "-1")
INDEX = 2
LAYERS = ["features.1", "features"]  # 12 x 12 and 6 x 6
DEPTHS = (2, 5)
FILL = torch.rand(3, 12, 12, generator=torch.Generator().manual_seed(9))
METHODS = {
    "is-cam": {"steps": 3},
    "ss-cam": {"samples": 3},
    "group-cam": {"groups": 3},
    "cluster-cam": {"clusters": 3},
    "sidu": {},
    "sise": {},
    "ada-sise": {},
    "poly-cam": {},
}


def ask(net, kind, method, pixels, *, index=INDEX, layer="features", **settings):
    decision = "categorical" if kind == "category" else "multilabel"
    target = sl.Category(index) if kind == "category" else sl.Attribute(index, int(kind))
    clf = sl.Classifier(net, decision=decision, size=12)
    return sl.explain(clf, pixels, method=method, target=target, layer=layer, backend="eager", **settings)


def close(found, wanted, resolution=0.0):
    """Equal up to rounding; differences of probabilities in float32 have a resolution that may count."""
    found, wanted = found.maps.numpy(), np.stack(wanted)
    assert found.shape == wanted.shape
    assert np.abs(wanted).max() > 100 * resolution
    assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max() + resolution


@pytest.fixture(scope="module")
def pixels():
    return torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(5))


@pytest.fixture(scope="module")
def net():
    """A net with scores far apart, of which channel 1 is dead, channel 3 constant, and channel 5 twice channel 4."""
    net = reference.Net("conv")
    conv = net.features[3]
    with torch.no_grad():
        for layer, factor in ((net.features[0], 4), (conv, 4), (net.tail[-1], 2)):
            layer.weight *= factor
        conv.weight[1], conv.bias[1] = 0, -1
        conv.weight[3], conv.bias[3] = 0, 0.7
        conv.weight[5], conv.bias[5] = 2 * conv.weight[4], 2 * conv.bias[4]
    return net


def maps_of(net, pixels):
    return [reference.activations(net, image).numpy() for image in pixels]


@pytest.mark.parametrize("kind", KINDS)
def test_is_cam(net, kind, pixels):
    wanted = [twin.is_cam(net, x, A, kind, INDEX, steps=4) for x, A in zip(pixels, maps_of(net, pixels), strict=True)]
    close(ask(net, kind, "is-cam", pixels, steps=4), wanted)


def test_is_cam_ends_at_score_cam(net, pixels):
    """The last factor is 1: one step is Score-CAM."""
    one, score_cam = ask(net, "+1", "is-cam", pixels, steps=1), ask(net, "+1", "score-cam", pixels)
    assert torch.allclose(one.maps, score_cam.maps, rtol=1e-6)


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_ss_cam(net, kind, clip, pixels):
    wanted = []
    for x, A in zip(pixels, maps_of(net, pixels), strict=True):
        fields = 2.0 * torch.randn(3, 12, 12, generator=generator_for(x, 4))
        wanted.append(twin.ss_cam(net, x, A, kind, INDEX, fields=fields.double().numpy(), clip=clip))
    close(ask(net, kind, "ss-cam", pixels, samples=3, clip=clip, seed=4, space="normalised"), wanted)


def test_ss_cam_without_noise_is_score_cam(net, pixels):
    smooth, score_cam = ask(net, "+1", "ss-cam", pixels, samples=2, noise=0.0), ask(net, "+1", "score-cam", pixels)
    assert torch.allclose(smooth.maps, score_cam.maps, rtol=1e-6)


@pytest.mark.parametrize(("groups", "denoise"), [(2, 0), (3, 30), (40, 0)])
@pytest.mark.parametrize(("kind", "index", "fill"), [("category", 3, 0), ("+1", 3, 0), ("-1", 1, 0), ("-1", 3, FILL)])
def test_group_cam(net, kind, index, fill, groups, denoise, pixels):
    wanted, most = [], 0.0
    for x in pixels:
        A, tail = twin.cut(net, x, 5)
        alpha, A = twin.alphas(A, tail, kind, index), A.numpy()
        several = min(groups, len(A))
        wanted.append(twin.group_cam(net, x, A, alpha, kind, index, groups=several, fill=fill, denoise=denoise))
        most = max(most, sum(abs(w) * a for w, a in zip(alpha, A, strict=True)).max())
    settings = {"groups": groups, "denoise": denoise, "fill": FILL if fill is FILL else "black"}
    close(ask(net, kind, "group-cam", pixels, index=index, **settings), wanted, resolution=2e-7 * most)


@pytest.mark.parametrize("kind", KINDS)
def test_cluster_cam(net, kind, pixels):
    wanted = []
    for x, A in zip(pixels, maps_of(net, pixels), strict=True):
        labels = clusters_of(torch.from_numpy(A).float(), 3, 6).tolist()
        wanted.append(twin.cluster_cam(net, x, A, labels, kind, INDEX))
    close(ask(net, kind, "cluster-cam", pixels, clusters=3, seed=6), wanted)


def test_clusters_follow_the_shape_of_channels():
    """Three planted shapes at any scale and offset; dead channels do not break it."""
    draw = torch.Generator().manual_seed(3)
    shapes, planted = torch.rand(3, 6, 6, generator=draw), torch.arange(30) % 3
    scale = torch.rand(30, 1, 1, generator=draw) + 0.5
    A = scale * (shapes[planted] + 0.02 * torch.rand(30, 6, 6, generator=draw)) + scale.flip(0)
    label = clusters_of(A, 3, 0)
    assert len({(int(p), int(c)) for p, c in zip(planted, label, strict=True)}) == 3
    assert torch.equal(label, clusters_of(A, 3, 0))
    assert len(set(clusters_of(torch.zeros(5, 6, 6), 3, 0).tolist())) >= 1


@pytest.mark.parametrize("kind", KINDS)
def test_sidu(net, kind, pixels):
    wanted = [
        twin.sidu(net, x, A, kind, threshold=0.15, width=0.25)
        for x, A in zip(pixels, maps_of(net, pixels), strict=True)
    ]
    close(ask(net, kind, "sidu", pixels), wanted)


def test_sidu_does_not_look_at_the_target(net, pixels):
    clf = sl.Classifier(net, size=12)
    found = sl.explain(clf, pixels, method="sidu", target=sl.each([0, 3]), layer="features", backend="eager")
    assert torch.equal(found.maps[0], found.maps[1])
    assert torch.equal(found.maps[2], found.maps[3])
    assert not torch.equal(found.maps[0], found.maps[2])
    assert found.provenance["class_agnostic"] is True


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("method", "keep"), [("sise", lambda alpha: [a > 0 for a in alpha]), ("ada-sise", twin.otsu_of_positive)]
)
def test_sise(net, kind, method, keep, pixels):
    wanted = [twin.sise(net, x, DEPTHS, keep, kind, INDEX) for x in pixels]
    found = ask(net, kind, method, pixels, layer=LAYERS)
    close(found, wanted)
    assert list(found.parts) == LAYERS


def test_ada_sise_asks_less(net, pixels):
    sise, ada = (ask(net, "+1", m, pixels, layer=LAYERS).provenance["masking"]["passes"] for m in ("sise", "ada-sise"))
    assert sum(ada) < sum(sise)


def test_otsu():
    draw = torch.Generator().manual_seed(0)
    values = torch.cat([0.1 * torch.randn(3, 200, generator=draw), 0.2 * torch.randn(3, 100, generator=draw) + 1], 1)
    found = otsu(values)
    for row, threshold in zip(values.double().numpy(), found.tolist(), strict=True):
        width = (row.max() - row.min()) / 256
        assert threshold == pytest.approx(twin.otsu(row), abs=1e-5)
        assert abs(threshold - threshold_otsu(row)) <= 0.51 * width + 1e-5  # which returns the centre of a bin
    assert otsu(torch.full((1, 5), 0.3)).tolist() == [pytest.approx(0.3)]


@pytest.mark.parametrize("variant", ["+", "-", "+-"])
@pytest.mark.parametrize("kind", KINDS)
def test_poly_cam(net, kind, variant, pixels):
    wanted = [twin.poly_cam(net, x, DEPTHS, kind, INDEX, variant=variant, clip=2.0) for x in pixels]
    found = ask(net, kind, "poly-cam", pixels, layer=LAYERS, variant=variant, clip=2.0)
    close(found, wanted, resolution=1e-4 * np.abs(wanted).max() if variant == "-" else 0.0)


def test_layers_of_block_wise_methods(net, pixels):
    """The last map of each resolution, shallow first, each layer's own map in parts."""
    found = ask(net, "category", "poly-cam", pixels, layer=None)
    assert [tuple(part.maps.shape[1:]) for part in found.parts.values()] == [(12, 12), (6, 6)]
    assert tuple(found.maps.shape) == (2, 12, 12)


@pytest.mark.parametrize("method", METHODS)
def test_batch_is_loop_and_chunks_do_not_matter(net, method, pixels):
    several = sl.each([sl.Attribute(INDEX, 1), sl.Attribute(INDEX, -1)])
    clf = sl.Classifier(net, decision="multilabel", size=12)
    layer = LAYERS if method in ("sise", "ada-sise", "poly-cam") else "features"
    settings = {"method": method, "layer": layer, "backend": "eager", **METHODS[method]}
    whole = sl.explain(clf, pixels, target=several, **settings).maps
    assert bool(whole.isfinite().all())
    for chunk in (1, 5):
        assert torch.allclose(sl.explain(clf, pixels, target=several, chunk=chunk, **settings).maps, whole, atol=1e-6)
    for i in range(2):
        for j, sign in enumerate((1, -1)):
            one = sl.explain(clf, pixels[i : i + 1], target=sl.Attribute(INDEX, sign), **settings)
            assert torch.allclose(one.maps[0], whole[2 * i + j], atol=1e-6)


def test_cluster_cam_is_odd_in_the_direction(net, pixels):
    plus, minus = (ask(net, kind, "cluster-cam", pixels, clusters=3) for kind in ("+1", "-1"))
    assert torch.allclose(plus.maps, -minus.maps, atol=1e-6 * float(plus.maps.abs().max()))


@pytest.mark.parametrize(("method", "a_channel", "beside"), [("is-cam", 3, 0), ("ss-cam", 3, 0), ("poly-cam", 2, 1)])
def test_equal_masks_are_asked_once(net, method, a_channel, beside, pixels):
    """Of 7 channels 5 differ: the dead and the constant one share the empty mask, the double one its half's."""
    found = ask(net, "category", method, pixels[:1], **METHODS[method])
    assert found.provenance["masking"]["passes"] == [5 * a_channel + beside]


class _Dead(nn.Module):
    """Nothing reaches the head but its bias."""

    def __init__(self):
        super().__init__()
        self.conv, self.relu, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Linear(4, 3)
        nn.init.zeros_(self.conv.weight)
        nn.init.constant_(self.conv.bias, -1)

    def forward(self, x):
        return self.head(self.relu(self.conv(x)).mean((2, 3)))


@pytest.mark.parametrize("method", METHODS)
def test_a_dead_layer_gives_an_empty_map_that_says_so(method):
    clf = sl.Classifier(_Dead().eval(), size=12)
    found = sl.explain(clf, images(1, side=12), method=method, layer="relu", backend="eager", **METHODS[method])
    assert bool((found.maps == 0).all())
    assert found.empty.tolist() == [True]


@pytest.mark.parametrize("method", sorted(METHODS.keys() - {"group-cam", "cluster-cam"}))  # which have few masks
def test_a_part_of_the_masks_makes_a_map_near_the_full_one(method, pixels):
    clf = sl.Classifier(seeded(ConvNet), size=16)
    x = images(1)
    settings = {"method": method, "backend": "eager", **METHODS[method]}
    whole = sl.explain(clf, x, **settings)
    passes = whole.provenance["masking"]["passes"][0]
    part = sl.explain(clf, x, budget=max(2, passes - 1), **settings)
    assert not part.provenance["masking"]["complete"]
    assert bool(part.maps.isfinite().all())
    a, b = (v.flatten() - v.mean() for v in (whole.maps, part.maps))
    assert float(a @ b / (a.norm() * b.norm()).clamp(min=1e-12)) > 0.8


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("is-cam", {"steps": 0}),
        ("ss-cam", {"samples": 0}),
        ("ss-cam", {"noise": -1.0}),
        ("ss-cam", {"noise": float("nan")}),
        ("group-cam", {"groups": 0}),
        ("group-cam", {"denoise": 100.0}),
        ("cluster-cam", {"clusters": 1}),
        ("sidu", {"width": 0.0}),
        ("poly-cam", {"variant": "x"}),
        ("poly-cam", {"clip": 100.0}),
    ],
)
def test_settings_out_of_range(net, method, settings, pixels):
    with pytest.raises(MethodError, match=next(iter(settings))):
        ask(net, "category", method, pixels, **settings)
