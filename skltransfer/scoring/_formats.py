"""Files of parts: Parquet for programs, CSV and JSONL for people."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from skltransfer.errors import need


def to_parquet(table: Any) -> bytes:
    """Return the content of a Parquet file; only texts get a dictionary: of numbers it takes longer and is larger."""
    pa, pq = need("pyarrow", extra="score"), need("pyarrow.parquet", extra="score")
    texts = [field.name for field in table.schema if pa.types.is_string(field.type) and field.name != "id"]
    out = io.BytesIO()
    pq.write_table(table, out, use_dictionary=texts, compression="zstd")
    return out.getvalue()


def of_parquet(data: bytes) -> Any:
    """Read the content of a Parquet file, in this thread.

    A thread of Arrow that lets go of bytes of Python while the interpreter ends would abort the process.
    """
    file = need("pyarrow.parquet", extra="score").ParquetFile(io.BytesIO(data), pre_buffer=False)
    return file.read(use_threads=False)


def to_csv(table: Any) -> bytes:
    """Return lines with the names of the columns first; lists are written as JSON."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(table.column_names)
    columns = [column.to_pylist() for column in table.columns]
    for row in zip(*columns, strict=True):
        writer.writerow([json.dumps(cell) if isinstance(cell, list) else cell for cell in row])
    return out.getvalue().encode("utf8", "backslashreplace")


def to_jsonl(table: Any) -> bytes:
    """Return a JSON object for each row; numbers that JSON has not, NaN and infinity, are null."""
    rows = ({name: _plain(value) for name, value in row.items()} for row in table.to_pylist())
    return "".join(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows).encode("utf8", "replace")


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def join_parquet(parts: list[bytes]) -> bytes:
    """Return one Parquet file out of several."""
    pa = need("pyarrow", extra="score")
    return to_parquet(pa.concat_tables(map(of_parquet, parts), promote_options="default").combine_chunks())


def join_csv(parts: list[bytes]) -> bytes:
    """Return one CSV file: the names once."""
    return parts[0] + b"".join(part.partition(b"\n")[2] for part in parts[1:])


class Format(NamedTuple):
    """A format: from a table to bytes, and several such into one."""

    write: Callable[[Any], bytes]
    join: Callable[[list[bytes]], bytes]


FORMATS = {
    "parquet": Format(to_parquet, join_parquet),
    "csv": Format(to_csv, join_csv),
    "jsonl": Format(to_jsonl, b"".join),
}
