"""Score-CAM and RISE against torch-cam, pytorch-grad-cam and a plain loop, in one run.

    python benchmarks/masking.py [--network resnet18] [--method score-cam] [--rounds 3]

Random weights, one image of 224 px, default target. "passes alone" is the chosen engine on as many images without
masks, chunk by chunk; ratios are to the faster peer (for RISE, which neither peer has, to a plain loop over chunks of
masked images). Maps are compared after scaling to [0, 1] at 224 px.
"""

import argparse
import statistics
import sys
import time

import torch
import torch.nn.functional as F
import torchvision

import sightline as sl
from _timing import peak_mib, peak_of
from sightline.explainers.masking import rise
from sightline.explainers.masking._forward import forward_for
from sightline.explainers.masking._options import Options
from sightline.explainers.question import generator_for

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LAYER = "layer4"
MASKS = 4000


def network(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    net = getattr(torchvision.models, name)().eval()
    for module in net.modules():  # running statistics of an untrained network say nothing
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_var.fill_(2.0)
    return net


def normalised(x: torch.Tensor) -> torch.Tensor:
    return torchvision.transforms.functional.normalize(x, MEAN, STD)


def torch_cam(net: torch.nn.Module, x: torch.Tensor):
    from torchcam.methods import ScoreCAM

    extractor = ScoreCAM(net, target_layer=LAYER)
    values = normalised(x)

    def run() -> torch.Tensor:
        with torch.no_grad():
            out = net(values)
        return extractor(out.argmax(1).tolist(), out)[0]

    return run


def grad_cam(net: torch.nn.Module, x: torch.Tensor):
    from pytorch_grad_cam import ScoreCAM

    cam = ScoreCAM(model=net, target_layers=[net.layer4[-1]])
    values = normalised(x)
    return lambda: torch.from_numpy(cam(input_tensor=values, targets=None))


def plain_rise(net: torch.nn.Module, x: torch.Tensor):
    """The loop of a script: 64 masked images a pass, masks drawn as ours are."""
    plan = rise._Plan((224, 224), MASKS, 7, 0.5, generator_for(x[0], 0))

    def run() -> torch.Tensor:
        S = torch.zeros(224, 224)
        with torch.no_grad():
            c = int(net(normalised(x)).argmax())
            for index in torch.arange(MASKS).split(64):
                M = plan.masks(index)
                p = net(normalised(x * M[:, None])).softmax(1)[:, c]
                S += torch.einsum("m,mhw->hw", p, M)
        return S[None] / (MASKS * 0.5)

    return run


def sightline(net: torch.nn.Module, x: torch.Tensor, method: str, **settings):
    classifier = sl.Classifier(net, mean=MEAN, std=STD)
    layer = None if method == "rise" else LAYER
    extra = {"masks": MASKS} if method == "rise" else {"space": "normalised"}
    explainer = sl.explainer(method, classifier, layer=layer, progress=False, **extra, **settings)
    explainer.estimate(x)  # conversions belong to the classifier, not to each map
    return lambda: explainer(x)


def alone(net: torch.nn.Module, passes: int, precision: str, backend: str):
    classifier = sl.Classifier(net, mean=MEAN, std=STD)
    forward = forward_for(classifier, (224, 224), Options(precision=precision, backend=backend), passes)
    memory = torch.channels_last if forward.channels_last else torch.contiguous_format
    images = torch.randn(8, 3, 224, 224).contiguous(memory_format=memory)
    with torch.no_grad():
        forward(images)

    def run() -> None:
        with torch.no_grad():
            for _ in range(passes // 8):
                forward(images)

    return run


def candidates(name: str, method: str, x: torch.Tensor, backends: list[str]) -> dict:
    passes = MASKS if method == "rise" else network(name).fc.in_features  # channels of layer4
    runs = {}
    for backend in backends:
        for precision in ("float32", "bfloat16"):
            runs[f"sightline, {backend}, {precision}"] = sightline(
                network(name), x, method, backend=backend, precision=precision
            )
            runs[f"passes alone, {backend}, {precision}"] = alone(network(name), passes, precision, backend)
    if method == "rise":
        runs["plain loop"] = plain_rise(network(name), x)
    else:
        runs["torch-cam"] = torch_cam(network(name), x)
        runs["pytorch-grad-cam"] = grad_cam(network(name), x)
    return runs


def shown(result) -> torch.Tensor | None:
    if result is None:
        return None
    maps = result.maps if isinstance(result, sl.Explanation) else result
    S = F.interpolate(maps[None].float(), size=(224, 224), mode="bilinear", align_corners=False)[0, 0].relu()
    return (S - S.min()) / (S.max() - S.min())


PEERS = ("torch-cam", "pytorch-grad-cam", "plain loop")


def report(seconds: dict[str, list[float]], maps: dict[str, torch.Tensor | None]) -> None:
    peers = {n: t for n, t in seconds.items() if n in PEERS}
    faster = min(peers, key=lambda n: statistics.median(peers[n]))
    print(f"{'':36} {'median s':>9} {'/ ' + faster:>18} {'/ passes alone':>15} {'map differs':>12}")
    for name, times in seconds.items():
        of_peer = statistics.median(a / b for a, b in zip(times, seconds[faster], strict=True))
        own = name.replace("sightline", "passes alone")
        bare = (
            f"{statistics.median(a / b for a, b in zip(times, seconds[own], strict=True)):.2f}" if own != name else ""
        )
        off = maps[name]
        differs = "" if off is None else f"{float((off - maps[faster]).abs().max()):.3f}"
        print(f"{name:36} {statistics.median(times):9.2f} {of_peer:18.3f} {bare:>15} {differs:>12}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="resnet18")
    parser.add_argument("--method", default="score-cam", choices=["score-cam", "rise"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--backends", nargs="*", default=["eager", "auto"])
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    x = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    x = F.avg_pool2d(x, 15, 1, 7)
    if asked.peak:
        settings = {"backend": asked.peak} if asked.peak != "bare" else {}
        if asked.peak == "bare":
            with torch.inference_mode():
                network(asked.network)(normalised(x))
        else:
            sightline(network(asked.network), x, asked.method, **settings)()
        print(peak_mib())
        return
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {asked.network}, {asked.method}")
    runs = candidates(asked.network, asked.method, x, asked.backends)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    maps: dict[str, torch.Tensor | None] = {}
    for _ in range(asked.rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            result = run()
            seconds[name].append(time.perf_counter() - start)
            maps[name] = shown(result)
    report(seconds, maps)
    bare = peak_of(sys.argv[0], "--peak", "bare", "--network", asked.network)
    for backend in asked.backends:
        peak = peak_of(sys.argv[0], "--peak", backend, "--network", asked.network, "--method", asked.method)
        print(f"peak memory over inference, {backend}: {peak - bare:.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
