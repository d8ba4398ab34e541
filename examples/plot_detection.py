"""
Object detection: a detector from forty pictures
================================================

``ObjectDetector`` learns boxes and classes from a few annotated pictures, without a training loop: the backbone stays
frozen, and estimators of scikit-learn learn from its feature maps. Here the pictures are composed of bundled emoji, so
that every box is known; on photographs, the guide's page on detection has figures.

The figures at the end need matplotlib: ``pip install 'skltransfer[plot]'``.
"""

# %%
# Compose pictures
# ----------------
# Emoji of three groups are pasted on colored noise, turned and of different sizes; other groups are distractors, which
# have no box. Emoji of the test pictures are not in the training pictures.

import io

import numpy as np
from PIL import Image

from skltransfer.datasets import load_emoji

CLASSES = ("Animals & Nature", "Food & Drink", "Travel & Places")
DISTRACTOR = "Symbols"
SIZE = 320

emoji = load_emoji()
groups = {name: np.flatnonzero(emoji.target == emoji.target_names.index(name)) for name in (*CLASSES, DISTRACTOR)}
random = np.random.default_rng(0)


def compose(part):
    """Compose a picture of emoji with even (0) or odd (1) numbers, and return it with its target."""
    noise = random.integers(90, 220, (SIZE // 16, SIZE // 16, 3), dtype=np.uint8)
    canvas, boxes, labels = Image.fromarray(noise).resize((SIZE, SIZE)), [], []
    for place in random.permutation(9)[:5]:
        name = str(random.choice([*CLASSES, DISTRACTOR]))
        member = random.choice(groups[name][part::2])
        shown = Image.open(io.BytesIO(emoji.images[member])).convert("RGBA").rotate(random.uniform(-20, 20))
        side = int(random.integers(55, 100))
        shown = shown.resize((side, side), Image.Resampling.BICUBIC)
        left, top = (int(n * 107 + random.integers(0, 107 - side)) for n in divmod(place, 3))
        canvas.paste(shown, (left, top), shown)
        if name != DISTRACTOR:
            inner = shown.getchannel("A").getbbox()
            boxes.append([left + inner[0], top + inner[1], left + inner[2], top + inner[3]])
            labels.append(name)
    return canvas, {"boxes": np.reshape(boxes, (-1, 4)), "labels": labels}


train, train_targets = zip(*(compose(0) for _ in range(40)), strict=True)
test, test_targets = zip(*(compose(1) for _ in range(30)), strict=True)

# %%
# Train and measure
# -----------------
# ``proposal_recall_`` is the first thing to look at: what no proposal reaches, no classifier finds.

from skltransfer.detection import ObjectDetector, average_precision, draw_boxes

detector = ObjectDetector().fit(list(train), list(train_targets))
print(f"{detector.scales_=} {detector.proposal_recall_=}")

found = detector.predict(list(test), score_threshold=0)
for iou in (0.5, 0.75, None):
    print(f"IoU {iou or '.5:.95'}: {average_precision(test_targets, found, iou=iou):.2f}")
print(average_precision(test_targets, found, iou=0.5, per_class=True))

# %%
# Precision and recall
# --------------------
# Each detection of a class is right if it overlaps an object of that class, not taken by a better one, by half.


def curve(label):
    """Return recall and precision of a class as the threshold goes down."""
    scores, right = [], []
    for target, seen in zip(test_targets, found, strict=True):
        free = [box for box, name in zip(target["boxes"], target["labels"], strict=True) if name == label]
        for box, name, score in zip(seen["boxes"], seen["labels"], seen["scores"], strict=True):
            if name != label:
                continue
            hits = [number for number, other in enumerate(free) if overlap(box, other) >= 0.5]
            right.append(bool(hits))
            scores.append(score)
            if hits:
                free.pop(hits[0])
    order = np.argsort(-np.array(scores), kind="stable")
    hits = np.cumsum(np.array(right)[order])
    total = sum(name == label for target in test_targets for name in target["labels"])
    return hits / total, hits / (np.arange(len(hits)) + 1)


def overlap(first, second):
    """Compute intersection over union."""
    sides = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    shared = np.prod(np.clip(sides, 0, None))
    return shared / (np.prod(first[2:] - first[:2]) + np.prod(second[2:] - second[:2]) - shared)


import matplotlib.pyplot as plt

figure, ax = plt.subplots(figsize=(5.5, 4), layout="constrained")
for label in CLASSES:
    ax.plot(*curve(label), label=label)
ax.set(xlabel="Recall", ylabel="Precision", ylim=(0, 1.02), xlim=(0, 1))
ax.set_title("Precision and recall at IoU 0.5", loc="left")
ax.legend(frameon=False, loc="lower left")

# %%
# Detections and errors
# ---------------------
# The pictures with the most errors among detections above a score of one half, with boxes as found.

shown = detector.predict(list(test))


def errors(target, seen):
    """Count objects without a detection of their class, and detections without an object."""
    near = [
        [
            overlap(box, other) >= 0.5 and name == label
            for other, label in zip(target["boxes"], target["labels"], strict=True)
        ]
        for box, name in zip(seen["boxes"], seen["labels"], strict=True)
    ]
    hits = np.reshape(near, (len(near), len(target["labels"])))
    return int((~hits.any(axis=0)).sum() + (~hits.any(axis=1)).sum())


counts = [errors(target, seen) for target, seen in zip(test_targets, shown, strict=True)]
print(f"errors in {len(test)} pictures: {sum(counts)}, objects: {sum(len(t['labels']) for t in test_targets)}")

figure, axes = plt.subplots(1, 3, figsize=(9, 3.3), layout="constrained")
for ax, number in zip(axes, np.argsort(counts)[[0, len(counts) // 2, -1]], strict=True):
    ax.imshow(draw_boxes(test[number], shown[number]))
    ax.set(xticks=[], yticks=[])
    ax.set_title(f"{counts[number]} errors", loc="left")
plt.show()
