"""What Sightline raises: one parent to catch, and a child for each thing that a user can mend."""


class SightlineError(Exception):
    """Parent of every error that Sightline raises on purpose; its text names the thing and what to do."""


class InputError(SightlineError, ValueError):
    """Pixels, files or settings that cannot be used: wrong shape, NaN, outside [0, 1], a truncated image."""


class TargetError(SightlineError, ValueError):
    """A target that the classifier cannot answer: out of range, an unknown label, a count that fits nothing."""


class LayerError(SightlineError, ValueError):
    """A layer that cannot be explained: unknown, without a spatial map, or disconnected from the score."""


class ModelError(SightlineError, RuntimeError):
    """A model or its weights that cannot be used: unknown source, a state dict that does not fit, NaN outputs."""


class OutOfMemoryError(ModelError):
    """A forward pass that does not fit into memory; fewer images at a time may."""


class MethodError(SightlineError, ValueError):
    """A method that is unknown, gets a setting that it does not have, or does not apply to this classifier."""


class MetricError(SightlineError, ValueError):
    """A metric that is unknown, gets a setting that it does not have, or needs what was not given."""


class StorageError(SightlineError, OSError):
    """Something that could not be written or read back: no space, a folder that is not ours, a broken file."""


class MissingExtraError(SightlineError, ImportError):
    """An optional library is needed; the text names the extra to install."""


class SightlineWarning(UserWarning):
    """Something that a user should know but that does not stop the work."""


def out_of_memory(reason: BaseException) -> bool:
    """Whether an exception says that memory ran out, on whatever device."""
    text = str(reason).casefold()
    return isinstance(reason, MemoryError | OutOfMemoryError) or "out of memory" in text or "allocate memory" in text
