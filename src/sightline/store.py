"""Runs on disk: the folder of a study, written as it goes; a kill at any moment loses nothing that was finished.

manifest.json      what was asked of what, under which protocol
finished.jsonl     the journal: one line a finished part, appended when its files are there
rows/*.parquet     tidy rows, one file a part
curves/*.parquet   what values were computed from, likewise; other tables of a study have a folder each
pending/           finished pieces of the part that is being worked on
thumbs/            small pictures
kept/              arrays that are too large for tables
"""

import io
import json
import os
import re
import shutil
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from sightline.errors import StorageError
from sightline.files import atomic_write, lock

if TYPE_CHECKING:
    import polars

FORMAT = "sightline run 1"
TABLES = (
    "rows",
    "curves",
    "images",
    "maps",
    "means",
    "edits",
    "biases",
    "decisions",
    "masked",
    "similarity",
    "validity",
    "parts",
)
PENDING, PICTURES, KEPT = "pending", "thumbs", "kept"
_MANIFEST, _JOURNAL = "manifest.json", "finished.jsonl"

Part = dict[str, Any]


class Run:
    """A study's folder, open for writing; a context, so that one process at a time writes there.

    Args:
        path: The folder; made when missing.
        manifest: What the run is. Its entry `settings` has what decides about the numbers: a folder that was made with
            other settings is refused.
        grows: Entries of the settings that may have more keys than before.
        overwrite: Remove what an earlier run left there, and nothing else.

    Attributes:
        manifest: As it stands on disk.
        parts: The journal: what each finished part says of itself, with its `name`.

    Raises:
        StorageError: It holds something else or other settings, another process is writing there, or there is no space.
    """

    _lock: BinaryIO | None = None

    def __init__(
        self,
        path: str | os.PathLike[str],
        manifest: Mapping[str, Any],
        *,
        grows: Sequence[str] = (),
        overwrite: bool = False,
    ) -> None:
        self.path = Path(path)
        self.manifest: dict[str, Any] = json.loads(json.dumps({"format": FORMAT, **manifest}))
        try:
            self._open(grows, overwrite=overwrite)
        except BaseException:
            self.close()
            raise

    def _open(self, grows: Sequence[str], *, overwrite: bool) -> None:
        _check_free(self.path)
        self._lock = lock(self.path)
        if overwrite:
            _clear(self.path)
        earlier = read_manifest(self.path) if (self.path / _MANIFEST).exists() else None
        self.parts: list[Part] = _journal(self.path, mend=True)
        if earlier is not None and (self.parts or any((self.path / PENDING).glob("*.parquet"))):
            _check_same(self.path, earlier, self.manifest, grows)
            self.manifest["created"] = earlier.get("created", self.manifest.get("created"))
        self.write_manifest()
        self._sweep()

    def _sweep(self) -> None:
        """Remove what a killed process left: temporary files, and tables of parts that are not in the journal."""
        for place in (self.path, *(self.path / name for name in (*TABLES, PENDING, PICTURES))):
            for left in place.glob(".tmp-*"):
                left.unlink(missing_ok=True)
        names = {part["name"] for part in self.parts}
        for file in (f for table in TABLES for f in (self.path / table).glob("*.parquet")):
            if file.stem not in names:
                file.unlink(missing_ok=True)

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let another process write there."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def write_manifest(self) -> None:
        """Write the manifest as it is now."""
        data = json.dumps(self.manifest, indent=2).encode()
        with atomic_write(self.path / _MANIFEST, size=len(data)) as file:
            file.write(data)

    def write(self, table: str, name: str, frame: "polars.DataFrame") -> None:
        """Write one Parquet file of a table, whole or not at all.

        Raises:
            StorageError: No space; what was there before is untouched.
        """
        data = io.BytesIO()  # Polars would report a full disk as an error of its own
        frame.write_parquet(data)
        with atomic_write(self.path / table / f"{name}.parquet", size=data.tell()) as file:
            file.write(data.getvalue())

    def piece(self, name: str) -> "polars.DataFrame | None":
        """A piece of an unfinished part that an earlier process finished, or None."""
        import polars

        path = self.path / PENDING / f"{name}.parquet"
        return polars.read_parquet(path) if path.is_file() else None

    def finish(self, part: Part, tables: Mapping[str, "polars.DataFrame"]) -> None:
        """Write the tables of a part, then its line in the journal; its pieces are no longer needed after that.

        Raises:
            StorageError: No space; the part counts as unfinished.
        """
        for table, frame in tables.items():
            if len(frame):
                self.write(table, part["name"], frame)
        line = json.dumps(part).encode() + b"\n"
        journal = self.path / _JOURNAL
        try:
            before = journal.stat().st_size if journal.exists() else 0
            try:
                with journal.open("ab") as file:
                    file.write(line)
                    file.flush()
                    os.fsync(file.fileno())
            except OSError:
                os.truncate(journal, before)
                raise
        except OSError as reason:
            why = reason.strerror or str(reason)
            raise StorageError(
                f"{journal}: could not be written ({why}); free some space, and the same run goes on"
            ) from reason
        self.parts.append(part)
        for piece in (self.path / PENDING).glob(f"{part['name']}~*.parquet"):
            piece.unlink(missing_ok=True)

    def tidy(self) -> None:
        """Remove pieces that belong to no finished part; at the end of a run."""
        shutil.rmtree(self.path / PENDING, ignore_errors=True)


def read_manifest(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The manifest of a run.

    Raises:
        StorageError: There is none, or it is not ours.
    """
    file = Path(path) / _MANIFEST
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        if found.get("format") != FORMAT:
            raise ValueError(f"its format is {found.get('format')!r}, not {FORMAT!r}")
    except FileNotFoundError as reason:
        raise StorageError(f"{path} holds no run: {_MANIFEST} is missing; check the folder's name") from reason
    except (OSError, ValueError, AttributeError) as reason:
        raise StorageError(f"{file} cannot be read ({reason}); run again into another folder") from reason
    return dict(found)


def read_parts(path: str | os.PathLike[str]) -> list[Part]:
    """The finished parts of a run, in the order they were finished; an empty list where there is no journal yet.

    Raises:
        StorageError: The journal is broken.
    """
    return _journal(Path(path))


def table_files(path: str | os.PathLike[str], table: str = "rows") -> list[Path]:
    """The Parquet files of a table, one a finished part: for tables that are too large to be read at once."""
    read_manifest(path)
    names = [part["name"] for part in _journal(Path(path))]
    return [file for name in names if (file := Path(path) / table / f"{name}.parquet").exists()]


def read_table(
    path: str | os.PathLike[str], table: str = "rows", *, where: "polars.Expr | None" = None
) -> "polars.DataFrame":
    """A table of a run, from its finished parts; of a run that is still going, those finished so far.

    Args:
        path: The run's folder.
        table: `rows` or `curves`.
        where: Which rows; by default all of them. What is left out is never held.

    Raises:
        StorageError: No run, or a broken file; the text names it.
    """
    import polars

    files = table_files(path, table)
    if not files:
        return polars.DataFrame()
    try:
        schema: dict[str, Any] = {}  # of all parts: another version that went on may have more columns, or fewer
        for file in files:
            schema |= polars.read_parquet_schema(file)
        found = polars.scan_parquet(files, schema=schema, missing_columns="insert")
        return (found if where is None else found.filter(where)).collect()
    except (OSError, polars.exceptions.PolarsError) as reason:
        raise StorageError(f"{table}/ of {path} cannot be read ({reason}); run again into another folder") from reason


def slug(text: str) -> str:
    """A label as part of a file's name: `rise` stays, `rise(masks=500)` -> `rise_masks_500-be10a9fc`.

    Labels that are not the same give names that are not the same: what a name cannot hold is told by its CRC-32.
    """
    kept = re.sub(r"[^\w.+-]+", "_", text).strip("_")[:80]
    return kept if kept == text else f"{kept}-{zlib.crc32(text.encode()):08x}"


def _check_free(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise StorageError(f"{path} is a file, not a folder; choose another name for the run")
    if path.is_dir() and not (path / _MANIFEST).exists():
        left = [p.name for p in path.iterdir() if not p.name.startswith(".")]
        if left:
            raise StorageError(f"{path} holds {left[0]!r} and no run of ours; choose an empty or a new folder")


def _clear(path: Path) -> None:
    """Remove what an earlier run made. The journal goes first, so that an interrupted clearing can be repeated."""
    try:
        (path / _JOURNAL).unlink(missing_ok=True)
        for place in (path / name for name in (*TABLES, PENDING, PICTURES, KEPT)):
            if place.is_dir():
                shutil.rmtree(place)
        (path / _MANIFEST).unlink(missing_ok=True)
    except OSError as reason:
        raise StorageError(f"{path} cannot be cleared ({reason}); choose another folder") from reason


def _check_same(path: Path, old: Mapping[str, Any], new: Mapping[str, Any], grows: Sequence[str]) -> None:
    changed = _changes("study", old.get("study"), new.get("study"))
    before, now = dict(old.get("settings") or {}), dict(new.get("settings") or {})
    for entry in grows:
        gone = [k for k in before.setdefault(entry, {}) if k not in now.get(entry, {})]
        changed += [f"{entry}.{k} was asked and is not any more: name it again, what is finished stays" for k in gone]
        before[entry] = {k: v for k, v in before[entry].items() if k not in gone}
        now[entry] = {k: v for k, v in now.get(entry, {}).items() if k in before.get(entry, {})}
    changed += [text for entry in {**before, **now} for text in _changes(entry, before.get(entry), now.get(entry))]
    if changed:
        raise StorageError(
            f"{path} holds rows that were made otherwise: {'; '.join(changed[:4])}. Choose another folder, or ask for "
            "it to be overwritten"
        )


def _changes(where: str, old: Any, new: Any) -> "list[str]":
    """What differs between two entries, each named by its place."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        keys = sorted({*old, *new})
        return [text for key in keys for text in _changes(f"{where}.{key}", old.get(key), new.get(key))]
    return [] if old == new else [f"{where} was {_short(old)} and is now {_short(new)}"]


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _journal(path: Path, *, mend: bool = False) -> list[Part]:
    """Finished parts; a last line that was cut off by a kill does not count, and is taken away by a writer."""
    journal = path / _JOURNAL
    if not journal.exists():
        return []
    try:
        data = journal.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if mend and len(whole) < len(data):
            os.truncate(journal, len(whole))
        return [json.loads(line) for line in whole.splitlines() if line.strip()]
    except (OSError, ValueError) as reason:
        raise StorageError(f"{journal} cannot be read ({reason}); run again into another folder") from reason
