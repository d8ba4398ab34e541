"""The child process that fetches files of the Hugging Face Hub, and that its parent kills at the deadline.

The client of the hub has no limit of the total time, and a thread that waits for a name server cannot be stopped. The
child reads a request from stdin and writes one line of JSON. The parent verifies the files.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from skltransfer._engine import process
from skltransfer.cards import describes

#: Seconds until a server that does not answer is given up.
PATIENCE = 6.0


def fetch(repo: str, revision: str, path: str, folder: str) -> dict[str, Any]:
    """Download a graph of a repository, and the files that go with it, to a folder.

    Returns
    -------
    dict
        ``commit``, and ``files``: for each path its ``size`` and ``sha256``, or Git's ``blob`` hash for small files.
    """
    from huggingface_hub import HfApi

    api = HfApi(library_name="skltransfer")
    info = api.model_info(repo, revision=revision, files_metadata=True, timeout=PATIENCE)
    files = {file.rfilename: _facts(file) for file in info.siblings or () if belongs_to(path, file.rfilename)}
    if path not in files:
        graphs = sorted(file.rfilename for file in info.siblings or () if file.rfilename.endswith(".onnx"))
        raise FileNotFoundError(f"{repo} has no file {path!r}; its graphs: {', '.join(graphs[:20]) or 'none'}")
    for name in files:
        api.hf_hub_download(repo, name, revision=info.sha, local_dir=folder)
    return {"commit": info.sha, "files": files}


def belongs_to(graph: str, name: str) -> bool:
    """Check whether a file belongs to a graph: weights and card beside it, descriptions of it there or on top."""
    home, _, stem = graph.removesuffix(".onnx").rpartition("/")
    folder, _, file = name.rpartition("/")
    if describes(name, home):
        return True
    external = (f"{stem}.onnx_data", f"{stem}.onnx.data", f"{stem}.data")
    return folder == home and (file in (f"{stem}.onnx", f"{stem}.card.json") or file.startswith(external))


def _facts(file: Any) -> dict[str, Any]:
    if file.lfs:
        return {"size": file.lfs.size, "sha256": file.lfs.sha256}
    return {"size": file.size, "blob": file.blob_id}


def _status(err: BaseException | None) -> int | None:
    """Return the HTTP status of an error or of its causes."""
    while err is not None:
        if (response := getattr(err, "response", None)) is not None:
            return int(response.status_code)
        err = err.__cause__ or err.__context__
    return None


def respond(**request: str) -> dict[str, Any]:
    """Answer one request."""
    logging.basicConfig(stream=sys.stderr)  # the parent quotes the last line if the deadline passes
    try:
        return fetch(**request)
    except Exception as err:  # noqa: BLE001 - it is passed on to the parent
        return {"error": type(err).__name__, "message": str(err), "status": _status(err)}


if __name__ == "__main__":
    process.answer(respond)
