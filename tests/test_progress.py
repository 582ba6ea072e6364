"""How long work takes, in words."""

import pytest

from sightline.progress import duration

SPOKEN = {0.4: "0 s", 59.6: "1 min 00 s", 185: "3 min 05 s", 3599: "59 min 59 s", 4830: "1 h 20 min"}


@pytest.mark.parametrize(("seconds", "said"), SPOKEN.items())
def test_a_duration_in_words(seconds: float, said: str) -> None:
    assert duration(seconds) == said
