"""Files of attention: what is read back, what is refused, and how networks made random get their maps."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from typer.testing import CliRunner

import sightline as sl
from learned_weights import LEARNED, drawn, helper, saved
from nets import ConvNet, images, seeded
from sightline.cli import app
from sightline.data.images import load_images
from sightline.errors import LayerError, MethodError, SightlineError, StorageError
from sightline.explainers.learned import Learned, Retrained, about_of, load, save
from sightline.explainers.learned._file import read

BOTH = ("relu1", "relu2")


def network(outputs: int = 5, *, seed: int = 0, **options: Any) -> sl.Classifier:
    return sl.Classifier(seeded(ConvNet, outputs, seed=seed), mean=[0.4], std=[0.3], size=16, **options)


def rewritten(path: Path, change: Any) -> Path:
    """The same weights with another manifest."""
    learned = read(path)
    about = json.loads(json.dumps(learned.about))
    change(about)
    save_file(load_file(path), path, metadata={"format": "pt", "sightline": json.dumps(about)})
    return path


@pytest.mark.parametrize("method", LEARNED)
def test_a_file_gives_the_maps_of_what_was_written(method: str, tmp_path: Path) -> None:
    classifier, x = network(), images(2)
    other = helper() if method == "p-tame" else None
    extra = {} if other is None else {"auxiliary": other}
    learned = drawn(method, classifier, auxiliary=other)
    path = saved(tmp_path, learned)
    wanted = sl.explain(classifier, x, method=method, weights=learned, **extra)
    state = torch.get_rng_state()
    out = sl.explain(classifier, x, method=method, weights=str(path), **extra)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(out.maps, wanted.maps)
    assert load(path, classifier).about == learned.about
    told = out.provenance["learned"]
    assert (told["kind"], told["layers"]) == (learned.about["kind"], learned.about["layers"])
    assert told["backbone"]["weights"] == classifier.fingerprint()
    assert told["weights"] == learned.digest
    assert out.provenance["settings"]["weights"] == f"{path} (weights {learned.digest})"
    assert sl.Explanation.load(out.save(tmp_path / "out")).provenance["learned"] == told


def test_the_text_of_a_manifest_is_a_reference_to_just_these_weights(tmp_path: Path) -> None:
    classifier, x = network(), images(1)
    path = saved(tmp_path, drawn("l-cam-fm", classifier))
    out = sl.explain(classifier, x, method="l-cam-fm", weights=path)
    pinned = out.provenance["settings"]["weights"]
    assert torch.equal(sl.explain(classifier, x, method="l-cam-fm", weights=pinned).maps, out.maps)
    saved(tmp_path, drawn("l-cam-fm", classifier, seed=1))
    with pytest.raises(MethodError, match="trained again since"):
        sl.explain(classifier, x, method="l-cam-fm", weights=pinned)
    unsaved = sl.explain(classifier, x, method="l-cam-fm", weights=drawn("l-cam-fm", classifier))
    with pytest.raises(MethodError, match="never written to a file"):
        sl.explain(classifier, x, method="l-cam-fm", weights=unsaved.provenance["settings"]["weights"])


def test_weights_are_needed_and_the_text_says_how_to_train_them() -> None:
    for method in LEARNED:
        extra = {"auxiliary": helper()} if method == "p-tame" else {}
        with pytest.raises(MethodError, match=rf"sightline train attention --method {method}.*fit_attention"):
            sl.explainer(method, network(), **extra)
    with pytest.raises(MethodError, match="takes a file, a Learned or a Retrained, not int"):
        sl.explainer("tame", network(), weights=3)
    box = sl.BlackBox(lambda x: x.mean((2, 3)), size=16)
    with pytest.raises(MethodError, match="BlackBox does not show"):
        sl.explainer("l-cam-fm", box)


def test_what_belongs_to_something_else_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, drawn("l-cam-fm", network(labels=list("abcde")), layers=("relu2",)))
    assert load(path, network()).attention.maps == 5  # without labels there is nothing to compare
    cases: list[tuple[sl.Classifier, str]] = [
        (network(seed=1), r"belongs to ConvNet with the weights \w{16}; the classifier is ConvNet with the weights"),
        (network(4), "is for 5 outputs, the classifier has outputs 4; train one for it"),
        (network(decision="multilabel"), "is for a categorical classifier, the classifier has decision multilabel"),
        (network(labels=list("abxde")), "the label 'c' at output 2, the classifier says 'x'"),
        (sl.Classifier(seeded(ConvNet), mean=[0.5], std=[0.3], size=16), r"trained with mean=\[0.4.*has mean=\[0.5"),
        (sl.Classifier(seeded(ConvNet), size=16), r"trained with mean=\[0.4.*has mean=None"),
    ]
    for classifier, text in cases:
        with pytest.raises(MethodError, match=text):
            load(path, classifier)
        with pytest.raises(MethodError, match=text):
            sl.explainer("l-cam-fm", classifier, weights=path)
    for method in ("l-cam-img", "tame", "learned-constant"):
        with pytest.raises(MethodError, match="was trained for l-cam-fm: use method='l-cam-fm'"):
            sl.explainer(method, network(), weights=path)


def test_layers_are_a_matter_of_training(tmp_path: Path) -> None:
    classifier, x = network(), images(1)
    path = saved(tmp_path, drawn("tame", classifier, layers=("relu1", "relu2@nchw")))
    out = sl.explain(classifier, x, method="tame", weights=path)
    assert out.layers == BOTH
    again = sl.explain(classifier, x, method="tame", weights=path, layer=BOTH)
    assert torch.equal(again.maps, out.maps)
    with pytest.raises(MethodError, match=r"reads the layers it was trained with \(relu1, relu2@nchw\), not conv2"):
        sl.explainer("tame", classifier, weights=path, layer="conv2")
    missing = rewritten(path, lambda about: about.update(layers=["relu1", "relu9"]))
    with pytest.raises(MethodError, match="there is no layer 'relu9'; did you mean"):
        load(missing, classifier)
    other = rewritten(path, lambda about: about.update(layers=["relu2", "relu1"]))
    with pytest.raises(MethodError, match="reads 6 channels at layer 'relu2', where ConvNet has 8"):
        load(other, classifier)


def test_p_tame_wants_the_auxiliary_network_of_its_training(tmp_path: Path) -> None:
    classifier, other = network(), helper()
    path = saved(tmp_path, drawn("p-tame", classifier, layers=BOTH, auxiliary=other))
    sl.explainer("p-tame", classifier, weights=path, auxiliary=other)
    with pytest.raises(MethodError, match=r"belongs to ConvNet with the weights \w{16}; auxiliary= is ConvNet"):
        sl.explainer("p-tame", classifier, weights=path, auxiliary=network(seed=3))
    with pytest.raises(MethodError, match=r"auxiliary= takes a sl\.Classifier, not int"):
        sl.explainer("p-tame", classifier, weights=path, auxiliary=3)
    with pytest.raises(SightlineError, match="faces:nobody"):
        sl.explainer("p-tame", classifier, weights=path, auxiliary="faces:nobody")
    grey = sl.Classifier(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2 * 14 * 14, 2)), size=16)
    with pytest.raises(MethodError, match="takes images of 1 channels, the classifier 3"):
        sl.explainer("p-tame", classifier, weights=path, auxiliary=grey)


def test_files_that_are_no_attention(tmp_path: Path) -> None:
    classifier, path = network(), tmp_path / "file.safetensors"
    with pytest.raises(StorageError, match="there is no such file; `sightline train attention`"):
        load(path, classifier)
    path.write_bytes(b"no weights at all")
    with pytest.raises(StorageError, match="truncated or no safetensors file"):
        load(path, classifier)
    save_file(seeded(ConvNet).state_dict(), path)
    with pytest.raises(MethodError, match="is no attention that Sightline trained"):
        load(path, classifier)
    torch.save({"weights": nn.Linear(2, 2)}, tmp_path / "pickle.pth")
    with pytest.raises(StorageError, match="truncated or no safetensors file"):
        load(tmp_path / "pickle.pth", classifier)
    saved(tmp_path, drawn("tame", classifier, layers=BOTH), "file.safetensors")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StorageError, match="truncated"):
        load(path, classifier)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"format": "sightline attention 9"}, "is no attention that Sightline trained"),
        ({"kind": "l-cam"}, "no usable 'kind'"),
        ({"maps": 7}, "no usable 'maps'"),
        ({"directions": "both"}, "no usable 'directions'"),
        ({"labels": ["a"]}, "no usable 'labels'"),
        ({"channels": ["6", "8"]}, "no usable 'channels'"),
        ({"channels": [6, 10**9]}, "do not fit its own manifest"),
        ({"variant": {"depth": 3}}, "do not fit its own manifest"),
        ({"variant": {"norm": False}}, "do not fit its own manifest"),
        ({"backbone": None}, "no usable 'backbone'"),
    ],
    ids=str,
)
def test_manifests_that_do_not_fit_their_weights(change: dict[str, Any], text: str, tmp_path: Path) -> None:
    classifier = network()
    path = saved(tmp_path, drawn("tame", classifier, layers=BOTH))
    rewritten(path, lambda about: about.update(change))
    with pytest.raises(MethodError, match=text):
        load(path, classifier)


def test_what_cannot_be_written(tmp_path: Path) -> None:
    classifier = network()
    learned = drawn("tame", classifier, layers=BOTH)
    path = saved(tmp_path, learned)
    before = path.read_bytes()
    for about, text in [
        ({**learned.about, "recipe": {"loss": nn.ReLU()}}, "must be plain JSON"),
        ({**learned.about, "training": {"loss": float("nan")}}, "must be plain JSON"),
        ({**learned.about, "channels": [6, 9]}, "the attention has"),
        ({k: v for k, v in learned.about.items() if k != "layers"}, "no usable 'layers'"),
    ]:
        with pytest.raises(MethodError, match=text):
            save(path, learned.attention, about)
    assert path.read_bytes() == before
    with pytest.raises(StorageError, match="is a folder"):
        save(tmp_path, learned.attention, learned.about)
    with torch.no_grad():
        learned.attention.last.weight[0] = torch.nan
    with pytest.raises(MethodError, match="hold NaN or infinity"):
        load(saved(tmp_path, learned), classifier)


@pytest.mark.parametrize("method", LEARNED)
def test_randomised_networks_keep_the_attention_or_get_one_of_their_own(method: str, tmp_path: Path) -> None:
    classifier, x = network(), images(3)
    other = helper() if method == "p-tame" else None
    extra = {} if other is None else {"auxiliary": other}
    learned = drawn(method, classifier, auxiliary=other)
    for weights in (learned, str(saved(tmp_path, learned))):
        explainer = sl.explainer(method, classifier, weights=weights, **extra)
        out = explainer(x, target=1)
        check = [("parameter-randomisation", {"steps": 2, "similarity": "pearson"})]
        judged = sl.evaluate(classifier, x, out, metrics=check, explainer=explainer)
        kept = judged["parameter-randomisation"].value.tolist()
        if method in ("p-tame", "learned-constant"):  # they read nothing of the network that is made random
            assert min(kept) > 1 - 1e-5
        else:
            assert max(kept) < 0.999
    asked: list[str] = []

    def fit(network: sl.Classifier) -> Learned:
        asked.append(network.fingerprint())
        return drawn(method, network, auxiliary=other, seed=len(asked))

    explainer = sl.explainer(method, classifier, weights=Retrained(fit), **extra)
    out = explainer(x, target=1)
    for _ in range(2):
        sl.evaluate(classifier, x, out, metrics=check, explainer=explainer)
    assert len(asked) == len(set(asked)) == 3  # the network itself, and the two random ones, once each


def test_only_what_stands_in_for_a_network_counts_as_it(tmp_path: Path) -> None:
    classifier, other = network(), seeded(ConvNet, seed=1)
    path = saved(tmp_path, drawn("l-cam-fm", classifier))
    assert load(path, classifier.like(other, stands_in=True)).about["outputs"] == 5
    twice = classifier.like(other, stands_in=True).like(seeded(ConvNet, seed=2), stands_in=True)
    assert load(path, twice).about["outputs"] == 5
    with pytest.raises(MethodError, match="belongs to ConvNet"):
        load(path, classifier.like(other))


def test_it_goes_to_the_shell(tmp_path: Path) -> None:
    photo, out = tmp_path / "p.png", tmp_path / "out"
    from torchvision.transforms.functional import to_pil_image

    to_pil_image(images(1, 64)[0]).save(photo)
    classifier = sl.load("faces:balanced")
    path = saved(tmp_path, drawn("l-cam-fm", classifier))
    command = ["explain", photo, "-m", "faces:balanced", "--target", "both:Smiling", "--method", "l-cam-fm"]
    missing = CliRunner().invoke(app, list(map(str, [*command, "--out", out])))
    assert missing.exit_code == 2
    assert "sightline train attention --method l-cam-fm" in " ".join(missing.stderr.split())
    command += ["--set", f"l-cam-fm.weights={path}", "--out", out]
    result = CliRunner().invoke(app, list(map(str, command)))
    assert result.exit_code == 0, result.output
    found = sl.Explanation.load(out / "l-cam-fm" / "p")
    ((pixels, _),) = load_images([photo], size=classifier.size)
    both = sl.each([sl.Attribute("Smiling", 1), sl.Attribute("Smiling", -1)])
    wanted = sl.explain(classifier, pixels, method="l-cam-fm", target=both, weights=path)
    assert torch.allclose(found.maps, wanted.maps, atol=1e-5)
    shown = CliRunner().invoke(app, ["methods", "l-cam-fm"]).stdout
    assert "--set l-cam-fm.weights=FILE" in shown
    assert "height above the lowest value" in shown


def test_a_manifest_says_what_it_belongs_to() -> None:
    classifier = network(2, decision="multilabel", labels=["hat", "tie"])
    learned = drawn("tame", classifier, layers=BOTH, side=5)
    about = about_of(learned.attention, classifier, mask_space="pixels", recipe={"epochs": 3})
    assert about["labels"] == ["hat", "tie"]
    assert (about["maps"], about["outputs"], about["directions"]) == (4, 2, "two")
    assert about["variant"]["side"] == 5
    assert about["backbone"]["weights"] == classifier.fingerprint()
    assert about["recipe"] == {"epochs": 3}
    assert str(learned).startswith("unsaved tame (weights ")
    with pytest.raises(LayerError):
        drawn("l-cam-fm", classifier, layers=("nothing",))


def test_what_is_trained_again_is_trained_for_each_normalisation() -> None:
    net, seen = seeded(ConvNet), list[sl.Classifier]()

    def fit(classifier: Any) -> Learned:
        seen.append(classifier)
        return drawn("l-cam-fm", classifier)

    weights = Retrained(fit)
    for mean in (None, [0.4], [0.5], [0.4]):
        std = None if mean is None else [0.3]
        classifier = sl.Classifier(net, mean=mean, std=std, size=16)
        sl.explain(classifier, images(1), method="l-cam-fm", weights=weights)
    assert len(seen) == 3
