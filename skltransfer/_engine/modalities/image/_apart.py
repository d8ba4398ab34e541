"""Decoding that nothing can stop, in a child process that is ended at the deadline.

libwebp and libtiff are given a whole file and come back when they are done. Files long enough to keep them busy for
seconds are decoded here; they are so large that the start of a process, a third of a second, is little beside it.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from skltransfer._engine import process
from skltransfer._engine.modalities.image._decode import SECONDS, SECONDS_A_MEGAPIXEL, decode
from skltransfer._engine.modalities.image._geometry import Pixels, draft_size, fit_views
from skltransfer.cards import ImageSpec
from skltransfer.errors import Unreadable

#: Seconds for the start of a child on a loaded machine, on the clock of the wall.
START = 20.0


def prepare(
    data: bytes,
    spec: ImageSpec,
    *,
    hurried: bool = False,
    views: str | None = None,
    seed: bytes = b"",
    note: Callable[[int], object] = lambda bits: None,
) -> Pixels:
    """Decode and scale a file in a child process.

    Parameters
    ----------
    data : bytes
        The file.
    spec : ImageSpec
        Of the card.
    hurried, note
        As for `decode`.
    views, seed
        As for `fit_views`.

    Returns
    -------
    ndarray of shape (views, height, width, 3), uint8, RGB

    Raises
    ------
    Unreadable
        If it cannot be decoded, or not in time.
    """
    seconds = SECONDS + (0 if hurried else SECONDS_A_MEGAPIXEL * min(spec.max_pixels, 10**8) / 1e6)
    request = json.dumps({"spec": dataclasses.asdict(spec), "seconds": seconds, "views": views, "seed": seed.hex()})
    try:
        said, pixels = process.pipe_child(__name__, request, data, seconds=2 * seconds + START)
    except process.ChildFailure as err:
        if not err.started:
            raise Unreadable(f"has to be decoded in a child process. {err.machine}") from None
        raise Unreadable(
            f"takes longer to decode than {seconds:.1f} s of processor time, or ends its decoder (status "
            f"{err.status}); it is built or damaged, save it again"
        ) from None
    if not pixels:
        raise Unreadable(said)
    if said:
        note(int(said))
    return np.frombuffer(pixels, np.uint8).reshape(-1, *spec.size, 3)


def answer(request: str, data: bytes) -> tuple[str, bytes]:
    """Decode and scale a file, in the child; return the reason why not, or the bits that were noted and the pixels."""
    given: dict[str, Any] = json.loads(request)
    _limit_processor_time(given["seconds"])
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in given["spec"].items()}
    spec = ImageSpec(**fields)
    draft = partial(draft_size, spec=spec) if spec.draft else None
    finish = partial(fit_views, spec=spec, views=given["views"], seed=bytes.fromhex(given["seed"]))
    noted: list[int] = []
    try:
        seen = decode(data, max_pixels=spec.max_pixels, finish=finish, draft=draft, note=noted.append)
        return "".join(map(str, noted)), np.stack(seen).tobytes()
    except Unreadable as err:
        return str(err), b""


def _limit_processor_time(seconds: float) -> None:
    """Let the system end this process; its start, a third of a second, counts."""
    if sys.platform != "win32":
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        most = max(1, int(seconds)) if hard == resource.RLIM_INFINITY else min(max(1, int(seconds)), hard)
        resource.setrlimit(resource.RLIMIT_CPU, (most, most))


if __name__ == "__main__":
    process.answer_pipe(answer)
