"""The command `card`: the card folder of an exported student."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from distill_vision.probe import load_arrays, open_session, time_per_image
from distill_vision.student import PIXEL_MEAN, PIXEL_STD, STAGES


def card(args: argparse.Namespace) -> None:
    """Write the card folder of an exported student: its file, pinned, golden rows and figures."""
    from skltransfer import Card, load_card
    from skltransfer._engine import golden
    from skltransfer.cards import ImageSpec, ModelFile

    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / "model.onnx").write_bytes(args.model.read_bytes())
    _, size = open_session(args.model, threads=1)
    pixels = {"mean": (PIXEL_MEAN,) * 3, "std": (PIXEL_STD,) * 3}
    described = Card(
        name=args.output.name,
        modality="image",
        files={"model": ModelFile("model.onnx")},
        input=ImageSpec(size=(size, size), resize="shorter", resize_to=size, draft=True, **pixels),
        layer="embedding",
        description=args.description,
        license=args.license,
        source=args.source,
        folder=args.output,
    )
    completed = load_card(described)
    names = [f"block_{number}" for number in range(1, len(STAGES) + 1)]
    layers = {name: shape for name, shape in completed.layers().items() if name in [*names, "embedding"]}
    measured = dict(figures(completed, args)) | ({"training views": args.views} if args.views else {})
    golden.write_card(replace(completed, layers_table=layers, measured=measured), args.output / "card.json")
    print(f"{args.output}: {measured}")


def figures(described: object, args: argparse.Namespace) -> Iterator[tuple[str, float]]:
    """Yield names and figures of a card, measured as its users do: accuracy of probes, time of the graph."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from skltransfer import PretrainedEmbedder

    for folder, load in ((args.arrays, load_arrays), (args.photographs, load_files)):
        if folder:
            (train_x, train_y), (test_x, test_y) = (load(folder, part) for part in ("train", "test"))
            classifier = make_pipeline(
                PretrainedEmbedder(described), StandardScaler(), LogisticRegression(C=0.01, max_iter=1000)
            )
            accuracy = classifier.fit(train_x, train_y).score(test_x, test_y)
            yield f"probe accuracy {folder.name}", round(float(accuracy), 3)
    yield "CPU ms per image in the graph, one core", round(time_per_image(args.model), 2)


def load_files(folder: Path, part: str) -> tuple[list[str], np.ndarray]:
    """Return the paths of PART/CLASS/*.jpg and their classes."""
    files = sorted((folder / part).glob("*/*.jpg"))
    return [str(file) for file in files], np.array([file.parent.name for file in files])


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add the command `card`."""
    parser = commands.add_parser("card", help="write the card folder of an exported student; needs skltransfer")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True, help="folder to write, named as the model")
    parser.add_argument("--arrays", type=Path, help="folder of train.npz and test.npz")
    parser.add_argument("--photographs", type=Path, help="folder of PART/CLASS/*.jpg")
    parser.add_argument("--views", type=int, help="that it was trained on, in all")
    for text in ("description", "license", "source"):
        parser.add_argument(f"--{text}", default="")
    parser.set_defaults(command=card)
