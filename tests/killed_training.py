"""Trainings killed at random moments: `python killed_training.py FOLDER KILLS`, run by test_training_attention.py."""

import sys
from pathlib import Path

import sightline as sl
from killing import Moved, main
from nets import ConvNet, images, seeded
from sightline.training.attention import fit_attention

SETTINGS = {
    "method": "tame",  # batch norms: buffers too must survive
    "layer": ["relu1", "relu2"],
    "epochs": 4,
    "batch": 4,
    "learning_rate": 1e-2,
    "checkpoint_steps": 2,
    "validation": 0.2,
}


def train(out: Path, moved: Moved) -> None:
    """The training."""
    classifier = sl.Classifier(seeded(ConvNet), size=16, decision="categorical")
    fit_attention(classifier, images(40), out=out, progress=moved, **SETTINGS)


if __name__ == "__main__":
    main(train, Path(sys.argv[1]), int(sys.argv[2]), most=10)
