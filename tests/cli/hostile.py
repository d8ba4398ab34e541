"""Hostile values for the command line: words, files, cards, folders of rows."""

import itertools
import json
import os
import sqlite3
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

ESCAPE = "\x1b]0;owned\x07\x1b[2J"
WORDS = [
    "", " ", "x" * 100_000, "'" + "y" * 5000, f"{ESCAPE}red", "a\nskltransfer: all is well", "nul\0byte",
    "\udc80\ud800", "\u202egnp.exe", ".", "..", "/dev/null", "/dev/zero", "/dev/full", "/dev/stdin", "missing/file",
    "missing.onnx", "-", "-1", "9" * 5000, "1" + "0" * 400, "1e999", "nan", "inf", "0", "nan,nan,nan", "1,2",
    "1e9,1e9,1e9", "0,0,0", "4097,4097", "-5,-5", "~", "~nobody/x", "%s%n%d", "{0.__class__}", "hf://",
    "hf://a/b/c.onnx", "hf://../../x.onnx", "hf://a--b/c@main/d.onnx", "vision-mini/../..",
    "cuda:99999999999999999999", "tensorrt:all", "é" * 300 + ".onnx", "a/" * 3000 + "b.onnx", "😀.png", "$(reboot)",
    "; rm -rf", "--help=1", "\ufeff", "text-mini\n",
]  # fmt: skip

NPY = b"\x93NUMPY\x01\x00"


def npy(header: str, data: bytes = b"") -> bytes:
    """Return a .npy file with any header."""
    return NPY + struct.pack("<H", len(header)) + header.encode("latin1") + data


ARRAYS = {
    "empty": b"",
    "magic": NPY,
    "text": b"not an array",
    "pickle": npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}\n", b"cos\nsystem\n(S'touch owned'\ntR."),
    "huge": npy("{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999,)}\n"),
    "negative": npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -8)}\n", bytes(64)),
    "number": npy("{'descr': '<f8', 'fortran_order': False, 'shape': ()}\n", bytes(8)),
    "none": npy("{'descr': '<f8', 'fortran_order': False, 'shape': (0, 3)}\n"),
    "record": npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,)}\n", bytes(8)),
    "code": npy("__import__('os').system('touch owned')\n"),
    "nested": npy("(" * 9000 + ")" * 9000 + "\n"),
    "long": npy("{'descr': '<f8'," + " " * 60_000 + "}\n"),
    "odd": npy("{'descr': '<M8[ns]', 'fortran_order': False, 'shape': (3,)}\n", bytes(24)),
}


def cards(good: dict) -> Iterator[tuple[str, str]]:
    """Yield names and texts of hostile card.json files, made from a good one."""
    yield "nested", '{"a":' * 100_000 + "1" + "}" * 100_000
    yield "brackets", "[" * 100_000
    yield "deep", json.dumps({**good, "measured": json.loads("[" * 400 + "]" * 400)})
    yield from (("text", "no JSON"), ("list", "[1]"), ("nothing", ""), ("digits", '{"schema": ' + "9" * 9999 + "}"))
    yield "surrogates", json.dumps({**good, "name": "\ud800", "license": "\udfff"})
    yield "keys", json.dumps({**good, **{f"k{i}{ESCAPE}": i for i in range(3000)}})
    odd = ["x" * 1_000_000, -1, 1e400, float("nan"), True, [], {}, [[]], {"a": {"b": 1}}, ESCAPE, None, "x\ny", 2**70]
    fields = [
        "schema",
        "name",
        "modality",
        "files",
        "input",
        "layer",
        "pool",
        "layers",
        "license",
        "golden",
        "measured",
    ]
    for number, (field, value) in enumerate(itertools.product([*fields, "description", "revision"], odd)):
        if number % 3 == 0:
            yield f"{field}-{number}", json.dumps({**good, field: value})
    for number, (field, value) in enumerate(
        itertools.product(["path", "sha256", "bytes"], [*odd, "x", "../x", "/dev/zero"])
    ):
        if number % 2 == 0:
            entry = {**good["files"]["model"], field: value}
            yield f"file-{field}-{number}", json.dumps({**good, "files": {"model": entry}})
    for number, (field, value) in enumerate(itertools.product(good["input"], odd)):
        if number % 5 == 0:
            yield f"input-{field}-{number}", json.dumps({**good, "input": {**good["input"], field: value}})
    for number, rows in enumerate([["x"], [[]], [[1], [1, 2]], [[float("nan")]], "x", [["1"]], {"a": 1}, [[1e400]]]):
        yield f"golden-{number}", json.dumps({**good, "golden": {"rows": rows}})


def make_files(folder: Path) -> list[str]:
    """Create hostile files and folders; return their paths."""
    for name, content in ARRAYS.items():
        (folder / f"{name}.npy").write_bytes(content)
    with zipfile.ZipFile(folder / "archive.npy", "w") as archive:
        archive.writestr("a.npy", "x")
    np.savez(folder / "real.npz", a=np.zeros(3))
    (folder / "zip.zip").write_bytes((folder / "archive.npy").read_bytes())
    (folder / "broken.zip").write_bytes(b"PK\x03\x04" + bytes(99))
    for name in ("empty.onnx", "empty.txt", "empty.png"):
        (folder / name).touch()
    (folder / "garbage.onnx").write_bytes(bytes(range(256)) * 9)
    (folder / "latin.txt").write_bytes(b"\xff\xfe\x00caf\xe9")
    for name in ("folder.onnx", "folder.npy", "void", f"odd{ESCAPE}", "classes/a", "classes/b"):
        (folder / name).mkdir(parents=True)
    os.mkfifo(folder / "fifo.onnx")
    os.mkfifo(folder / "fifo.npy")
    secret = folder.parent / "secret"
    secret.write_text("TOP-SECRET-TOP-SECRET")
    for name in ("linked", "linked card"):
        (folder / name).mkdir()
    (folder / "linked" / "model.onnx").symlink_to(secret)
    (folder / "linked card" / "card.json").symlink_to(secret)
    (folder / "link.onnx").symlink_to(secret)
    (folder / "loop.onnx").symlink_to("loop.onnx")
    return sorted(str(path) for path in folder.rglob("*"))


def make_caches(folder: Path) -> list[str]:
    """Create folders whose rows.sqlite is hostile; return their paths."""
    statements = {
        "null": "CREATE TABLE rows (id INTEGER PRIMARY KEY, key BLOB UNIQUE, record BLOB)",
        "other": "CREATE TABLE rows (key, record)",
        "view": "CREATE VIEW rows AS SELECT 1 AS id, x'00' AS key, x'00' AS record",
    }
    for name, statement in statements.items():
        (folder / name).mkdir(parents=True)
        db = sqlite3.connect(folder / name / "rows.sqlite")
        db.execute(statement)
        if name != "view":
            db.execute("INSERT INTO rows (key, record) VALUES (NULL, NULL), (?, 5)", [bytes(16) + ESCAPE.encode()])
        db.commit(), db.close()
    for name in ("fifo", "void", "text", "zero", "link", "open"):
        (folder / name).mkdir()
    os.mkfifo(folder / "fifo" / "rows.sqlite")
    (folder / "text" / "rows.sqlite").write_text("no database")
    (folder / "zero" / "rows.sqlite").touch()
    (folder / "link" / "rows.sqlite").symlink_to("/etc/passwd")
    (folder / "open").chmod(0o777)
    return sorted(str(path) for path in folder.iterdir())
