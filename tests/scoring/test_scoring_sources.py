"""Every source gives the rows that `predict` gives for a list of them."""

import csv
import io
import json
import tarfile
import zipfile

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest

from skltransfer import score
from skltransfer.errors import FolderError, JobError, TableError
from skltransfer.scoring._source import select
from skltransfer.scoring._sources import open_source
from tests.scoring.support import EMOJI, TEXTS, failures, parts

#: Texts with what breaks readers of lines: commas, quotes, line breaks, an empty one.
ODD = ['a "quoted", text', "two\nlines", "", "naïve 🙂", *TEXTS[:60]]


def write_parquet(path, rows, group=25):
    pq.write_table(pa.table({"text": rows, "key": [f"k{i}" for i in range(len(rows))]}), path, row_group_size=group)


def write_arrow(path, rows):
    table = pa.table({"text": rows, "key": [f"k{i}" for i in range(len(rows))]})
    with pa.ipc.new_file(path, table.schema) as file:
        file.write_table(table, max_chunksize=17)


def write_csv(path, rows):
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "key"])
        writer.writerows([row, f"k{i}"] for i, row in enumerate(rows))


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps({"text": row, "key": f"k{i}"}) + "\n" for i, row in enumerate(rows)), "utf8")


WRITERS = {".parquet": write_parquet, ".arrow": write_arrow, ".csv": write_csv, ".jsonl": write_jsonl}


@pytest.mark.parametrize("size", [7, 1000])
@pytest.mark.parametrize("suffix", WRITERS)
def test_tables_give_what_predict_gives(tmp_path, texts, suffix, size):
    WRITERS[suffix](tmp_path / f"in{suffix}", ODD)
    scored = score(
        texts, tmp_path / f"in{suffix}", tmp_path / "out", column="text", id="key", rows_per_part=size, progress=False
    )
    found = parts(tmp_path / "out")
    assert (scored.rows, scored.failed) == (len(ODD), 0)
    assert found["id"].to_pylist() == [f"k{i}" for i in range(len(ODD))]
    assert found["prediction"].to_pylist() == texts.predict(ODD).tolist()
    probabilities = np.stack([found[f"probability_{name}"].to_numpy() for name in texts.classes_], axis=1)
    np.testing.assert_allclose(probabilities, texts.predict_proba(ODD), atol=1e-5)


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_no_more_of_a_file_is_held_than_what_is_read(tmp_path, suffix):
    file = tmp_path / f"in{suffix}"
    dice = np.random.default_rng(0)
    table = pa.table({"image": [dice.bytes(4_000) for _ in range(4000)]})  # 16 MB
    if suffix == ".parquet":
        pq.write_table(table, file, row_group_size=250)
    else:
        with pa.ipc.new_file(file, table.schema) as opened:
            opened.write_table(table, max_chunksize=250)
    del table
    before, most, rows = pa.total_allocated_bytes(), 0, 0
    source = open_source(file)
    source.selection = select(source, "image", None, None, frames=False, paths=False, expected=None)
    (unit,) = source.units(4000)
    for _, X in source.blocks(unit):
        most, rows = max(most, pa.total_allocated_bytes() - before), rows + len(X)
    assert rows == 4000
    assert most < 8e6, f"{most:,} of {file.stat().st_size:,} bytes are held"


def test_several_files_are_one_source_in_the_order_of_their_names(tmp_path, texts):
    for i in range(3):
        write_parquet(tmp_path / f"{i}.parquet", TEXTS[10 * i : 10 * i + 10])
    score(texts, str(tmp_path / "*.parquet"), tmp_path / "out", column="text", rows_per_part=4, progress=False)
    found = parts(tmp_path / "out")
    assert found["id"].to_pylist() == list(range(30))
    assert found["prediction"].to_pylist() == texts.predict(TEXTS[:30]).tolist()


@pytest.mark.parametrize("kind", [list, np.array, pd.Series, pl.Series, lambda x: pd.DataFrame({"t": x}), pa.array])
def test_rows_in_memory_give_what_predict_gives(tmp_path, texts, kind):
    rows = TEXTS[:30]
    source = pa.table({"t": kind(rows)}) if kind is pa.array else kind(rows)
    score(texts, source, tmp_path, rows_per_part=16, progress=False)
    assert parts(tmp_path)["prediction"].to_pylist() == texts.predict(rows).tolist()


def test_lines_of_a_file_are_texts(tmp_path, texts):
    (tmp_path / "in.txt").write_text("\n".join(TEXTS[:20]) + "\n", "utf8")
    score(texts, tmp_path / "in.txt", tmp_path / "out", progress=False)
    assert parts(tmp_path / "out")["prediction"].to_pylist() == texts.predict(TEXTS[:20]).tolist()


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, image in enumerate(EMOJI.images[:30]):
        (folder / f"{i:02d}.webp").write_bytes(image)
    (folder / "Thumbs.db").write_bytes(b"junk")
    return folder


def archive(photos, kind):
    """Pack photographs as an archive; the seventh is damaged."""
    contents = {path.name: path.read_bytes() for path in sorted(photos.glob("*.webp"))}
    contents["06.webp"] = b"damaged"
    target = photos.parent / f"all.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(target, "w") as file:
            for name, data in contents.items():
                file.writestr(name, data)
        return target
    with tarfile.open(target, "w:gz" if kind == "tar.gz" else "w") as file:
        for name, data in contents.items():
            for suffix, content in ((name, data), (name.replace(".webp", ".json"), b"{}")):
                info = tarfile.TarInfo(suffix)
                info.size = len(content)
                file.addfile(info, io.BytesIO(content))
    return target


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip"])
def test_archives_give_what_predict_gives(photos, images, kind):
    sink = photos.parent / "out"
    scored = score(images, archive(photos, kind), sink, rows_per_part=8, progress=False)
    found, expected = parts(sink), images.predict(EMOJI.images[:30]).tolist()
    expected[6] = None
    assert (scored.rows, scored.failed, scored.parts) == (30, 1, 4)
    assert found["prediction"].to_pylist() == expected
    assert found["id"].to_pylist()[0] == f"all.{kind}/00.webp"
    assert failures(sink)[0]["id"] == f"all.{kind}/06.webp"


def test_folders_name_rows_by_paths(photos, images):
    score(images, photos, photos.parent / "out", rows_per_part=8, progress=False)
    found = parts(photos.parent / "out")
    assert found["id"].to_pylist() == [f"{i:02d}.webp" for i in range(30)]
    assert found["prediction"].to_pylist() == images.predict(EMOJI.images[:30]).tolist()


@pytest.mark.parametrize("name", ["list.txt", "list.csv"])
def test_relative_paths_start_at_the_root(photos, images, name):
    lines = [path.name for path in sorted(photos.glob("*.webp"))]
    (photos.parent / name).write_text("\n".join((["path"] if name.endswith("csv") else []) + lines), "utf8")
    scored = score(images, photos.parent / name, photos.parent / "out", root=photos, progress=False)
    assert (scored.rows, scored.failed) == (30, 0)


def test_addresses_are_read_and_written(tmp_path, texts):
    fsspec = pytest.importorskip("fsspec")
    store = fsspec.filesystem("memory")
    write_parquet(tmp_path / "in.parquet", TEXTS[:30])
    store.pipe_file("/in/a.parquet", (tmp_path / "in.parquet").read_bytes())
    first = score(texts, "memory://in/a.parquet", "memory://out", column="text", rows_per_part=10, progress=False)
    again = score(texts, "memory://in/a.parquet", "memory://out", column="text", rows_per_part=10, progress=False)
    names = sorted(name.rpartition("/")[2] for name in store.ls("/out", detail=False))
    assert (first.rows, first.parts, again.seconds) == (30, 3, 0)
    assert [name.partition("-")[0] for name in names] == ["_SUCCESS.json", "_job", "failures.parquet", *["part"] * 3]
    store.rm("/", recursive=True)


def test_a_missing_column_is_named(tmp_path, texts):
    write_csv(tmp_path / "in.csv", TEXTS[:5])
    with pytest.raises(TableError, match=r"no column 'texts'.*Did you mean 'text'"):
        score(texts, tmp_path / "in.csv", tmp_path / "out", column="texts", progress=False)
    with pytest.raises(TableError, match=r"2 columns: 'text', 'key'.*column="):
        score(texts, tmp_path / "in.csv", tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [b'a,b\n"x\n', b"a,b\n1,2,3\n", b"a,b\n\xff,1\n"])
def test_a_table_that_cannot_be_read_is_refused(tmp_path, texts, content):
    (tmp_path / "in.csv").write_bytes(content)
    with pytest.raises(TableError, match="record 1, cannot be read"):
        score(texts, tmp_path / "in.csv", tmp_path / "out", column="a", progress=False)


def test_a_folder_of_something_else_is_refused(tmp_path, texts):
    (tmp_path / "note.md").write_text("x", "utf8")
    with pytest.raises(FolderError, match="holds no file that ends in"):
        score(texts, tmp_path, tmp_path / "out", progress=False)
    with pytest.raises(JobError, match=r"holds 'note.md' and no job"):
        score(texts, ["a"], tmp_path, progress=False)
