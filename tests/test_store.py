"""Runs on disk: one writer, other settings refused, nothing half, nothing lost."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import torch

from sightline import files, store
from sightline.errors import StorageError
from sightline.store import Run

MANIFEST = {"study": "test", "settings": {"a": 1, "methods": {"x": {"k": 1}}}, "created": "then"}
FRAME = pl.DataFrame({"n": [1, 2]})


def part(name="p0", **more):
    return {"name": name, "images": ["a", "b"], **more}


def changed(**settings):
    return {**MANIFEST, "settings": {**MANIFEST["settings"], **settings}, "created": "now"}


def filled(path, names=("p0",)):
    with Run(path, MANIFEST) as run:
        for name in names:
            run.finish(part(name), {"rows": FRAME.with_columns(name=pl.lit(name))})
    return path


def test_what_is_finished_is_there_for_the_next_process(tmp_path):
    filled(tmp_path / "run", ["p0", "p1"])
    with Run(tmp_path / "run", MANIFEST) as run:
        assert [p["name"] for p in run.parts] == ["p0", "p1"]
        assert run.manifest["created"] == "then"  # when it was begun
    table = store.read_table(tmp_path / "run")
    assert table["name"].to_list() == ["p0", "p0", "p1", "p1"]
    assert store.read_manifest(tmp_path / "run")["format"] == store.FORMAT
    assert len(store.read_table(tmp_path / "run", "curves")) == 0


def test_other_settings_are_refused_by_name(tmp_path):
    filled(tmp_path / "run")
    for settings, text in (
        ({"a": 2}, "a was 1 and is now 2"),
        ({"methods": {"x": {"k": 5}}}, r"methods\.x\.k was 1 and is now 5"),
        ({"methods": {}}, r"methods\.x was .* and is now null"),
        ({"methods": {"x": {"k": 1}, "y": {}}}, r"methods\.y was null"),
        ({"more": [1]}, r"more was null and is now \[1\]"),
    ):
        with pytest.raises(StorageError, match=text):
            Run(tmp_path / "run", changed(**settings))
    with pytest.raises(StorageError, match='study was "test" and is now "other"'):
        Run(tmp_path / "run", {**MANIFEST, "study": "other"})
    assert store.read_manifest(tmp_path / "run")["settings"] == MANIFEST["settings"]


def test_entries_that_grow_may_have_more_keys_but_not_other_ones(tmp_path):
    filled(tmp_path / "run")
    with Run(tmp_path / "run", changed(methods={"x": {"k": 1}, "y": {}}), grows=["methods"]) as run:
        assert set(run.manifest["settings"]["methods"]) == {"x", "y"}
    with pytest.raises(StorageError, match=r"methods\.y was asked and is not any more: name it again"):
        Run(tmp_path / "run", MANIFEST, grows=["methods"])


def test_a_folder_without_any_row_takes_new_settings(tmp_path):
    Run(tmp_path / "run", MANIFEST).close()
    with Run(tmp_path / "run", changed(a=2)) as run:
        assert run.manifest["created"] == "now"


def test_overwriting_removes_what_is_ours_and_nothing_else(tmp_path):
    run = filled(tmp_path / "run")
    (run / "notes.txt").write_text("mine")
    (run / "mine").mkdir()
    (run / "mine" / "data.parquet").write_bytes(b"x")
    with Run(run, changed(a=2), overwrite=True) as again:
        assert again.parts == []
    assert not (run / "rows").exists()
    assert (run / "notes.txt").read_text() == "mine"
    assert (run / "mine" / "data.parquet").exists()


def test_two_processes_do_not_write_to_one_folder(tmp_path):
    pytest.importorskip("fcntl")
    code = (
        "import sys\nfrom sightline.store import Run\nfrom sightline.errors import StorageError\n"
        "try:\n    Run(sys.argv[1], {'study': 'test', 'settings': {}})\n"
        "except StorageError as reason:\n    print(reason)\n"
    )
    with Run(tmp_path / "run", MANIFEST):
        other = subprocess.run([sys.executable, "-c", code, tmp_path / "run"], capture_output=True, text=True)
        assert f"another process is writing to {tmp_path / 'run'}" in other.stdout
        with pytest.raises(StorageError, match="another process is writing"):  # nor twice in one
            Run(tmp_path / "run", MANIFEST)
    Run(tmp_path / "run", MANIFEST).close()


def test_folders_of_others_are_left_alone(tmp_path):
    (tmp_path / "data.txt").write_text("x")
    with pytest.raises(StorageError, match=r"holds 'data\.txt' and no run of ours"):
        Run(tmp_path, MANIFEST)
    with pytest.raises(StorageError, match="is a file, not a folder"):
        Run(tmp_path / "data.txt", MANIFEST)
    with pytest.raises(StorageError, match=r"holds no run: manifest\.json is missing"):
        store.read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": "other"}')
    with pytest.raises(StorageError, match="its format is 'other'"):
        store.read_table(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(StorageError, match="cannot be read"):
        Run(tmp_path, MANIFEST)


def test_a_line_that_a_kill_cut_off_does_not_count(tmp_path):
    path = filled(tmp_path / "run", ["p0", "p1"])
    journal = path / "finished.jsonl"
    journal.write_bytes(journal.read_bytes()[:-5])
    assert len(store.read_table(path)) == 2  # a reader leaves the journal as it is
    assert not journal.read_bytes().endswith(b"\n")
    (path / "rows" / ".tmp-1234").write_bytes(b"half")
    with Run(path, MANIFEST) as run:
        assert [p["name"] for p in run.parts] == ["p0"]
        assert [f.name for f in (path / "rows").iterdir()] == ["p0.parquet"]  # what is in no journal is gone
        run.finish(part("p1"), {"rows": FRAME})
    assert [json.loads(line)["name"] for line in journal.read_text().splitlines()] == ["p0", "p1"]


def test_a_broken_journal_or_table_is_told(tmp_path):
    path = filled(tmp_path / "run")
    (path / "rows" / "p0.parquet").write_bytes(b"PAR1")
    with pytest.raises(StorageError, match=r"rows/ of .* cannot be read"):
        store.read_table(path)
    (path / "finished.jsonl").write_text("no json\n")
    with pytest.raises(StorageError, match=r"finished\.jsonl cannot be read"):
        Run(path, MANIFEST)
    Run(path, MANIFEST, overwrite=True).close()


def test_pieces_last_until_their_part_is_finished(tmp_path):
    with Run(tmp_path / "run", MANIFEST) as run:
        run.write(store.PENDING, "p0~x", FRAME)
        assert run.piece("p0~y") is None
    with Run(tmp_path / "run", MANIFEST) as run:
        assert run.piece("p0~x").equals(FRAME)
        run.finish(part(), {"rows": FRAME})
        assert run.piece("p0~x") is None
        run.tidy()
    assert not (tmp_path / "run" / store.PENDING).exists()


def test_pieces_hold_other_settings_off_too(tmp_path):
    with Run(tmp_path / "run", MANIFEST) as run:
        run.write(store.PENDING, "p0~x", FRAME)
    with pytest.raises(StorageError, match="a was 1 and is now 2"):
        Run(tmp_path / "run", changed(a=2))


@pytest.mark.parametrize("where", ["table", "journal"])
def test_a_full_disk_leaves_the_part_unfinished(tmp_path, monkeypatch, where):
    path = filled(tmp_path / "run")
    calls = []

    def full(descriptor):
        calls.append(descriptor)
        if (where == "table") or len(calls) > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    run = Run(path, MANIFEST)
    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(StorageError, match=r"No space left on device.* free some space"):
        run.finish(part("p1"), {"rows": FRAME})
    monkeypatch.undo()
    run.close()
    with Run(path, MANIFEST) as again:
        assert [p["name"] for p in again.parts] == ["p0"]
    assert len(store.read_table(path)) == 2


def test_a_disk_that_takes_a_part_of_a_file_only(tmp_path):
    """The system itself refuses while the file is written, as a full disk does."""
    resource = pytest.importorskip("resource")
    large = pl.DataFrame({"n": torch.rand(20_000).tolist()})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Run(tmp_path / "run", MANIFEST) as run:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
        try:
            with pytest.raises(StorageError, match=r"p0\.parquet: could not be written"):
                run.finish(part(), {"rows": large})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert run.parts == []
        run.finish(part(), {"rows": large})
    assert store.read_table(tmp_path / "run").equals(large)


def test_a_folder_that_cannot_be_written_is_told():
    if not Path("/proc/self").is_dir():
        pytest.skip("no folder here that nobody can write to")
    with pytest.raises(StorageError, match="cannot be written"):
        Run("/proc/self/run", MANIFEST)


def test_labels_become_names_of_files():
    assert store.slug("grad-cam++") == "grad-cam++"
    assert store.slug("rise (masks=500)").startswith("rise_masks_500-")
    assert store.slug("grad-cam++ @ a/b.c").startswith("grad-cam++_a_b.c-")


def test_names_of_files_tell_all_labels_apart():
    labels = ["l-cam", "l-cam*", "l-cam **", "l_cam", "l cam", "x" * 100, "x" * 101, "*", "**"]
    names = {store.slug(label) for label in labels}
    assert len(names) == len(labels)
    assert all(len(name) < 100 and "/" not in name for name in names)


def test_parts_of_versions_that_write_other_columns(tmp_path):
    """A run may be gone on with by a later version and then by an earlier one: what a part lacks is null."""
    frames = [FRAME, FRAME.with_columns(more=pl.lit(0.5)), FRAME]
    with Run(tmp_path / "run", MANIFEST) as run:
        for number, frame in enumerate(frames):
            run.finish(part(f"p{number}"), {"rows": frame})
    assert store.read_table(tmp_path / "run").equals(pl.concat(frames, how="diagonal"))
