"""`sightline explain`: photographs through a classifier and several methods, onto the disk."""

from pathlib import Path

import typer

from sightline.cli import _options as options

EPILOG = """What lies in the output folder:

METHOD/PHOTO/maps.npz (raw maps), manifest.json (where they come from), overlay-0000.png (one a target); sl.Explanation.load("out/METHOD/PHOTO") reads them. sheets/PHOTO.png has the methods side by side, overview-001.png all photos page by page. explanations.csv has one line a photo, method and target; explain.json has the settings. With --trust there are METHOD/PHOTO/trust.html and trust.json too.

The same command again goes on where it was stopped. Exit codes: 0 all is well, 1 some photos failed, 2 an error, 130 interrupted.

Examples:

sightline explain dog.jpg -m torchvision:resnet50 --weights resnet50.pth

sightline explain photos/ "more/*.png" -m python:net.py:build --weights net.pth --labels classes.txt --mean 0.5,0.5,0.5 --std 0.5,0.5,0.5 --method grad-cam --method layer-cam --layer features.12 --out run1

sightline explain faces/ -m timm:resnet18 --weights smile.safetensors --decision multilabel --target attribute:Smiling --target attribute:Male:-1 --box 0.2,0.2,0.8,0.8 --method hires-cam --out smiles
"""  # noqa: E501 - the shell wraps it


def explain(
    photos: options.Photos,
    model: options.Model,
    weights: options.Weights = None,
    labels: options.Labels = None,
    decision: options.Decision = None,
    mean: options.Mean = None,
    std: options.Std = None,
    size: options.Size = None,
    precision: options.Precision = "float32",
    device: options.Device = "auto",
    box: options.Box = None,
    fit: options.Fit = "crop",
    batch: options.Batch = 16,
    method: options.Methods = None,
    target: options.Targets = None,
    layer: options.Layers = None,
    set_: options.Settings = None,
    seed: options.Seed = 0,
    out: options.Out = Path("out"),
    signed: options.Signed = False,
    trust: options.TrustCards = False,
    overwrite: options.Overwrite = False,
) -> None:
    """Explain photographs: raw maps, overlays and contact sheets of every method, a table, and a summary.

    Photos that cannot be read are named and the others go on. The same command run again skips finished photos.
    """
    from sightline.cli._ask import build_job, settings_of
    from sightline.cli._folder import Folder
    from sightline.cli._report import announce, summarise, work
    from sightline.data.images import find_images

    paths = find_images(photos)
    given = {"weights": weights, "labels": labels, "decision": decision, "mean": mean, "std": std, "size": size}
    job = build_job(
        model,
        {**given, "precision": precision, "device": device},
        methods=method or ["grad-cam"],
        targets=target or [],
        layers=layer or [],
        settings=set_ or [],
        seed=seed,
        fit=fit,
        box=box,
        batch=batch,
    )
    job.signed, job.trust = signed, trust
    settings, about = settings_of(job, model, weights, target or [], seed)
    with Folder(out, settings, about, overwrite=overwrite) as job.folder:
        left = announce(job, paths)
        work(job, left, paths)
        summarise(job, paths)
    if job.failed:
        raise typer.Exit(1)
