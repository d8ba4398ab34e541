"""The command `probe`: accuracy and speed of the student, and of its teacher."""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from distill_text.encoders import Floats, Student, Teacher


def read_table(path: Path) -> tuple[list[str], list[str]]:
    """Read texts and labels of a CSV file with the columns `text` and `label`."""
    with path.open(newline="", encoding="utf8") as file:
        rows = list(csv.DictReader(file))
    return [row["text"] for row in rows], [row["label"] for row in rows]


def measure_accuracy(embed: Callable[[Sequence[str]], Floats], folder: Path) -> float:
    """Return the test accuracy of logistic regression on the embeddings."""
    from sklearn.linear_model import LogisticRegression

    (train, y_train), (test, y_test) = (read_table(folder / f"{p}.csv") for p in ("train", "test"))
    head = LogisticRegression(C=10, max_iter=2000).fit(embed(train), y_train)
    return float(head.score(embed(test), y_test))


def measure_speed(embed: Callable[[Sequence[str]], Floats], texts: Sequence[str], repeats: int) -> float:
    """Return texts per second, tokenising included, of the best of several runs."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        embed(texts)
        seconds.append(time.perf_counter() - start)
    return len(texts) / min(seconds)


def probe(args: argparse.Namespace) -> None:
    """Print accuracy and speed on each data set, on one thread, and those of the teacher."""
    student = Student(args.model)
    embedders = {"student": (student.embed, 20)}
    if args.teacher:
        tokenizer = args.tokenizer or args.teacher.with_name("tokenizer.json")
        embedders["teacher"] = (Teacher(args.teacher, tokenizer).embed, 3)
    for folder in args.sets:
        texts = read_table(folder / "test.csv")[0]
        for name, (embed, repeats) in embedders.items():
            count = len(texts) if name == "student" else args.count
            speed = measure_speed(embed, texts[:: max(1, len(texts) // count)], repeats)
            print(f"{folder.name} {name}: {speed:.0f} texts/s", end=" ", flush=True)
            print(f"accuracy {measure_accuracy(embed, folder):.4f}", flush=True)


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add the command `probe`."""
    parser = commands.add_parser("probe", help="print accuracy and speed of the student, and of its teacher")
    parser.add_argument("--model", type=Path, required=True, help="folder that `make` has written")
    parser.add_argument("--sets", type=Path, nargs="+", required=True, help="folders of train.csv and test.csv")
    parser.add_argument("--teacher", type=Path, help="ONNX file to compare with (slow)")
    parser.add_argument("--tokenizer", type=Path, help="default: tokenizer.json beside the teacher")
    parser.add_argument("--count", type=int, default=100, help="texts to time the teacher on")
    parser.set_defaults(command=probe)
