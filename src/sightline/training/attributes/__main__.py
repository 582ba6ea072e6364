"""`python -m sightline.training.attributes`: the classifiers that Sightline ships."""

import sys

from sightline.training.attributes.shipped import main

if __name__ == "__main__":
    sys.exit(main())
