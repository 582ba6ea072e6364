"""The engine of masked images: one answer whatever the chunk, the backend and the interruption."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import sightline as sl
from nets import ConvNet, Segmenter, images, seeded
from sightline.errors import InputError, MethodError, MissingExtraError, ModelError, SightlineWarning, StorageError
from sightline.explainers.masking import _forward, _memory
from sightline.explainers.masking._fill import blurred

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)


class Counted(nn.Module):
    """A network that counts the images of each call, and may fail at one of them."""

    def __init__(self, fail_at: int = 0, reason: BaseException | None = None, most: int = 10**9) -> None:
        super().__init__()
        self.net, self.calls, self.fail_at, self.reason, self.most = seeded(ConvNet), [], fail_at, reason, most

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > self.most:
            raise torch.OutOfMemoryError("out of memory, on purpose")
        self.calls.append(len(x))
        if len(self.calls) == self.fail_at:
            if self.reason is None:
                return torch.full((len(x), 5), torch.nan)
            raise self.reason
        return self.net(x)


def black_box(**options) -> tuple[Counted, sl.BlackBox]:
    net = Counted(**options).eval()
    return net, sl.BlackBox(net, size=16)


def rise(classifier, x, **settings):
    return sl.explain(classifier, x, method="rise", **{"masks": 40, "cells": 4, "backend": "eager", **settings})


@pytest.mark.parametrize("method", ["rise", "score-cam"])
def test_the_chunk_does_not_change_the_map(method: str) -> None:
    classifier, x = sl.Classifier(seeded(ConvNet), mean=MEAN, std=STD), images(3)
    settings = {"masks": 40, "cells": 4} if method == "rise" else {}
    whole = sl.explain(classifier, x, method=method, **settings)
    for chunk in (1, 3, 7):
        assert torch.allclose(
            sl.explain(classifier, x, method=method, chunk=chunk, **settings).maps, whole.maps, atol=1e-5
        )
    for i in range(3):
        one = sl.explain(classifier, x[i : i + 1], method=method, **settings)
        assert torch.allclose(one.maps[0], whole.maps[i], atol=1e-5)


def test_images_and_targets_share_forward_passes() -> None:
    net, box = black_box()
    rise(box, images(3), target=sl.each([0, 1, 2]), chunk=8)
    assert net.calls == [3, *[8] * 15]  # the images as they are, then 3 * 40 masked ones, full chunks across images


class Largest(TorchDispatchMode):
    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for value in out if isinstance(out, tuple | list) else (out,):
            if isinstance(value, Tensor):
                self.elements = max(self.elements, value.numel())
        return out


@pytest.mark.parametrize("method", ["rise", "score-cam"])
def test_d20_nothing_of_the_size_of_all_masks_is_held(method: str) -> None:
    net, x = seeded(ConvNet), images(1, side=64)
    classifier = sl.Classifier(net, size=64)
    settings = {"masks": 400} if method == "rise" else {}
    sl.explain(classifier, x, method=method, chunk=2, **settings)
    with Largest() as seen:
        sl.explain(classifier, x, method=method, chunk=2, **settings)
    # two images of 6 channels of 64 x 64 are the network's own; 8 masks x 3 x 64 x 64 would be twice as much
    assert seen.elements <= 2 * 8 * 64 * 64


@pytest.mark.parametrize("space", ["pixels", "normalised"])
@pytest.mark.parametrize("fill", ["black", "mean", "blur", "noise", "image"])
def test_fills(fill: str, space: str) -> None:
    """f(M x + (1 - M) fill), written out in pixels, or on the normalised tensor."""
    x, given = images(2), images(1, seed=7)
    seen: list[Tensor] = []
    net = seeded(ConvNet)
    net.register_forward_pre_hook(lambda module, args: seen.append(args[0].clone()))
    classifier = sl.Classifier(net, mean=MEAN, std=STD)
    sl.explain(classifier, x, method="score-cam", fill=given if fill == "image" else fill, space=space, chunk=4, seed=3)
    m, s = (torch.tensor(v)[:, None, None] for v in (MEAN, STD))
    norm = (x - m) / s
    from sightline.explainers.question import generator_for

    for b in range(2):
        draw = generator_for(x[b], 3)
        base = {
            "black": lambda: torch.zeros(3, 16, 16),
            "mean": lambda b=b: x[b].mean((1, 2))[:, None, None].expand(3, 16, 16),
            "blur": lambda b=b: blurred(x[b : b + 1])[0],
            "noise": lambda draw=draw: (torch.rand if space == "pixels" else torch.randn)(3, 16, 16, generator=draw),
            "image": lambda: given[0],
        }[fill]()
        bare = space == "normalised" and fill in ("black", "noise")
        base = base if bare else (base - m) / s
        # every masked image lies between the image and the fill, pixel by pixel, by one M for all channels
        mine = [v for v in torch.cat(seen) if _mask_of(v, norm[b], base) is not None]
        assert len(mine) >= 4
        masks = torch.stack([_mask_of(v, norm[b], base) for v in mine])
        assert float(masks.amin()) < 1e-3
        assert float(masks.amax()) > 1 - 1e-3


def _mask_of(value: Tensor, image: Tensor, base: Tensor) -> Tensor | None:
    M = ((value - base) * (image - base)).sum(0) / (image - base).square().sum(0).clamp(min=1e-9)
    return (
        M
        if torch.allclose(base + M * (image - base), value, atol=1e-3) and M.min() > -1e-3 and M.max() < 1.001
        else None
    )


def test_blur_is_a_wide_gaussian() -> None:
    x = images(1, side=224).double()
    at = torch.arange(-25, 26).double()
    k = torch.exp(-(at**2) / (2 * 50**2))
    k = k / k.sum()
    pad = F.pad(x, (25,) * 4, mode="reflect")
    i, j = 100, 3
    expected = sum(k[a] * k[b] * pad[0, 1, i + a, j + b] for a in range(51) for b in range(51))
    assert float(blurred(x)[0, 1, i, j]) == pytest.approx(float(expected), abs=1e-9)


def test_a_black_box_gives_what_its_model_gives() -> None:
    net, x = seeded(ConvNet), images(2)
    box = sl.BlackBox(lambda v: net(v).detach(), size=16)
    assert torch.allclose(rise(box, x).maps, rise(sl.Classifier(net), x).maps, atol=1e-5)
    with pytest.raises(MethodError, match="no normalised space"):
        rise(box, x, space="normalised")
    for settings in ({"precision": "bfloat16"}, {"backend": "openvino"}, {"backend": "compiled"}):
        with pytest.raises(MethodError, match="called as it is"):
            rise(box, x, **settings)


def test_memory_that_is_short_halves_the_chunk() -> None:
    x = images(2)
    plain = rise(black_box()[1], x)
    net, box = black_box(most=3)
    found = rise(box, x, chunk=16)
    assert torch.allclose(found.maps, plain.maps, atol=1e-6)
    assert found.provenance["masking"]["chunk"] == 2
    assert max(net.calls) == 2


def test_memory_too_small_for_one_image_says_what_to_do() -> None:
    net, box = black_box()
    bound = sl.explainer("rise", box, masks=40, cells=4, chunk=4)
    bound(images(1))

    def full(pixels: Tensor) -> Tensor:
        if len(net.calls) > 14:
            raise torch.OutOfMemoryError("out of memory")
        return net(pixels)

    net.calls.clear()
    with pytest.raises(ModelError, match="not enough memory for one masked image") as caught:
        rise(sl.BlackBox(full, size=16), images(1), chunk=2)
    assert sl.partial(caught.value) is not None


def test_the_chunk_follows_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = sl.Classifier(seeded(ConvNet))
    one = _memory.footprint(classifier, (16, 16))
    assert one >= 4 * (3 * 16 * 16 + 6 * 16 * 16 + 8 * 8 * 8)
    monkeypatch.setattr(_memory, "free_memory", lambda device: 40 * one)
    assert _memory.chunk_for(classifier, (16, 16)) == 10
    monkeypatch.setattr(_memory, "free_memory", lambda device: 0)
    assert _memory.chunk_for(classifier, (16, 16)) == 1


FAILURES = [KeyboardInterrupt(), ValueError("on purpose"), None]


@pytest.mark.parametrize("reason", FAILURES, ids=["ctrl-c", "raises", "nan"])
def test_an_interruption_keeps_what_was_computed(reason: BaseException | None, tmp_path: Path) -> None:
    x = images(2)
    plain = rise(black_box()[1], x, chunk=8)
    net, box = black_box(fail_at=5, reason=reason)
    with pytest.raises(ModelError if reason is None else type(reason)) as caught:
        rise(box, x, chunk=8, checkpoint=tmp_path)
    partial = sl.partial(caught.value)
    assert partial is not None
    assert partial.maps.shape == plain.maps.shape
    assert partial.maps.isfinite().all()
    record = partial.provenance["masking"]
    assert record["passes"] == [16, 8]
    assert record["masks"] == [40, 40]
    assert not record["complete"]
    assert "24 of 80 passes are done" in "".join(caught.value.__notes__)
    before = len(net.calls)
    again = rise(box, x, chunk=8, checkpoint=tmp_path)
    assert torch.equal(again.maps, plain.maps)
    assert sum(net.calls[before:]) == 2 + 80 - 24  # nothing was asked twice
    assert rise(box, x, chunk=8, checkpoint=tmp_path).maps.equal(plain.maps)


def test_an_error_before_the_first_score_has_no_map() -> None:
    _, box = black_box(fail_at=2, reason=ZeroDivisionError("on purpose"))
    with pytest.raises(ZeroDivisionError) as caught:
        rise(box, images(1))
    assert sl.partial(caught.value) is None


KILLED = """
import sys, time, torch, sightline as sl
sys.path.insert(0, sys.argv[1])
from nets import ConvNet, images, seeded
net = seeded(ConvNet)
def slow(x):
    time.sleep(0.02)
    return net(x).detach()
print("go", flush=True)
sl.explain(sl.BlackBox(slow, size=16), images(1), method="rise", masks=4000, chunk=8, checkpoint=sys.argv[2])
"""


def test_a_killed_process_goes_on_where_it_was(tmp_path: Path) -> None:
    tests = str(Path(__file__).parent)
    process = subprocess.Popen([sys.executable, "-c", KILLED, tests, str(tmp_path)], stdout=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not any(f.stat().st_size > 4000 for f in tmp_path.glob("*.scores")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    net = Counted().eval()

    def slow(x: Tensor) -> Tensor:
        return net(x).detach()

    slow.__qualname__ = "slow"
    box = sl.BlackBox(slow, size=16)
    found = sl.explain(box, images(1), method="rise", masks=4000, chunk=8, checkpoint=tmp_path)
    assert sum(net.calls) < 4001 - 300
    plain = sl.explain(box, images(1), method="rise", masks=4000, chunk=8)
    assert torch.allclose(found.maps, plain.maps, atol=1e-6)


def test_a_checkpoint_that_was_cut_or_is_none_of_ours(tmp_path: Path) -> None:
    x = images(1)
    plain = rise(black_box()[1], x, chunk=8, checkpoint=tmp_path)
    (file,) = tmp_path.glob("*.scores")
    whole = file.read_bytes()
    for length in (len(whole) - 3, len(whole) // 2, 20):
        file.write_bytes(whole[:length])
        assert torch.equal(rise(black_box()[1], x, chunk=8, checkpoint=tmp_path).maps, plain.maps)
        assert file.read_bytes() == whole
    rise(black_box()[1], x, chunk=8, checkpoint=tmp_path, seed=1)
    assert len(list(tmp_path.glob("*.scores"))) == 2  # another question, another file
    file.write_bytes(b"something else, longer than a first line of ours would be " * 9)
    with pytest.raises(StorageError, match="delete it"):
        rise(black_box()[1], x, chunk=8, checkpoint=tmp_path)
    blocked = tmp_path / "file"
    blocked.write_text("x")
    with pytest.raises(StorageError, match="cannot write the checkpoint"):
        rise(black_box()[1], x, checkpoint=blocked / "inside")


def test_a_budget_stops_early_and_says_so() -> None:
    net, box = black_box()
    x = images(2)
    found = rise(box, x, masks=64, budget=24, chunk=8)
    record = found.provenance["masking"]
    assert record["passes"] == [24, 24]
    assert not record["complete"]
    assert sum(net.calls) == 2 + 48
    assert all(0 < e < 10 for e in record["error"])
    full = rise(box, x, masks=64, chunk=8)
    assert full.provenance["masking"]["error"] == [0, 0]
    assert full.provenance["masking"]["complete"]
    for settings in ({"budget": 64}, {"budget": "60s"}, {"tolerance": 1e-9}):
        assert torch.equal(rise(box, x, masks=64, chunk=8, **settings).maps, full.maps)


def test_seconds_and_tolerance_stop_too() -> None:
    net, _ = black_box()

    def slow(pixels: Tensor) -> Tensor:
        time.sleep(0.05)
        return net(pixels).detach()

    found = rise(sl.BlackBox(slow, size=16), images(2), masks=4000, budget="0.5s", chunk=8)
    record = found.provenance["masking"]
    assert min(record["passes"]) >= 8
    assert sum(record["passes"]) < 400
    assert found.maps.isfinite().all()
    close = rise(sl.BlackBox(net, size=16), images(2), masks=4000, tolerance=0.3)
    record = close.provenance["masking"]
    assert sum(record["passes"]) < 8000
    assert max(record["error"]) <= 0.3


def test_the_estimate_of_the_error_is_near_the_error() -> None:
    """Over images and stops: the ratio of the true error to the estimate is about 1."""
    classifier, x = sl.Classifier(seeded(ConvNet)), images(6)
    full = rise(classifier, x, masks=600).maps.flatten(1)
    full = full - full.mean(1, keepdim=True)
    ratios = []
    for budget in (60, 120, 300):
        part = rise(classifier, x, masks=600, budget=budget)
        now = part.maps.flatten(1)
        true = (now - now.mean(1, keepdim=True) - full).norm(dim=1) / full.norm(dim=1)
        ratios.append(true / torch.tensor(part.provenance["masking"]["error"]))
    ratio = torch.cat(ratios)
    assert 0.5 < float(ratio.median()) < 1.6


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"fill": "grey"}, MethodError),
        ({"space": "somewhere"}, MethodError),
        ({"budget": 0}, MethodError),
        ({"budget": "soon"}, MethodError),
        ({"budget": "-1s"}, MethodError),
        ({"tolerance": 0}, MethodError),
        ({"chunk": 0}, MethodError),
        ({"backend": "magic"}, MethodError),
        ({"precision": "int8"}, MethodError),
        ({"fill": torch.zeros(3, 4, 4)}, InputError),
        ({"fill": torch.full((3, 16, 16), 7.0)}, InputError),
        ({"masks": 0}, MethodError),
        ({"keep": 1.0}, MethodError),
        ({"cells": 0}, MethodError),
    ],
)
def test_settings_that_make_no_sense(settings: dict, error: type[Exception]) -> None:
    with pytest.raises(error):
        rise(sl.Classifier(seeded(ConvNet)), images(1), **settings)


def test_openvino_agrees_with_eager() -> None:
    pytest.importorskip("openvino")
    classifier, x = sl.Classifier(seeded(ConvNet), mean=MEAN, std=STD), images(2)
    eager = rise(classifier, x)
    found = rise(classifier, x, backend="openvino")
    assert found.provenance["masking"]["backend"] == "openvino"
    assert torch.allclose(found.maps, eager.maps, atol=1e-4)
    segmenter = sl.Classifier(seeded(Segmenter))
    for precision in ("float32", "bfloat16"):
        one = rise(segmenter, x, backend="openvino", precision=precision)
        assert one.provenance["masking"]["backend"] == "openvino"
        assert torch.allclose(one.maps, rise(segmenter, x).maps, atol=1e-4 if precision == "float32" else 2e-2)


def test_a_backend_that_disagrees_or_fails_gives_way_to_eager(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino")
    x = images(2)
    expected = rise(sl.Classifier(seeded(ConvNet)), x)
    wrong = {"differs": lambda masks, *_: torch.zeros(len(masks), 5), "failed": lambda *_: 1 / 0}
    for word, call in wrong.items():
        monkeypatch.setattr(_forward, "_runner", lambda classifier, graph, call=call: call)
        with pytest.warns(SightlineWarning, match=f"rise: eager answers in place of backend='openvino': .*{word}"):
            found = rise(sl.Classifier(seeded(ConvNet)), x, backend="openvino")
        record = found.provenance["masking"]
        assert record["backend"] == "eager"
        assert word in record["note"]
        assert torch.allclose(found.maps, expected.maps, atol=1e-6)
    monkeypatch.setattr(_forward.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"sightline\[openvino\]"):
        rise(sl.Classifier(seeded(ConvNet)), x, backend="openvino")
    assert rise(sl.Classifier(seeded(ConvNet)), x, backend="auto").provenance["masking"]["backend"] == "eager"


COMPILER = next(filter(None, map(shutil.which, (os.environ.get("CXX") or "c++", "g++", "clang++"))), None)


@pytest.fixture
def inductor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """torch.compile with nothing that outlives the test; the folder of what it builds."""
    import torch._inductor.config

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    with torch._inductor.config.patch(compile_threads=1):  # no pool of processes
        yield tmp_path
    torch._dynamo.reset()


@pytest.mark.skipif(COMPILER is None, reason="torch.compile needs a C++ compiler, and there is none")
def test_compiled_agrees_with_eager(inductor: Path) -> None:
    net, x = seeded(ConvNet), images(2)
    classifier = sl.Classifier(net, mean=MEAN, std=STD)
    eager = rise(classifier, x)
    found = rise(classifier, x, backend="compiled", chunk=24)  # 80 masks: the last chunk is filled up
    record = found.provenance["masking"]
    assert record["backend"] == "compiled"
    assert "note" not in record
    assert record["passes"] == [40, 40]
    assert any(inductor.rglob("*.so"))  # it was built, and nothing stood in for it
    assert float((found.maps - eager.maps).norm() / eager.maps.norm()) < _forward.TOLERANCE["float32"]
    assert torch.allclose(found.maps, eager.maps, atol=1e-4)
    assert not any("_orig_mod" in name for name, _ in net.named_modules())


def test_compiled_that_disagrees_gives_way_to_eager(monkeypatch: pytest.MonkeyPatch) -> None:
    x = images(2)
    expected = rise(sl.Classifier(seeded(ConvNet)), x)

    def failed(inputs: Tensor) -> Tensor:
        raise RuntimeError("no compiler, on purpose")

    wrong = {"differs from eager": lambda inputs: torch.zeros(len(inputs), 5), "failed: .*no compiler": failed}
    for text, call in wrong.items():
        monkeypatch.setattr(_forward, "_compiled", lambda twin, call=call: call)
        with pytest.warns(SightlineWarning, match=f"eager answers in place of backend='compiled': compiled {text}"):
            found = rise(sl.Classifier(seeded(ConvNet)), x, backend="compiled")
        assert found.provenance["masking"]["backend"] == "eager"
        assert torch.allclose(found.maps, expected.maps, atol=1e-6)


def test_a_retrained_model_is_not_answered_by_its_old_graph() -> None:
    pytest.importorskip("openvino")
    net, x = seeded(ConvNet), images(1)
    classifier = sl.Classifier(net)
    before = rise(classifier, x, backend="openvino", target=sl.Category(0))
    with torch.no_grad():
        net.head.weight.mul_(-1)
    after = rise(classifier, x, backend="openvino", target=sl.Category(0))
    assert torch.allclose(after.maps, rise(classifier, x, target=sl.Category(0)).maps, atol=1e-4)
    assert not torch.allclose(after.maps, before.maps, atol=1e-3)


def test_bfloat16_is_near() -> None:
    classifier, x = sl.Classifier(seeded(ConvNet)), images(2)
    exact, rough = rise(classifier, x), rise(classifier, x, precision="bfloat16")
    assert rough.provenance["masking"]["precision"] == "bfloat16"
    assert 0 < float((exact.maps - rough.maps).abs().max()) < 2e-2


def test_progress_is_told_and_an_estimate_given() -> None:
    told: list[tuple[int, int]] = []
    _, box = black_box()
    rise(box, images(2), chunk=8, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (80, 80)
    assert [d for d, _ in told] == list(range(8, 81, 8))
    net, box = black_box()
    estimate = sl.explainer("rise", box, masks=4000, chunk=8).estimate(images(2))
    assert estimate.passes == 8000
    assert sum(net.calls) < 40
    assert estimate.seconds > 0
    assert "8000 passes (black box" in str(estimate)
    assert sl.explainer("grad-cam", sl.Classifier(seeded(ConvNet))).estimate(images(2)).passes == 2


def test_a_progress_bar_can_be_had(capsys: pytest.CaptureFixture[str]) -> None:
    rise(black_box()[1], images(1), progress=True)
    assert "rise: 40 passes (black box" in capsys.readouterr().err
    rise(black_box()[1], images(1))
    assert capsys.readouterr().err == ""


def test_eight_threads_share_an_explainer() -> None:
    classifier, x = sl.Classifier(seeded(ConvNet)), images(8)
    explainer = sl.explainer("rise", classifier, masks=40, cells=4, backend="eager")
    expected = [explainer(x[i : i + 1]).maps for i in range(8)]
    found: dict[int, Tensor] = {}

    def work(i: int) -> None:
        found[i] = explainer(x[i : i + 1]).maps

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.allclose(found[i], expected[i], atol=1e-6) for i in range(8))


def test_the_record_says_how_it_was_made() -> None:
    found = rise(sl.Classifier(seeded(ConvNet)), images(1), fill="blur", space="normalised")
    record, settings = found.provenance["masking"], found.provenance["settings"]
    assert record["fill"] == "blur"
    assert record["space"] == "normalised"
    assert record["backend"] == "eager"
    assert settings["masks"] == 40
    assert "progress" not in settings
    assert "checkpoint" not in settings


ORDER = """
import gc, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background is told to ignore it
import sightline as sl
sys.path.insert(0, sys.argv[1])
from nets import ConvNet, images, seeded
def graph():
    classifier = sl.Classifier(seeded(ConvNet))
    sl.explain(classifier, images(1), method="rise", masks=16, cells=4, backend="openvino")
    return classifier
first, second = graph(), graph()
del first
gc.collect()
del second
gc.collect()
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("survived")
"""


def test_ctrl_c_after_openvino_does_not_crash_the_process() -> None:
    pytest.importorskip("openvino")
    tests = str(Path(__file__).parent)
    done = subprocess.run([sys.executable, "-c", ORDER, tests], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0
    assert done.stdout.strip() == "survived"
