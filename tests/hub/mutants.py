"""Models with one field changed, each opened in a process of its own; imported by the server that forks them."""

import json
import os
import random
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import Message

from skltransfer import PretrainedEmbedder, testing
from skltransfer._engine import hub, process, trial
from skltransfer.errors import SklTransferError

FINE, NAMED, WRONG = 0, 10, 20

INTEGERS = (0, 1, -1, 2, 7, 255, 2**31 - 1, -(2**31), 2**40, 2**63 - 1, -(2**63))
FLOATS = (0.0, -1.0, 1e30, float("inf"), float("nan"))
WORDS = ("", "x", "rows", "no such name", "../../etc/passwd", "\x1b[31m", "é" * 1000, "a" * 100_000)

#: What JSON may hold in the place of anything.
VALUES = (None, True, -1, 0, 2**70, 1e308, "", "x" * 50_000, "\x1b]0;t\x07", [], {}, [[]] * 100, {"type": "BPE"})


def change(message: Message, chance: random.Random) -> None:
    """Change one field of a message or of one within it."""
    fields = [f for f, _ in message.ListFields()]
    if not fields or chance.random() < 0.1:
        fields = list(message.DESCRIPTOR.fields)
    field = chance.choice(fields)
    held = getattr(message, field.name)
    repeated = not isinstance(held, Message | str | bytes | int | float)
    if field.message_type is not None:
        _change_message(held, repeated, chance)
    elif repeated:
        _change_list(held, field, chance)
    else:
        setattr(message, field.name, _value(field, held, chance))


def _change_message(held, repeated: bool, chance: random.Random) -> None:
    if not repeated:
        change(held, chance)
    elif not held or chance.random() < 0.05:
        held.add()
    elif chance.random() < 0.1:
        del held[chance.randrange(len(held))]
    elif chance.random() < 0.05:
        held.append(chance.choice(held))
    else:
        change(chance.choice(held), chance)


def _change_list(held, field, chance: random.Random) -> None:
    at = chance.randrange(len(held) + 1)
    if at == len(held):
        held.append(_value(field, held[-1] if held else None, chance))
    elif chance.random() < 0.2:
        del held[at]
    else:
        held[at] = _value(field, held[at], chance)


def _value(field, held, chance: random.Random):
    kind = field.cpp_type
    if kind == field.CPPTYPE_STRING:
        if field.type == field.TYPE_BYTES:
            data = bytearray(held or b"\0")
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            return bytes(data[: chance.randrange(len(data) + 1)] if chance.random() < 0.3 else data)
        return chance.choice(WORDS)
    if kind in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        return chance.choice(FLOATS)
    if kind == field.CPPTYPE_ENUM:
        return chance.choice(list(field.enum_type.values_by_number))
    narrow = kind in (field.CPPTYPE_INT32, field.CPPTYPE_UINT32)
    least = 0 if kind in (field.CPPTYPE_UINT32, field.CPPTYPE_UINT64) else -(2**31 if narrow else 2**63)
    return min(max(chance.choice(INTEGERS), least), 2**31 - 1 if narrow else 2**63 - 1)


def change_json(data, chance: random.Random):
    """Return JSON data with one value replaced or taken away."""
    if isinstance(data, dict | list) and data and chance.random() < 0.85:
        keys = list(data) if isinstance(data, dict) else range(len(data))
        at = chance.choice(list(keys))
        if chance.random() < 0.1:
            del data[at]
        else:
            data[at] = change_json(data[at], chance)
        return data
    return chance.choice(VALUES)


def _array_model(folder: Path) -> Path:
    return testing.save_backbone(testing.array_backbone(), folder, "model")


def _image_model(folder: Path) -> Path:
    return testing.save_backbone(testing.image_backbone(), folder, "model")


def _text_model(folder: Path) -> Path:
    return testing.save_text_backbone(testing.text_backbone(), folder)


#: Which file is changed: the model's name -> how it is saved, the file, samples.
TARGETS: dict[str, tuple[Callable[[Path], Path], str, object]] = {
    "array graph": (_array_model, "model.onnx", np.ones((2, 4), np.float32)),
    "image graph": (_image_model, "model.onnx", [np.full((8, 8, 3), 200, np.uint8)] * 2),
    "text graph": (_text_model, "model.onnx", ["one two", "three"]),
    "card": (_text_model, "card.json", ["one two", "three"]),
    "tokenizer": (_text_model, "tokenizer.json", ["one two", "three"]),
}


def mutate(path: Path, chance: random.Random) -> None:
    """Change one to three fields of a file."""
    for _ in range(chance.choice((1, 1, 2, 3))):
        if path.suffix == ".onnx":
            model = onnx.load(path)
            change(model, chance)
            path.write_bytes(model.SerializeToString())
        else:
            path.write_text(json.dumps(change_json(json.loads(path.read_text()), chance)))


def pin_again(folder: Path) -> None:
    """Write the hashes of the changed files to the card, as a hostile author would."""
    for card in folder.glob("*card.json"):
        try:
            data = json.loads(card.read_text())
            for entry in data["files"].values():
                entry["sha256"] = hub.sha256(folder / entry["path"])
            card.write_text(json.dumps(data))
        except (KeyError, TypeError, ValueError, AttributeError, OSError):
            continue


def run_forked(module, request, *, seconds, environment=None):
    """Do as `process.run_child` does, in a fork of this process, which has opened nothing: no import to wait for."""
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        signal.alarm(int(seconds))
        os.write(theirs, json.dumps(trial.try_model(**request)).encode())
        os._exit(0)
    os.close(theirs)
    with open(ours, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGALRM:
        raise process.ChildFailure(None, "")
    try:
        return json.loads(said)
    except ValueError:
        raise process.ChildFailure(code, "") from None


def attack(target: str, number: int, folder: str) -> None:
    """Open and run one mutant; the exit status says how it ended."""
    path = Path(folder) / "out.txt"
    with path.open("w") as out:
        os.dup2(out.fileno(), 2)
        process.run_child = run_forked
        chance = random.Random(f"{target} {number}")
        save, file, samples = TARGETS[target]
        model = save(Path(folder) / "model")
        changed = next(p for p in (Path(folder) / "model").rglob("*") if p.name == file)
        mutate(changed, chance)
        if chance.random() < 0.5:
            pin_again(changed.parent)
        try:
            rows = PretrainedEmbedder(model).transform(samples)
            status = FINE if np.isfinite(rows).all() else WRONG
        except SklTransferError as err:
            status = NAMED if len(str(err)) < 3000 and "\x1b" not in str(err) else WRONG
            print(f"{type(err).__name__}: {err}"[:3000], file=sys.stderr)
        except BaseException:
            traceback.print_exc()
            status = WRONG
        sys.stderr.flush()
    os._exit(status)
