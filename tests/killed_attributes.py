"""Trainings of attributes killed at random moments: `python killed_attributes.py FOLDER KILLS`, for its test."""

import sys
from pathlib import Path

from attributes_case import NAMES, coloured
from killing import Moved, main
from sightline.training.attributes import fit_attributes


def train(out: Path, moved: Moved) -> None:
    """The training."""
    settings = {"epochs": 4, "batch": 8, "checkpoint_steps": 2, "validation": coloured(16, seed=9), "patience": None}
    fit_attributes(
        coloured(40),
        out=out,
        attributes=NAMES,
        backbone="timm:test_resnet",
        options={"drop_rate": 0.3},  # dropout draws random numbers too
        size=32,
        progress=moved,
        **settings,
    )


if __name__ == "__main__":
    main(train, Path(sys.argv[1]), int(sys.argv[2]), most=7)
