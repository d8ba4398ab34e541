"""Scenes of bundled emoji on noise, with their boxes: what the tests of detection learn from."""

import functools
import io

import numpy as np
from PIL import Image

from skltransfer.datasets import load_emoji

#: Two classes of emoji.
KINDS = {"face": "Smileys & Emotion", "food": "Food & Drink"}
#: Parameters of detectors that are fitted in a second.
QUICK = {"components": (8, 12, 12), "n_jobs": 1}


@functools.cache
def pictures() -> dict[str, list[Image.Image]]:
    emoji = load_emoji()
    of = {kind: np.flatnonzero(emoji.target == emoji.target_names.index(name))[:20] for kind, name in KINDS.items()}
    return {
        kind: [Image.open(io.BytesIO(emoji.images[i])).convert("RGBA") for i in indices] for kind, indices in of.items()
    }


def scene(seed: int, objects: int = 3, size: tuple[int, int] = (240, 200)):
    """Compose an image (width, height) and its target; objects do not overlap."""
    random = np.random.default_rng(seed)
    noise = random.normal(150, 25, (size[1] // 8 + 1, size[0] // 8 + 1, 3)).clip(0, 255).astype(np.uint8)
    canvas = Image.fromarray(noise).resize(size)
    places = random.permutation(6)[:objects]
    boxes, labels = [], []
    for place in places:
        label = str(random.choice(sorted(KINDS)))
        shown = pictures()[label][random.integers(20)]
        side = int(random.integers(50, 75))
        left, top = place % 3 * 80 + random.integers(0, 80 - side), place // 3 * 100 + random.integers(0, 100 - side)
        small = shown.resize((side, side))
        canvas.paste(small, (int(left), int(top)), small)
        bound = small.getbbox()
        boxes.append([left + bound[0], top + bound[1], left + bound[2], top + bound[3]])
        labels.append(label)
    return np.asarray(canvas), {"boxes": np.array(boxes, float).reshape(-1, 4), "labels": labels}


def scenes(n: int, first: int = 0, **options):
    """Compose several: images and targets."""
    images, targets = zip(*(scene(seed, **options) for seed in range(first, first + n)), strict=True)
    return list(images), list(targets)
