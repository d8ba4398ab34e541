"""Readers list and read; they decode nothing, leave out what systems leave, and drop nothing without a word."""

from pathlib import Path

import numpy as np
import pytest

from skltransfer import PretrainedEmbedder
from skltransfer.datasets import load_folder, load_table
from skltransfer.errors import FolderError, TableError
from tests.graphs import save_images
from tests.modalities.image.support import NOISE, encoded

JUNK = [
    ".DS_Store",
    "Thumbs.db",
    "THUMBS.DB",
    "desktop.ini",
    "._1.jpg",
    ".ipynb_checkpoints/1-checkpoint.jpg",
    "__MACOSX/1.jpg",
    "@eaDir/1.jpg",
]


@pytest.fixture
def photos(tmp_path):
    root = tmp_path / "photos"
    for name in ("dog/2.PNG", "dog/1.jpg", "cat/a/3.webp", "cat/b.JPEG", "cat/notes.txt", "readme.md", "top.jpg"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    for name in JUNK:
        for place in (root, root / "cat"):
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).touch()
    return root


def relative(paths, root):
    return [Path(path).relative_to(root).as_posix() for path in paths]


def test_folder_is_listed_by_class_and_path(photos):
    data = load_folder(photos)
    assert relative(data.paths, photos) == ["cat/a/3.webp", "cat/b.JPEG", "dog/1.jpg", "dog/2.PNG"]
    assert data.target.tolist() == [0, 0, 1, 1]
    assert data.target.dtype == np.int64
    assert data.target_names == ["cat", "dog"]


def test_files_that_are_not_taken_are_listed_but_for_junk(photos):
    assert relative(load_folder(photos).skipped, photos) == ["cat/notes.txt", "readme.md", "top.jpg"]


@pytest.mark.parametrize("form", [str, Path])
def test_paths_and_target_come_alone_as_well(photos, form):
    paths, target = load_folder(form(photos), return_X_y=True)
    assert (paths, target.tolist()) == (load_folder(photos).paths, [0, 0, 1, 1])
    assert all(type(path) is str for path in paths)


def test_home_folder_is_known(photos, monkeypatch):
    monkeypatch.setenv("HOME", str(photos.parent))
    assert load_folder("~/photos").paths == load_folder(photos).paths


def test_class_may_be_a_link(photos, tmp_path):
    (tmp_path / "owls").mkdir()
    (tmp_path / "owls" / "1.jpg").touch()
    (photos / "owl").symlink_to(tmp_path / "owls")
    (photos / "cat" / "circle").symlink_to(photos)
    data = load_folder(photos)
    assert data.target_names == ["cat", "dog", "owl"]
    assert len(data.paths) == 5


def test_nothing_is_opened(photos):
    for path in photos.rglob("*.*"):
        path.chmod(0)
    assert len(load_folder(photos).paths) == 4


def test_class_without_images_is_an_error(photos):
    (photos / "owl").mkdir()
    with pytest.raises(FolderError, match=r"No images in 'owl' of '.*photos'\. Add some \(\.bmp, .* or move the"):
        load_folder(photos)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", r"'.*nowhere' does not exist\. Pass a folder"),
        ("x" * 9999, r"xx \.\.\. x+' does not exist"),
        ("photos/top.jpg", r"top\.jpg' is a file\."),
    ],
)
def test_what_is_no_folder_is_named(photos, name, message):
    with pytest.raises(FolderError, match=message):
        load_folder(photos.parent / name)


def test_folder_without_subfolders_says_how_to_list_it(tmp_path):
    (tmp_path / "1.jpg").touch()
    with pytest.raises(FolderError, match=r"has no subfolders, and 1 images\. .*sorted\(Path\('.*'\)\.glob"):
        load_folder(tmp_path)


# ---------------------------------------------------------------------------------------------------------------------
# Tables


@pytest.fixture
def table(tmp_path):
    def write(text, name="labels.csv", encoding="utf8"):
        (tmp_path / name).write_bytes(text.encode(encoding))
        return tmp_path / name

    return write


def test_paths_of_a_table_are_relative_to_it(table, tmp_path, monkeypatch):
    file = table("file,label\nimages/1.jpg,cat\n/data/2.jpg,dog\nhttps://example.org/3.jpg,cat\n~/4.jpg,dog\n")
    data = load_table(file, column="file", target="label")
    assert data.paths == [str(tmp_path / "images/1.jpg"), "/data/2.jpg", "https://example.org/3.jpg", "~/4.jpg"]
    assert data.target.tolist() == ["cat", "dog", "cat", "dog"]
    monkeypatch.chdir(tmp_path)
    assert load_table("labels.csv", column="file").paths[0] == "images/1.jpg"


def test_root_is_where_paths_begin(table, tmp_path):
    assert load_table(table("f\n1.jpg\n"), column="f", root=tmp_path / "x").paths == [str(tmp_path / "x" / "1.jpg")]


@pytest.mark.parametrize(
    ("cells", "dtype", "values"),
    [
        (["1", "-2", "0"], np.int64, [1, -2, 0]),
        (["1.5", "2", "1e3"], np.float64, [1.5, 2, 1000]),
        (["0.5", "-0.25"], np.float64, [0.5, -0.25]),
        (["007", "7"], object, ["007", "7"]),
        (["1_000", "1"], object, ["1_000", "1"]),
        (["nan", "1"], object, ["nan", "1"]),
        (["inf", "1"], object, ["inf", "1"]),
        (["cat", "1"], object, ["cat", "1"]),
        ([str(2**70), "1"], object, [str(2**70), "1"]),
        (["1e30", "1"], np.float64, [1e30, 1]),
        (["0x1f", "1"], object, ["0x1f", "1"]),
    ],
)
def test_target_is_numbers_where_every_cell_is_one_for_sure(table, cells, dtype, values):
    file = table("f,y\n" + "".join(f"{i}.jpg,{cell}\n" for i, cell in enumerate(cells)))
    target = load_table(file, column="f", target="y").target
    assert target.dtype == dtype
    assert target.tolist() == values


def test_table_without_target_has_columns(table):
    data = load_table(table("f,n\n1.jpg,a\n"), column="f")
    assert data.target is None
    assert data.columns == {"f": ["1.jpg"], "n": ["a"]}


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("f\ty\n1, 2.jpg\t3\n", "a.tsv", {}),
        ("f;y\n1, 2.jpg;3\n", "a.csv", {"sep": ";"}),
        ('f,y\n"1, 2.jpg",3\n', "a.csv", {}),
        ('\ufefff,y\r\n"1, 2.jpg",3\r\n\r\n', "a.csv", {}),
    ],
    ids=["tabs", "semicolons", "quotes", "of a spreadsheet"],
)
def test_usual_forms_of_tables_are_read(table, text, name, options):
    data = load_table(table(text, name), column="f", target="y", **options)
    assert [Path(path).name for path in data.paths] == ["1, 2.jpg"]
    assert data.target.tolist() == [3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,y\na,1\n", r"has no column 'files'; it has 'file', 'y'\. Did you mean 'file'\?"),
        ("files;y\na;1\n", r"it has 'files;y'\..* Is it another separator: sep=';'\?"),
        ("files,y\na,1\n,2\nc,3\n", r"has nothing in column 'files' of row 3; fill or remove them"),
        ("files,y\na,1\nb,\nc,\n", r"has nothing in column 'y' of rows 3, 4;"),
        ("files,y\na,1\nb,2,3\n", r"has 2 columns in its first line, and another number in row 3; quote"),
        ("files,files,y\na,b,1\n", r"has several columns 'files'; rename all but one"),
        ("", r"has no column 'files'"),
        ('files,y\n"a,1\n', r"cannot be read with sep=','"),
    ],
)
def test_what_is_wrong_with_a_table_is_named(table, text, message):
    with pytest.raises(TableError, match=message):
        load_table(table(text), column="files", target="y")


def test_table_of_another_encoding_or_place_is_named(table, tmp_path):
    with pytest.raises(TableError, match=r"cannot be read with sep=',' \('utf-8' codec"):
        load_table(table("files\nä\n", encoding="latin1"), column="files")
    with pytest.raises(TableError, match=r"The table '.*nowhere\.csv' does not exist"):
        load_table(tmp_path / "nowhere.csv", column="files")
    with pytest.raises(TableError, match="is a folder: load_folder reads it"):
        load_table(tmp_path, column="files")


def test_what_readers_return_can_be_embedded(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        (tmp_path / "photos" / name / "1.png").write_bytes(encoded(NOISE))
    (tmp_path / "labels.csv").write_text("f,y\nphotos/cat/1.png,0\nphotos/dog/1.png,1\n")
    (tmp_path / "model").mkdir()
    embedder = PretrainedEmbedder(save_images(tmp_path / "model"))
    rows = embedder.transform(load_folder(tmp_path / "photos").paths)
    np.testing.assert_array_equal(rows, embedder.transform(load_table(tmp_path / "labels.csv", column="f").paths))
    with pytest.raises(TypeError, match="load_folder"):
        embedder.transform(str(tmp_path / "photos"))
