"""Tables: Parquet and Arrow files, and tables in memory."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

from skltransfer._engine import runtime
from skltransfer.errors import TableError, need, shorten
from skltransfer.scoring._files import File, is_address, open_binary
from skltransfer.scoring._source import Source
from skltransfer.scoring._units import BLOCK, Block, Unit, cut, numbered


class Cursor:
    """Reads on where the unit before ended, so that consecutive units of one row group decode it once.

    Parameters
    ----------
    file : int
        Position of the file in the listing.
    position : int
        Row that the first of `tables` begins with.
    tables : iterator of pyarrow.Table
        All rows from there on.
    """

    def __init__(self, file: int, position: int, tables: Iterator[Any]) -> None:
        self.file, self.position, self._tables, self._rest = file, position, tables, None

    def take(self, rows: int) -> Iterator[Any]:
        """Yield tables of so many rows in all; fewer, if there are no more."""
        while rows > 0:
            table = next(self._tables, None) if self._rest is None else self._rest
            if table is None:
                return
            part = table.slice(0, rows)
            self._rest = table.slice(rows) if rows < table.num_rows else None
            rows -= part.num_rows
            self.position += part.num_rows
            yield part


class Table(Source):
    """Rows with columns, read as tables of pyarrow."""

    def __init__(self, files: Sequence[File] = (), folder: str = "") -> None:
        super().__init__(files, folder)
        self._cursor: Cursor | None = None

    @abstractmethod
    def tables(self, file: int, first: int) -> Iterator[Any]:
        """Read tables from a row of a file to its end; only the columns that are selected."""

    def blocks(self, unit: Unit) -> Iterator[Block]:
        """Read the rows of a unit."""
        cursor = self._cursor
        if cursor is None or (cursor.file, cursor.position) != (unit.file, unit.first):
            cursor = self._cursor = Cursor(unit.file, unit.first, self.tables(unit.file, unit.first))
        start = unit.start
        for table in cursor.take(unit.rows):
            yield self.block(table, start)
            start += table.num_rows

    def block(self, table: Any, start: int) -> Block:
        """Turn a table into what the pipeline is given."""
        chosen, name = self.selection.column, self.selection.id
        ids = self.row_ids(start, table.num_rows) if name is None else table.column(name).to_pylist()
        if isinstance(chosen, str):
            return Block(ids, self.selection.located(table.column(chosen).to_pylist()))
        need("pandas", extra="compare")
        return Block(ids, table.select(list(chosen or ())).to_pandas())


class Parquet(Table):
    """Parquet files; units are ranges along row groups."""

    kind: ClassVar = "parquet"

    def columns(self) -> list[str]:
        """Return the names of the columns of the first file."""
        return list(self._open(0).schema_arrow.names)

    def units(self, size: int) -> list[Unit]:
        """Cut every file along its row groups."""
        return numbered(unit for file in range(len(self.files)) for unit in cut(file, self._groups(file), size))

    def tables(self, file: int, first: int) -> Iterator[Any]:
        """Read batches from the row group that holds a row, in this thread: others keep memory of their own."""
        pa = need("pyarrow", extra="score")
        opened = self._open(file)
        groups, before = self._counts(opened), 0
        group = 0
        while group < len(groups) and before + groups[group] <= first:
            before, group = before + groups[group], group + 1
        skip = first - before
        wanted, columns = list(range(group, len(groups))), self.selection.columns
        for batch in opened.iter_batches(BLOCK, row_groups=wanted, columns=columns, use_threads=False):
            if skip < batch.num_rows:
                yield pa.Table.from_batches([batch.slice(skip)])
            skip = max(0, skip - batch.num_rows)

    def _groups(self, file: int) -> list[int]:
        return self._counts(self._open(file))

    @staticmethod
    def _counts(opened: Any) -> list[int]:
        return [opened.metadata.row_group(i).num_rows for i in range(opened.metadata.num_row_groups)]

    def _open(self, file: int) -> Any:
        pq, path = need("pyarrow.parquet", extra="score"), self.files[file].path
        try:
            # What Arrow reads ahead it keeps until the file is closed: memory would grow with the file.
            return pq.ParquetFile(_native(path), pre_buffer=False)
        except (ValueError, OSError) as err:  # pyarrow's errors derive from these
            raise TableError(f"{shorten(repr(path))} cannot be read as Parquet ({shorten(str(err))}).") from err


class Arrow(Table):
    """Arrow files (IPC, Feather 2)."""

    kind: ClassVar = "arrow"

    def columns(self) -> list[str]:
        """Return the names of the columns of the first file."""
        return list(self._open(0).schema.names)

    def units(self, size: int) -> list[Unit]:
        """Cut every file along its record batches."""
        found = []
        for file in range(len(self.files)):
            opened = self._open(file)
            counts = [opened.get_batch(i).num_rows for i in range(opened.num_record_batches)]
            found += list(cut(file, counts, size))
        return numbered(found)

    def tables(self, file: int, first: int) -> Iterator[Any]:
        """Read record batches, in pieces."""
        pa, opened = need("pyarrow", extra="score"), self._open(file)
        for i in range(opened.num_record_batches):
            table = pa.Table.from_batches([opened.get_batch(i)]).select(self.selection.columns)
            yield from pieces(table, min(first, table.num_rows))
            first = max(0, first - table.num_rows)

    def _open(self, file: int) -> Any:
        ipc, path = need("pyarrow.ipc", extra="score"), self.files[file].path
        try:
            return ipc.open_file(_native(path))
        except (ValueError, OSError) as err:
            raise TableError(f"{shorten(repr(path))} cannot be read as an Arrow file ({shorten(str(err))}).") from err


def _native(path: str) -> Any:
    """Open a file as pyarrow does, which closes it with whatever reads it; an address, as fsspec does."""
    return open_binary(path) if is_address(path) else need("pyarrow", extra="score").OSFile(path)


def pieces(table: Any, first: int = 0) -> Iterator[Any]:
    """Yield a table in pieces."""
    for begin in range(first, table.num_rows, BLOCK):
        yield table.slice(begin, BLOCK)


class Memory(Table):
    """A table in memory.

    Parameters
    ----------
    table : pyarrow.Table
        The rows.
    bare : bool
        Whether it is a list of samples, as workers get it: a table of one column that has no name for the user.
    """

    kind: ClassVar = "memory"

    def __init__(self, table: Any, *, bare: bool = False) -> None:
        super().__init__()
        self.table, self.bare = table, bare

    def columns(self) -> list[str] | None:
        """Return the names of the columns."""
        return None if self.bare else list(self.table.column_names)

    def units(self, size: int) -> list[Unit]:
        """Cut the rows."""
        return numbered(cut(0, [self.table.num_rows], size))

    def tables(self, file: int, first: int) -> Iterator[Any]:
        """Yield the rows in pieces."""
        return pieces(self.table if self.bare else self.table.select(self.selection.columns), first)

    def block(self, table: Any, start: int) -> Block:
        """Turn a table into what the pipeline is given."""
        if not self.bare:
            return super().block(table, start)
        samples = table.column(0).to_pylist()
        return Block(self.row_ids(start, len(samples)), self.selection.located(samples))

    def digest(self) -> str:
        """Hash names, types and values."""
        pa, hashed = need("pyarrow", extra="score"), hashlib.sha256()
        with pa.ipc.new_stream(pa.PythonFile(_Hash(hashed), "w"), self.table.schema) as stream:
            for batch in self.table.combine_chunks().to_batches(65536):
                stream.write_batch(batch)
        return hashed.hexdigest()


class _Hash:
    """A file that hashes what is written to it."""

    closed = False

    def __init__(self, hashed: Any) -> None:
        self._hashed = hashed

    def write(self, data: Any) -> int:
        """Add bytes."""
        self._hashed.update(data)
        return len(data)

    def flush(self) -> None:
        """Do nothing: nothing is held back."""

    def close(self) -> None:
        """Do nothing."""


class Objects(Source):
    """A list or an array of samples: texts, bytes, pixels, images of Pillow, numbers."""

    kind: ClassVar = "objects"

    def __init__(self, data: Any) -> None:
        super().__init__()
        self.data = data

    def units(self, size: int) -> list[Unit]:
        """Cut the rows."""
        return numbered(cut(0, [len(self.data)], size))

    def blocks(self, unit: Unit) -> Iterator[Block]:
        """Read the rows of a unit."""
        last = unit.first + unit.rows
        for first in range(unit.first, last, BLOCK):
            part = self.data[first : min(first + BLOCK, last)]
            X = self.selection.located(part) if isinstance(part, list) else part
            yield Block(self.row_ids(first, len(part)), X)

    def digest(self) -> str:
        """Hash the content: of texts and bytes directly, of other samples as joblib does."""
        import joblib

        if not self._are_plain():
            return str(joblib.hash(self.data, hash_name="sha1"))
        blocks = (self.data[first : first + BLOCK] for first in range(0, len(self.data), BLOCK))
        with ThreadPoolExecutor(runtime.workers(None)) as pool:
            return hashlib.sha256(b"".join(pool.map(_hashed, blocks))).hexdigest()

    def table(self) -> Any:
        """Return the samples as a table of one column, for workers; None if they are of another kind."""
        pa = need("pyarrow", extra="score")
        try:
            return pa.table({"sample": pa.array(self.data)}) if self._are_plain() else None
        except (pa.ArrowException, UnicodeEncodeError):  # texts and bytes together, lone surrogates
            return None

    def _are_plain(self) -> bool:
        return isinstance(self.data, list) and set(map(type, self.data)) <= {str, bytes, type(None)}


def _hashed(samples: list[str | bytes | None]) -> bytes:
    """Hash types and content of samples."""
    hashed = hashlib.sha256()
    for sample in samples:
        content = sample.encode("utf8", "surrogatepass") if isinstance(sample, str) else sample or b""
        hashed.update(f"{type(sample).__name__} {len(content)} ".encode())
        hashed.update(content)
    return hashed.digest()
