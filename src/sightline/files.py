"""Files and folders that are either there in full or not at all."""

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from sightline.errors import StorageError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextmanager
def atomic_write(path: str | os.PathLike[str], *, size: int | None = None) -> Iterator[BinaryIO]:
    """Write a file so that readers see the old one or the whole new one, never a half.

    What is written goes to a temporary file in the same folder (made when missing), which takes the place of `path`
    when the block ends, and is removed when the block raises. A link is followed, not replaced.

    Args:
        path: The file to write; one that exists is replaced.
        size: Bytes to be written, where known, for the advice when they do not fit.

    Yields:
        A binary file to write to.

    Raises:
        StorageError: It cannot be written; the text names the path, the reason and what to do. Whatever else the
            block raises passes through.
    """
    target = _resolve(path)
    temporary = _sibling(target)
    with _guarded(path, target, temporary, size):
        if target.exists() and not target.is_file():
            raise StorageError(f"{path}: is a folder or a device, not a file; choose another name")
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # some file systems tell only here that there is no room
        temporary.replace(target)


@contextmanager
def atomic_folder(path: str | os.PathLike[str], *, replace: bool = False) -> Iterator[Path]:
    """Fill a folder so that it appears under its name only when it is complete.

    The block fills a temporary folder beside `path`, which is renamed when the block ends and removed, with all that
    is in it, when the block raises. With ``replace`` the old folder is set aside, exchanged, then deleted: should the
    machine stop between these steps, it still lies beside, under a name that starts with ``.tmp-``.

    Args:
        path: The folder to make.
        replace: Whether a folder that exists may be replaced, with everything in it.

    Yields:
        The temporary folder, to be filled.

    Raises:
        StorageError: It exists already (and ``replace`` is off), is no folder, or cannot be written. Whatever else
            the block raises passes through.
    """
    target = _resolve(path)
    temporary = _sibling(target)
    with _guarded(path, target, temporary, None):
        _check_free(path, target, replace=replace)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        yield temporary
        _check_free(path, target, replace=replace)  # somebody else may have been quicker
        _exchange(temporary, target)


def _exchange(temporary: Path, target: Path) -> None:
    if not target.exists():
        temporary.rename(target)
        return
    aside = _sibling(target)
    target.rename(aside)
    try:
        temporary.rename(target)
    except BaseException:
        aside.rename(target)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _check_free(path: str | os.PathLike[str], target: Path, *, replace: bool) -> None:
    if target.exists() and not target.is_dir():
        raise StorageError(f"{path}: is a file, not a folder; choose another name")
    if target.exists() and not replace:
        raise StorageError(f"{path}: exists already; choose another name, remove it, or ask for it to be replaced")


def _resolve(path: str | os.PathLike[str]) -> Path:
    return Path(os.path.realpath(path))


def _sibling(target: Path) -> Path:
    # The name does not grow with the target's, so that it cannot become too long for the file system.
    return target.with_name(f".tmp-{secrets.token_hex(8)}")


@contextmanager
def _guarded(path: str | os.PathLike[str], target: Path, temporary: Path, size: int | None) -> Iterator[None]:
    """Remove what is temporary after any exception, and turn errors of the disk into ours."""
    try:
        yield
    except BaseException as error:
        room = _free(temporary.parent)  # before the clean-up, which makes room
        _remove(temporary)
        if isinstance(error, StorageError) or not isinstance(error, OSError) or _elsewhere(error, target, temporary):
            raise
        failure = StorageError(f"{path}: could not be written: {_advice(error, size, room)}")
        failure.errno = error.errno
        raise failure from error


def _elsewhere(error: OSError, target: Path, temporary: Path) -> bool:
    """Whether the block failed at a file of its own, such as one that it reads from."""
    if not isinstance(error.filename, str):
        return False
    place = Path(error.filename)
    return place not in (target, temporary, *temporary.parents) and temporary not in place.parents


def _remove(temporary: Path) -> None:
    with suppress(OSError):
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


def _free(folder: Path) -> int | None:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def _advice(error: OSError, size: int | None, room: int | None) -> str:
    why = error.strerror or str(error)
    if error.errno in _FULL:
        needed = "" if size is None else f"{_bytes(size)} are needed, "
        left = "" if room is None else f"{needed}{_bytes(room)} are left; "
        return f"{why}: {left}free some space (or quota) or choose another disk"
    if error.errno in _FORBIDDEN:
        return f"{why}; choose a folder that you may write to"
    if error.errno == errno.EFBIG:
        return f"{why}; the file system or a limit (ulimit -f) allows no file of this size"
    return f"{why}; check the path and the disk"


def _bytes(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}" if unit != "bytes" else f"{count:.0f} bytes"
        count /= 1000
    return f"{count:.3g} TB"


def lock(folder: Path) -> BinaryIO | None:
    """Take a folder for this process alone, until what is returned is closed.

    The system takes the lock back when the process ends, however it ends. None where there are no locks (Windows).

    Raises:
        StorageError: Another process holds it, or the folder cannot be written.
    """
    try:
        import fcntl
    except ImportError:
        return None
    held: BinaryIO | None = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = (folder / ".lock").open("ab")
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as reason:
        if held is not None:
            held.close()
        raise StorageError(f"another process is writing to {folder}; wait for it, or choose another folder") from reason
    except OSError as reason:
        if held is None:
            why = reason.strerror or str(reason)
            raise StorageError(f"{folder} cannot be written ({why}); choose another folder") from reason
        # A file system without locks: go on without one.
    return held
