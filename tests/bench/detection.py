"""Object detection: precision, time and memory, beside sliding windows and a trained head on the same maps.

Usage: ``python tests/bench/detection.py ANNOTATIONS.json [--limit 240] [--baselines] [--empty N]``

The names of images in ANNOTATIONS.json begin with ``train/`` or ``test/``. Times are CPU seconds of this process, which
should have one thread (``OMP_NUM_THREADS=1``); what stands after ± is the standard deviation over bootstraps of the
test images. ``--baselines`` trains HOG features with LinearSVC in sliding windows, and a head of two convolutions in
PyTorch on the same maps, for the time that the detector took. ``--empty`` detects in synthetic images without objects,
and in test images whose objects are painted over with pixels of their surroundings.
"""

from __future__ import annotations

import argparse
import resource
import time
import warnings
from typing import Any

import numpy as np
from PIL import Image
from sklearn.svm import LinearSVC

from skltransfer._engine.modalities import image as image_room
from skltransfer.detection import ObjectDetector, _boxes, _cells, _maps, average_precision, read_coco
from skltransfer.detection._images import read
from skltransfer.errors import InputWarning

IOUS = {"AP50": 0.5, "AP75": 0.75, "mAP": None}
#: Side of a window of HOG in pixels, of a cell, and bins of direction.
WINDOW, CELL, BINS = 64, 8, 9
#: Widths over heights of windows, and the longer sides of the pyramid they slide over.
ASPECTS, PYRAMID = (0.6, 1.0, 1.6), (96, 128, 176, 240, 320)


def precision(targets: list[Any], found: list[Any]) -> dict[str, float]:
    return {name: average_precision(targets, found, iou=iou) for name, iou in IOUS.items()}


def interval(targets: list[Any], found: list[Any], draws: int = 200) -> dict[str, float]:
    """Return the standard deviation over draws of the test images."""
    random, values = np.random.default_rng(0), []
    for _ in range(draws):
        drawn = random.integers(0, len(targets), len(targets))
        values.append([*precision([targets[i] for i in drawn], [found[i] for i in drawn]).values()])
    return dict(zip(IOUS, np.std(values, axis=0).tolist(), strict=True))


def say(name: str, targets: list[Any], found: list[Any], seconds: float, ms: float) -> None:
    deviation = interval(targets, found)
    figures = "  ".join(f"{key} {value:.3f} ± {deviation[key]:.3f}" for key, value in precision(targets, found).items())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{name:12} {figures}  training {seconds:.1f} s  predict {ms:.1f} ms  peak {peak:.2f} GB", flush=True)


# ---------------------------------------------------------------------------------------------------------------------
# Sliding windows


def hog(pixels: np.ndarray) -> np.ndarray:
    """Compute histograms of oriented gradients: (rows - 1, columns - 1, 4 * BINS), normalized in blocks of 2 x 2."""
    gray = pixels.astype(np.float32).mean(axis=2)
    dy, dx = np.gradient(gray)
    size, angle = np.hypot(dx, dy), (np.arctan2(dy, dx) % np.pi) * BINS / np.pi
    rows, columns = gray.shape[0] // CELL, gray.shape[1] // CELL
    cells = np.zeros((rows, columns, BINS), np.float32)
    for number in range(BINS):
        share = np.clip(1 - np.abs((angle - number + BINS / 2) % BINS - BINS / 2), 0, None) * size
        cells[..., number] = share[: rows * CELL, : columns * CELL].reshape(rows, CELL, columns, CELL).sum(axis=(1, 3))
    blocks = np.concatenate([cells[:-1, :-1], cells[1:, :-1], cells[:-1, 1:], cells[1:, 1:]], axis=2)
    return blocks / np.sqrt((blocks**2).sum(axis=2, keepdims=True) + 1)


def windows(picture: Image.Image) -> Any:
    """Yield the rows of all windows of a picture, and their boxes."""
    side = WINDOW // CELL - 1
    for aspect in ASPECTS:
        for longer in PYRAMID:
            scale = longer / max(picture.size)
            width, height = round(picture.width * scale / aspect**0.5), round(picture.height * scale * aspect**0.5)
            if min(width, height) < WINDOW:
                continue
            grid = hog(np.asarray(picture.resize((width, height))))
            seen = np.lib.stride_tricks.sliding_window_view(grid, (side, side), axis=(0, 1))
            rows = np.moveaxis(seen, 2, -1).reshape(-1, side * side * grid.shape[2])
            y, x = np.divmod(np.arange(len(rows)), seen.shape[1])
            ratio = np.array([picture.width / width, picture.height / height] * 2)
            corners = np.column_stack([x * CELL, y * CELL, x * CELL + WINDOW, y * CELL + WINDOW]) * ratio
            yield rows, corners


def sliding(train: tuple[list[str], list[Any]], test: list[str], classes: list[str]) -> tuple[list[Any], float, float]:
    """Train and detect with HOG and LinearSVC, hard negatives once."""
    start, random, rows, labels = time.process_time(), np.random.default_rng(0), [], []
    pictures = [Image.open(path).convert("RGB") for path in train[0]]
    model: Any = None
    for _ in range(2):
        for picture, target in zip(pictures, train[1], strict=True):
            for view, boxes in windows(picture):
                overlap = _boxes.iou(boxes, np.asarray(target["boxes"], float))
                near, far = np.flatnonzero(overlap.max(axis=1) > 0.6), np.flatnonzero(overlap.max(axis=1) < 0.3)
                near, far = random.permutation(near)[:20], random.permutation(far)
                if model is not None and len(far):  # the second time, background that is taken for objects
                    near, far = near[:0], far[np.argsort(-model.decision_function(view[far]).max(axis=1))]
                rows += [view[near], view[far[:5]]]
                names = np.array(target["labels"], object)[overlap[near].argmax(axis=1)]
                labels += [names, np.full(len(far[:5]), "none", object)]
        kept = np.concatenate(rows), np.concatenate(labels).astype(str)
        model = LinearSVC(C=0.01, class_weight="balanced").fit(*kept)
    seconds, start, found = time.process_time() - start, time.process_time(), []
    for path in test:
        parts = [(boxes, model.decision_function(view)) for view, boxes in windows(Image.open(path).convert("RGB"))]
        boxes, scores = np.concatenate([b for b, _ in parts]), np.concatenate([s for _, s in parts])
        found.append(_best(boxes, scores[:, [model.classes_.tolist().index(name) for name in classes]], classes))
    return found, seconds, (time.process_time() - start) * 1000 / len(test)


def _best(boxes: np.ndarray, scores: np.ndarray, classes: list[str]) -> dict[str, Any]:
    """Return the best boxes of each class, without what overlaps a better one."""
    picked = [(code, row) for code in range(len(classes)) for row in np.argsort(-scores[:, code])[:200]]
    code, row = np.array(picked).T
    kept = _boxes.nms(boxes[row], scores[row, code], 0.5, code)[:100]
    return {"boxes": boxes[row][kept], "labels": np.array(classes)[code[kept]], "scores": scores[row, code][kept]}


# ---------------------------------------------------------------------------------------------------------------------
# A trained head


def head(
    detector: ObjectDetector, train: Any, test: list[str], classes: list[str], seconds: float
) -> tuple[list[Any], float, float]:
    """Train two convolutions on the detector's own maps and assignments, for some seconds, and detect."""
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(1)
    settings = detector._settings(detector._unchanged())
    pictures = [read(i, path) for i, path in enumerate(train[0])]
    items = []
    for mirrored in (False, True):
        each = [_maps.levels(pictures, scale, settings, mirrored=mirrored) for scale in detector.scales_]
        for number, levels in enumerate(zip(*each, strict=True)):
            boxes = np.asarray(train[1][number]["boxes"], float)
            boxes = _boxes.mirrored(boxes, pictures[number].size[0]) if mirrored else boxes
            codes = np.array([classes.index(label) for label in train[1][number]["labels"]])
            scene = _cells.Scene(levels, boxes, codes, number)
            for level in levels:
                wanted, owner = _cells.assign(scene, level, detector.object_size_, len(classes))
                squares = _cells._squares(_cells.centers(level), level, detector.object_size_)
                items.append((level, wanted, _boxes.offsets(squares, boxes[owner])))
    channels = items[0][0].grid().shape[2]
    model = torch.nn.Sequential(
        torch.nn.Conv2d(channels, 128, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(128, len(classes) + 5, 3, padding=1),
    )
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, weight_decay=1e-4)
    random, start = np.random.default_rng(0), time.process_time()
    while (spent := time.process_time() - start) < seconds:
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * (1 - spent / seconds)
        loss = torch.zeros(())
        for number in random.integers(0, len(items), 8):
            level, wanted, by = items[number]
            out = model(torch.from_numpy(level.grid().transpose(2, 0, 1))[None])[0].flatten(1).T
            learned, positive = wanted != _cells.IGNORED, (wanted != _cells.IGNORED) & (wanted < len(classes))
            weight = torch.ones(len(classes) + 1)
            weight[-1] = 0.1
            loss = loss + torch.nn.functional.cross_entropy(
                out[learned, :-4], torch.from_numpy(wanted[learned]), weight
            )
            if positive.any():
                loss = loss + torch.nn.functional.smooth_l1_loss(
                    out[positive, -4:], torch.from_numpy(by[positive].astype(np.float32))
                )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    begun, found = time.process_time(), []
    tests = [read(i, path) for i, path in enumerate(test)]
    for levels in zip(*(_maps.levels(tests, scale, settings) for scale in detector.scales_), strict=True):
        boxes, scores = [], []
        for level in levels:
            with torch.no_grad():
                out = model(torch.from_numpy(level.grid().transpose(2, 0, 1))[None])[0].flatten(1).T
            squares = _cells._squares(_cells.centers(level), level, detector.object_size_)
            boxes.append(_boxes.clipped(_boxes.moved(squares, out[:, -4:].numpy()), level.placement.original))
            scores.append(torch.softmax(out[:, :-4], 1)[:, :-1].numpy())
        together = np.concatenate(boxes)
        good = ((together[:, 2:] - together[:, :2]) > 1).all(axis=1)
        found.append(_best(together[good], np.concatenate(scores)[good], classes))
    return found, seconds, (time.process_time() - begun) * 1000 / len(test)


# ---------------------------------------------------------------------------------------------------------------------


def without_objects(paths: list[str], targets: list[Any], n: int) -> dict[str, list[np.ndarray]]:
    """Make images without objects: synthetic ones, and test images whose objects are painted over."""
    painted = []
    for path, target in list(zip(paths, targets, strict=True))[:n]:
        pixels = np.asarray(Image.open(path).convert("RGB")).copy()
        covered = np.zeros(pixels.shape[:2], bool)
        for left, top, right, bottom in np.asarray(target["boxes"], int):
            covered[max(top - 2, 0) : bottom + 2, max(left - 2, 0) : right + 2] = True
        if covered.mean() > 0.6:
            continue
        rest, random = pixels[~covered], np.random.default_rng(0)
        pixels[covered] = rest[random.integers(0, len(rest), covered.sum())]
        painted.append(pixels)
    return {"synthetic": [np.asarray(p) for p in image_room.pictures([(400, 300)] * n)], "painted over": painted}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("annotations")
    parser.add_argument("--limit", type=int, default=10_000)
    parser.add_argument("--baselines", action="store_true")
    parser.add_argument("--empty", type=int, default=0)
    args = parser.parse_args()
    warnings.simplefilter("ignore", InputWarning)
    paths, targets, classes = read_coco(args.annotations)
    parts = {name: [i for i, path in enumerate(paths) if f"/{name}/" in path] for name in ("train", "test")}
    parts["train"] = np.random.default_rng(0).permutation(parts["train"])[: args.limit].tolist()
    train, test = (([paths[i] for i in part], [targets[i] for i in part]) for part in parts.values())
    print(f"{len(train[0])} images to train, {len(test[0])} to test")
    start = time.process_time()
    detector = ObjectDetector(n_jobs=1).fit(*train)
    seconds, start = time.process_time() - start, time.process_time()
    found = detector.predict(test[0], score_threshold=0)
    say("detector", test[1], found, seconds, (time.process_time() - start) * 1000 / len(found))
    print(f"scales {detector.scales_}, proposals {detector.proposal_recall_}")
    print(
        "AP50",
        {label: round(value, 3) for label, value in average_precision(test[1], found, iou=0.5, per_class=True).items()},
    )
    for name, images in without_objects(*test, args.empty).items() if args.empty else ():
        alarms = sum(len(one["boxes"]) for one in detector.predict(images))
        print(f"without objects, {name}: {alarms} false alarms in {len(images)} images")
    if args.baselines:
        say("torch head", test[1], *head(detector, train, test[0], classes, seconds))
        say("HOG", test[1], *sliding(train, test[0], classes))


if __name__ == "__main__":
    main()
