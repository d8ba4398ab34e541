"""Distil a compact convolutional backbone from larger ONNX backbones, on a CPU or an NVIDIA GPU.

Five commands, run in this order::

    python distill_vision.py prepare --cache CACHE --images A.zip B/ --teachers T.onnx:192
    python distill_vision.py train   --cache CACHE --run RUN --minutes 90
    python distill_vision.py export  --checkpoint RUN/last.pt --output vision-mini.onnx --size 96
    python distill_vision.py probe   --model vision-mini.onnx --arrays CIFAR --photographs CLOTHING
    python distill_vision.py card    --model vision-mini.onnx --output vision-mini --arrays CIFAR --photographs CLOTHING

The images need no labels. `prepare` runs each teacher once per image and keeps its last feature
map, so that the target of any random crop is the mean of the teacher's features in that region:
views are unlimited, and consistent with the crop, although the teacher never runs again.

The script owns everything between a folder of images and one ONNX file, and imports nothing of the
package that uses the file; only `card`, which measures what its users will see, needs skltransfer.
It needs numpy, pillow, onnx, onnxruntime, torch, and scikit-learn for `probe`.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import io
import json
import math
import os
import signal
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

import numpy as np
import onnx
import onnxruntime as ort
import torch
import torch.nn.functional as F
from numpy.lib.format import open_memmap
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from torch import Tensor, nn

IMAGE_SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".webp"}
POOLING_OPS = {"AveragePool", "GlobalAveragePool", "ReduceMean"}
PIXEL_MEAN = PIXEL_STD = 127.5  # one number for all channels: nothing to get wrong at inference


# --- prepare: squares of pixels ----------------------------------------------------------------


def iterate_images(sources: Sequence[Path]) -> Iterator[Image.Image]:
    """Yield the RGB images of folders (recursively) and zip archives, in sorted order."""
    for source in sources:
        for suffix, stream in folder_files(source) if source.is_dir() else archive_files(source):
            if suffix.lower() in IMAGE_SUFFIXES:
                yield Image.open(stream).convert("RGB")


def folder_files(folder: Path) -> Iterator[tuple[str, BinaryIO]]:
    """Yield the suffix and the content of each file below a folder."""
    for path in sorted(folder.rglob("*.*")):
        yield path.suffix, io.BytesIO(path.read_bytes())


def archive_files(path: Path) -> Iterator[tuple[str, BinaryIO]]:
    """Yield the suffix and the content of each file of a zip archive."""
    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
            yield Path(name).suffix, io.BytesIO(archive.read(name))


def square_boxes(width: int, height: int, tolerance: float = 1.15) -> list[tuple[int, ...]]:
    """Return the crop boxes that cover an image with squares, without changing its proportions.

    A nearly square image gives its centre; any other gives the squares at its two ends.
    """
    side = min(width, height)
    slack_x, slack_y = width - side, height - side
    corners = [(0, 0), (slack_x, slack_y)]
    if max(width, height) <= tolerance * side:
        corners = [(slack_x // 2, slack_y // 2)]
    return [(x, y, x + side, y + side) for x, y in corners]


def cache_images(sources: Sequence[Path], side: int, path: Path) -> np.ndarray:
    """Write the squares of all images as one uint8 array (n, side, side, 3), RGB, and return it."""
    squares = [
        np.asarray(image.resize((side, side), Image.Resampling.BICUBIC, box=box))
        for image in iterate_images(sources)
        for box in square_boxes(*image.size)
    ]
    array = open_memmap(path, "w+", np.uint8, (len(squares), side, side, 3))
    for row, square in enumerate(squares):
        array[row] = square
    array.flush()
    return array


# --- prepare: targets of the teachers ----------------------------------------------------------


class Teacher:
    """An ONNX backbone run at a chosen size, giving its last feature map and, if any, its logits.

    Parameters
    ----------
    path : Path
        The ONNX file; the JSON card of the same name beside it gives the embedding tensor, mean,
        standard deviation and color order.
    size : int
        Side of the square input in pixels. Larger is slower and gives a finer map.
    """

    def __init__(self, path: Path, size: int) -> None:
        self.card = json.loads(path.with_suffix(".json").read_text(encoding="utf8"))
        self.size = size
        model = onnx.load(path)
        self.outputs = promote_map(model.graph, self.card["embedding"]["tensor"])
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1  # see run_teacher
        self.session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def run(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the map (n, cells, channels) and the logits (n, classes) of uint8 images."""
        pixels = resize_batch(images, self.size)
        if self.card["input"]["colour_order"] == "BGR":
            pixels = pixels[:, ::-1]
        shape = (1, 3, 1, 1)
        mean, std = (np.reshape(self.card["input"][key], shape) for key in ("mean", "std"))
        pixels = ((pixels - mean) / std).astype(np.float32)
        features, *logits = self.session.run(self.outputs, {self.session.get_inputs()[0].name: pixels})
        cells = features.reshape(*features.shape[:2], -1).transpose(0, 2, 1)
        return cells, logits[0] if logits else None


def promote_map(graph: onnx.GraphProto, embedding: str) -> list[str]:
    """Make the map that is pooled into `embedding` an output and free the spatial size.

    Returns the names of the map and, where the graph has it, of the logits.
    """
    producers = {output: node for node in graph.node for output in node.output}
    node = producers[embedding]
    while node.op_type not in POOLING_OPS:
        node = producers[node.input[0]]
    names = [node.input[0], *(out.name for out in graph.output if out.name == "logits")]
    del graph.value_info[:]  # they hold the shapes of the original size
    for dim in graph.input[0].type.tensor_type.shape.dim[2:]:
        dim.Clear()
    graph.output.append(helper.make_tensor_value_info(names[0], TensorProto.FLOAT, None))
    return names


def resize_batch(images: np.ndarray, size: int) -> np.ndarray:
    """Resize uint8 NHWC images to float32 NCHW in 0..255."""
    pixels = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float()
    if pixels.shape[-1] != size:
        pixels = F.interpolate(pixels, (size, size), mode="bilinear", antialias=True)
    return pixels.contiguous().numpy()


@dataclass
class Projection:
    """Linear map from the teacher's features to a few uncorrelated, scaled coordinates.

    Attributes
    ----------
    mean, matrix : ndarray of shape (channels,), (channels, components)
        ``(features - mean) @ matrix`` are the targets. Distances among targets are, but for the
        dropped components, distances among standardised features.
    head : ndarray of shape (components + 1, classes) or (0, 0)
        Least-squares map from targets, with a one appended, to the teacher's logits; empty for a
        teacher without logits. It gives the logits of any region without the teacher's graph.
    """

    mean: np.ndarray
    matrix: np.ndarray
    head: np.ndarray

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Return the targets of features, whatever the shape before the channels."""
        return (torch.from_numpy(features - self.mean) @ torch.from_numpy(self.matrix)).numpy()


def fit_projection(pooled: np.ndarray, logits: np.ndarray | None, components: int) -> Projection:
    """Fit principal components of the standardised embeddings (n, channels) of a sample."""
    mean, std = pooled.mean(0), pooled.std(0) + 1e-6
    standard = (pooled - mean) / std
    values, vectors = np.linalg.eigh(standard.T @ standard / len(standard))
    kept = vectors[:, ::-1][:, :components]
    scale = math.sqrt(components / values[::-1][:components].sum())  # unit mean square
    print(f"  {components} components keep {values[::-1][:components].sum() / values.sum():.3f}")
    matrix = (kept / std[:, None] * scale).astype(np.float32)
    projection = Projection(mean, matrix, head=np.empty((0, 0)))
    if logits is not None:
        targets = projection(pooled)
        design = np.c_[targets, np.ones(len(targets), np.float32)]
        projection.head = np.linalg.lstsq(design, logits, rcond=None)[0].astype(np.float32)
        residual = logits - design @ projection.head
        print(f"  logits from targets: R2 {1 - residual.var() / logits.var():.3f}")
    return projection


def batches(count: int, size: int) -> Iterator[slice]:
    """Yield consecutive slices of at most `size` rows."""
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def run_teacher(
    teacher: Teacher, images: np.ndarray, threads: int
) -> Iterator[tuple[slice, np.ndarray, np.ndarray | None]]:
    """Yield rows, map and logits of batches.

    Threads take whole batches, each on one core: on a busy machine that loses less than sharing
    every operation among cores, where the slowest core sets the pace.
    """

    def work(rows: slice) -> tuple[slice, np.ndarray, np.ndarray | None]:
        return rows, *teacher.run(images[rows])

    with ThreadPoolExecutor(threads) as pool:
        for group in batches(len(images), 32 * threads):
            parts = range(group.start, group.stop, 32)
            yield from pool.map(work, [slice(i, min(i + 32, group.stop)) for i in parts])


def cache_targets(teacher: Teacher, images: np.ndarray, components: int, threads: int, stem: Path) -> None:
    """Write STEM.npy, targets (n, cells, components) in float16, and STEM.npz, their projection."""
    sample = images[:: max(1, len(images) // 2500)]
    runs = list(run_teacher(teacher, sample, threads))
    pooled = np.concatenate([cells.mean(1) for _, cells, _ in runs])
    logits = None if runs[0][2] is None else np.concatenate([run[2] for run in runs])
    projection = fit_projection(pooled, logits, components)
    shape = (len(images), runs[0][1].shape[1], components)
    targets = open_memmap(stem.with_suffix(".npy"), "w+", np.float16, shape)
    for rows, cells, _ in run_teacher(teacher, images, threads):
        targets[rows] = projection(cells)
    targets.flush()
    np.savez(stem.with_suffix(".npz"), **asdict(projection))


def prepare(args: argparse.Namespace) -> None:
    """Cache the images, then the targets of each teacher."""
    torch.set_num_threads(1)
    args.cache.mkdir(parents=True, exist_ok=True)
    path = args.cache / "images.npy"
    images = np.load(path, "r") if path.exists() else cache_images(args.images, args.side, path)
    print(f"{len(images)} squares of {args.side} px", flush=True)
    for index, text in enumerate(args.teachers):
        name, _, size = text.rpartition(":")
        stem, start = args.cache / f"teacher_{index}", time.monotonic()
        if not stem.with_suffix(".npz").exists():
            teacher = Teacher(Path(name), int(size))
            cache_targets(teacher, images, args.components, args.threads, stem)
        print(f"{Path(name).stem} at {size}: {time.monotonic() - start:.0f} s", flush=True)


# --- the student -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stage:
    """One residual block: width of its inner and outer convolution, and the stride of the first."""

    inner: int
    outer: int
    stride: int


STEM = 24
EMBEDDED = 2  # the last blocks, whose means over the places are the exported embedding, side by side
STAGES = (
    Stage(32, 48, 2),
    Stage(64, 96, 2),
    Stage(144, 192, 2),
    Stage(144, 192, 1),
    Stage(160, 512, 2),
)


def conv_bn(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
    """Return a convolution without bias, padded to keep the size, and its batch normalisation."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


class Block(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut, which is 1 x 1 where the shape changes."""

    def __init__(self, inputs: int, stage: Stage) -> None:
        super().__init__()
        self.first = conv_bn(inputs, stage.inner, 3, stage.stride)
        self.second = conv_bn(stage.inner, stage.outer, 3, 1)
        same = stage.stride == 1 and inputs == stage.outer
        self.shortcut = nn.Identity() if same else conv_bn(inputs, stage.outer, 1, stage.stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output map."""
        return F.relu(self.second(F.relu(self.first(x))) + self.shortcut(x))


class Student(nn.Module):
    """The backbone that is kept: a stem, residual blocks, the mean of the last map.

    Plain convolutions throughout: on a CPU they run, and above all train, faster than depthwise
    ones of the same accuracy.
    """

    def __init__(self) -> None:
        super().__init__()
        widths = [STEM, *(stage.outer for stage in STAGES)]
        self.stem = conv_bn(3, STEM, 3, 2)
        self.blocks = nn.ModuleList(Block(w, s) for w, s in zip(widths, STAGES, strict=False))

    def forward(self, x: Tensor) -> Tensor:
        """Return embeddings (n, dim) of normalised pixels (n, 3, height, width)."""
        return self.maps(x)[-1].mean((2, 3))

    def maps(self, x: Tensor) -> list[Tensor]:
        """Return the output map of every block."""
        x = F.relu(self.stem(x))
        maps = []
        for block in self.blocks:
            x = block(x)
            maps.append(x)
        return maps


class Distiller(nn.Module):
    """The student and the linear projector that the teachers' targets need; dropped afterwards."""

    def __init__(self, targets: int) -> None:
        super().__init__()
        self.student = Student()
        self.projector = nn.Linear(STAGES[-1].outer, targets)

    def forward(self, x: Tensor) -> Tensor:
        """Return predicted targets (n, targets)."""
        return self.projector(self.student(x))


# --- train: views ------------------------------------------------------------------------------


@dataclass
class Cache:
    """What `prepare` wrote.

    Attributes
    ----------
    images : ndarray of uint8, shape (n, side, side, 3)
    targets : list of ndarray of float16, shape (n, cells, components)
        One per teacher; the cells are a square grid over the image, row by row.
    heads : list of Tensor, shape (components + 1, classes) or (0, 0)
        From targets to logits; see `Projection`.
    """

    images: np.ndarray
    targets: list[np.ndarray]
    heads: list[Tensor]

    @classmethod
    def load(cls, folder: Path) -> Cache:
        """Map the arrays of a folder into memory, without reading them."""
        stems = sorted(path.with_suffix("") for path in folder.glob("teacher_*.npz"))
        targets = [np.load(stem.with_suffix(".npy"), "r") for stem in stems]
        heads = [torch.from_numpy(np.load(f"{stem}.npz")["head"]).float() for stem in stems]
        return cls(np.load(folder / "images.npy", "r"), targets, heads)


@dataclass
class Views:
    """Random crops of a batch: `low` and `high` corners (n, 2) as x, y in 0..1, and mirroring."""

    low: Tensor
    high: Tensor
    mirrored: Tensor

    def to(self, device: torch.device) -> Views:
        """Return the views on a device."""
        return Views(self.low.to(device), self.high.to(device), self.mirrored.to(device))


def random_views(count: int, smallest: float, generator: torch.Generator) -> Views:
    """Draw crops of an area in `smallest`..1 and of proportions between 3:4 and 4:3."""
    area, ratio, x, y, flip = torch.rand(5, count, generator=generator)
    area = smallest + (1 - smallest) * area
    stretch = torch.exp((2 * ratio - 1) * math.log(4 / 3) / 2)
    size = torch.stack([area.sqrt() * stretch, area.sqrt() / stretch], 1).clamp(max=1)
    low = (1 - size) * torch.stack([x, y], 1)
    return Views(low, low + size, flip < 0.5)


def crop(images: np.ndarray, views: Views, size: int) -> Tensor:
    """Return the views of uint8 NHWC images as float NCHW pixels in 0..255, channels last, where the views are."""
    pixels = torch.from_numpy(images).to(views.low.device).permute(0, 3, 1, 2).float()
    scale, centre = views.high - views.low, views.high + views.low - 1
    theta = torch.zeros(len(images), 2, 3, device=pixels.device)
    theta[:, 0, 0] = torch.where(views.mirrored, -scale[:, 0], scale[:, 0])
    theta[:, 1, 1] = scale[:, 1]
    theta[:, :, 2] = centre
    grid = F.affine_grid(theta, [len(images), 3, size, size], align_corners=False)
    return F.grid_sample(pixels, grid, padding_mode="border", align_corners=False)


def jitter(pixels: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Change contrast and brightness, and a little the balance of colors, and normalise."""
    contrast, offset, color = (
        (2 * torch.rand(len(pixels), channels, 1, 1, generator=generator) - 1).to(pixels.device)
        for channels in (1, 1, 3)
    )
    contrast = 1 + strength * contrast
    normal = (pixels - PIXEL_MEAN) / PIXEL_STD
    return (normal * contrast + strength * (offset + color / 4)).clamp(-1, 1)


def region_mean(cells: np.ndarray, views: Views) -> Tensor:
    """Return the mean of a map (n, cells, components) over each view, as (n, components)."""
    side = math.isqrt(cells.shape[1])
    edges = torch.arange(side, device=views.low.device) / side
    low, high = views.low[:, :, None], views.high[:, :, None]
    overlap = (torch.minimum(high, edges + 1 / side) - torch.maximum(low, edges)).clamp(min=0)
    weights = overlap[:, 1, :, None] * overlap[:, 0, None, :]
    weights = weights.flatten(1) / weights.sum((1, 2))[:, None]
    return torch.bmm(weights[:, None], torch.from_numpy(cells).to(weights.device).float())[:, 0]


def sample_rows(step: int, count: int, batch: int, seed: int) -> np.ndarray:
    """Return the rows of a step: each epoch is a new permutation, the same after a restart."""
    epoch, place = divmod(step, count // batch)
    order = np.random.default_rng((seed, epoch)).permutation(count)
    return np.sort(order[place * batch : (place + 1) * batch])


def load_views(cache: Cache, step: int, size: int, args: argparse.Namespace) -> tuple:
    """Return the pixels and, one per teacher, the targets of one step."""
    generator = torch.Generator().manual_seed(args.seed * 1_000_003 + step)
    rows = sample_rows(step, len(cache.images), args.batch, args.seed)
    views = random_views(len(rows), args.smallest_crop, generator).to(torch.device(args.device))
    pixels = jitter(crop(cache.images[rows], views, size), args.jitter, generator)
    targets = [region_mean(cells[rows], views) for cells in cache.targets]
    return pixels.contiguous(memory_format=torch.channels_last), targets


# --- train: loss, schedule, checkpoints --------------------------------------------------------


def distillation_loss(
    predicted: Tensor, targets: list[Tensor], heads: list[Tensor], temperature: float = 2.0
) -> Tensor:
    """Return smooth L1 plus cosine distance of the targets, plus KL divergence of the logits."""
    total = torch.zeros((), device=predicted.device)
    for part, target, head in zip(predicted.split([t.shape[1] for t in targets], 1), targets, heads, strict=True):
        total = total + 2 * F.smooth_l1_loss(part, target)
        total = total + 1 - F.cosine_similarity(part, target).mean()
        if head.numel():
            total = total + 0.5 * logit_divergence(part, target, head, temperature)
    return total


def logit_divergence(part: Tensor, target: Tensor, head: Tensor, temperature: float) -> Tensor:
    """Return the KL divergence of the classes that the teacher's head sees in both."""
    student, teacher = ((x @ head[:-1] + head[-1]) / temperature for x in (part, target))
    divergence = F.kl_div(student.log_softmax(1), teacher.log_softmax(1), reduction="batchmean", log_target=True)
    return divergence * temperature**2


@dataclass
class Clock:
    """Progress from 0 to 1 that reaches 1 at a deadline, however the process is slowed or stopped.

    Each step advances by its share of the time that is left. A step counts for at most
    `longest` seconds, so that a stopped process loses no schedule: it goes on where it was, a
    little faster. Touching the file `anneal` in the run's folder moves the deadline near.
    """

    deadline: float
    progress: float = 0.0
    longest: float = 3.0

    def advance(self, seconds: float) -> None:
        """Count a step that ended now."""
        seconds = min(seconds, self.longest)
        left = max(self.deadline - time.time(), 0.0)
        self.progress += (1 - self.progress) * seconds / (seconds + left)
        if left == 0:
            self.progress = 1.0

    def hurry(self, folder: Path, seconds: float) -> None:
        """Bring the deadline to at most `seconds` from now where the file `anneal` asks for it."""
        request = folder / "anneal"
        if request.exists():
            request.unlink()
            self.deadline = min(self.deadline, time.time() + seconds)


def find_deadline(minutes: float | None, until: str | None) -> float:
    """Return the end of the run in seconds since the epoch: after `minutes` or at HH:MM, UTC."""
    now = datetime.now(UTC)
    if until is None:
        return (now + timedelta(minutes=minutes or 60)).timestamp()
    hour, minute = map(int, until.split(":"))
    end = now.replace(hour=hour, minute=minute, second=0)
    return (end if end > now else end + timedelta(days=1)).timestamp()


def learning_rate(progress: float, peak: float, warm_up: float = 0.03) -> float:
    """Return the linear warm-up, then the cosine to zero."""
    if progress < warm_up:
        return peak * (progress + 1e-3) / warm_up
    return peak * 0.5 * (1 + math.cos(math.pi * (progress - warm_up) / (1 - warm_up)))


def input_size(progress: float, sizes: Sequence[str]) -> int:
    """Return the size of the last entry "START:SIZE" whose start is past; small sizes are cheap."""
    pairs = (entry.split(":") for entry in sizes)
    return [int(size) for start, size in pairs if float(start) <= progress][-1]


def make_optimizer(model: nn.Module, decay: float) -> torch.optim.Optimizer:
    """Return AdamW with weight decay on matrices and kernels only."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.98))


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, step: int, decay: float) -> None:
    """Move the averaged weights and statistics towards the current ones, faster at the start."""
    rate = 1 - min(decay, (1 + step) / (10 + step))
    pairs = zip(average.state_dict().values(), model.state_dict().values(), strict=True)
    pairs = [(a, m) for a, m in pairs if a.is_floating_point()]
    torch._foreach_lerp_([a for a, _ in pairs], [m for _, m in pairs], rate)


@torch.no_grad()
def take_weights(student: Student, path: Path, pixels: Tensor) -> None:
    """Give a student the weights of an exported one, so that training can go on without its checkpoint.

    The export folded batch normalisation away. Each is restored as the identity on the statistics of `pixels`
    (n, 3, height, width): evaluated, the student is the exported network, and training begins close to it. A student
    whose blocks are narrower inside takes the channels that weigh most.
    """
    weights = {
        tensor.name.removesuffix("_float16"): torch.from_numpy(numpy_helper.to_array(tensor).astype(np.float32))
        for tensor in onnx.load(path).graph.initializer
    }
    pairs = {"stem_conv": student.stem}
    for number, (block, stage) in enumerate(zip(student.blocks, STAGES, strict=True), 1):
        pairs |= {f"block_{number}_{part}": pair for part, pair in block.named_children()}
        narrow(weights, f"block_{number}", stage.inner)
    hooks = []
    for name, pair in pairs.items():
        if not isinstance(pair, nn.Identity):
            pair[0].weight.copy_(weights[f"{name}_weight"])
            pair[1].bias.copy_(weights[f"{name}_bias"])
            hooks.append(pair[1].register_forward_pre_hook(become_identity))
    student.eval()(pixels)
    for hook in hooks:
        hook.remove()
    student.train()


def narrow(weights: dict[str, Tensor], block: str, inner: int) -> None:
    """Leave so many inner channels of a block, those whose weights in and out are the largest."""
    first, second = weights[f"{block}_first_weight"], weights[f"{block}_second_weight"]
    weight = first.flatten(1).norm(dim=1) * second.transpose(0, 1).flatten(1).norm(dim=1)
    kept = weight.topk(inner).indices.sort().values
    for name in ("first_weight", "first_bias"):
        weights[f"{block}_{name}"] = weights[f"{block}_{name}"][kept]
    weights[f"{block}_second_weight"] = second[:, kept]


def become_identity(norm: nn.BatchNorm2d, inputs: tuple[Tensor]) -> None:
    """Set the statistics to those of a map, and scale and offset to undo them; the offset so far stays."""
    norm.running_mean.copy_(inputs[0].mean((0, 2, 3)))
    norm.running_var.copy_(inputs[0].var((0, 2, 3), unbiased=False))
    norm.weight.copy_(torch.sqrt(norm.running_var + norm.eps))
    norm.bias.add_(norm.running_mean)


@torch.no_grad()
def fit_projector(projector: nn.Linear, embeddings: Tensor, targets: Tensor) -> None:
    """Set the projector to the ridge regression of targets (n, targets) on embeddings (n, dim)."""
    mean, centre = embeddings.mean(0), targets.mean(0)
    centred = embeddings - mean
    gram = centred.T @ centred
    gram += 1e-3 * gram.diagonal().mean() * torch.eye(len(gram), device=gram.device)
    matrix = torch.linalg.solve(gram, centred.T @ (targets - centre))
    projector.weight.copy_(matrix.T)
    projector.bias.copy_(centre - mean @ matrix)


class ThreadTuner:
    """Choose the number of threads again and again, by trying.

    Where other work holds a core, every operation that is shared among cores waits for the slowest:
    one thread can then be several times faster than two, and slower again a minute later.

    Parameters
    ----------
    most : int
        The largest number of threads to try.
    trial : int
        Steps to try each number for.
    period : int
        Steps from one round of trials to the next.
    """

    def __init__(self, most: int, trial: int = 3, period: int = 60) -> None:
        self.choices = sorted({1, max(1, most // 2), most})
        self.trial, self.period, self.count = trial, period, 0
        self.seconds = dict.fromkeys(self.choices, 0.0)

    def before_step(self) -> None:
        """Set the number of threads of the coming step."""
        turn, place = divmod(self.count, self.trial)
        if turn < len(self.choices) and place == 0:
            torch.set_num_threads(self.choices[turn])
        elif self.count == len(self.choices) * self.trial:
            torch.set_num_threads(min(self.choices, key=self.seconds.__getitem__))

    def after_step(self, seconds: float) -> None:
        """Count the time of the step."""
        if self.count == 0:
            self.seconds = dict.fromkeys(self.choices, 0.0)
        turn = self.count // self.trial
        if turn < len(self.choices):
            self.seconds[self.choices[turn]] += seconds
        self.count = (self.count + 1) % self.period


class Run:
    """Everything that changes during training, and its checkpoint.

    Parameters
    ----------
    cache : Cache
    args : Namespace
        The options of `train`.
    """

    def __init__(self, cache: Cache, args: argparse.Namespace) -> None:
        torch.manual_seed(args.seed)
        self.cache, self.args, self.device = cache, args, torch.device(args.device)
        targets = sum(cells.shape[2] for cells in cache.targets)
        self.model = Distiller(targets).to(self.device, memory_format=torch.channels_last)
        self.heads = [head.to(self.device) for head in cache.heads]
        self.average = copy.deepcopy(self.model)
        self.optimizer = make_optimizer(self.model, args.decay)
        self.clock = Clock(find_deadline(args.minutes, args.until))
        self.step = 0
        self.views = 0
        self.path = args.run / "last.pt"
        self.loader = ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,))
        self.coming: Future | None = None
        self.stopped = False

    def load(self, step: int) -> Future:
        """Begin to load the views of a step, on another core if one is free."""
        size = input_size(self.clock.progress, self.args.sizes)
        return self.loader.submit(load_views, self.cache, step, size, self.args)

    def save(self) -> None:
        """Write the checkpoint under a temporary name, then rename it."""
        state = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "progress": self.clock.progress,
            "step": self.step,
            "views": self.views,
        }
        temporary = self.path.with_suffix(f".{os.getpid()}")
        torch.save(state, temporary)
        temporary.replace(self.path)

    def resume(self) -> None:
        """Go on from the checkpoint, if there is one, or begin from an exported student, if one is given."""
        if not self.path.exists():
            if self.args.start:
                self.start_from(self.args.start)
            return
        state = torch.load(self.path, weights_only=True, map_location=self.device)
        for name in ("model", "average", "optimizer"):
            getattr(self, name).load_state_dict(state[name])
        self.clock.progress, self.step, self.views = (state[name] for name in ("progress", "step", "views"))

    @torch.no_grad()
    def start_from(self, path: Path) -> None:
        """Take the weights of an exported student, and a projector that fits them."""
        size = input_size(0.0, self.args.sizes)
        loaded = [load_views(self.cache, step, size, self.args) for step in range(32)]
        student = self.model.student
        take_weights(student, path, torch.cat([pixels for pixels, _ in loaded[:4]]))
        embeddings = torch.cat([student.eval()(pixels) for pixels, _ in loaded])
        targets = torch.cat([torch.cat(parts, 1) for _, parts in loaded])
        fit_projector(self.model.projector, embeddings, targets)
        self.model.train()
        self.average.load_state_dict(self.model.state_dict())

    def train_step(self) -> float:
        """Take one step and return its loss."""
        pixels, targets = (self.coming or self.load(self.step)).result()
        self.coming = self.load(self.step + 1)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.clock.progress, self.args.rate)
        with torch.autocast(self.device.type, torch.bfloat16):
            predicted = self.model(pixels)
        loss = distillation_loss(predicted.float(), targets, self.heads)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        self.optimizer.step()
        update_average(self.average, self.model, self.step, self.args.average)
        self.step += 1
        self.views += len(pixels)
        return loss.item()

    def loop(self) -> None:
        """Train until the clock says 1 or SIGTERM comes, logging and saving at intervals."""
        saved, losses, begun = time.monotonic(), [], time.monotonic()
        tuner = ThreadTuner(self.args.threads)
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "stopped", True))
        while self.clock.progress < 1 and not self.stopped:
            start = time.monotonic()
            tuner.before_step()
            losses.append(self.train_step())
            tuner.after_step(time.monotonic() - start)
            self.clock.hurry(self.args.run, self.args.anneal_seconds)
            self.clock.advance(time.monotonic() - start)
            if len(losses) == 60:
                self.report(np.mean(losses), len(losses) / (time.monotonic() - begun))
                losses, begun = [], time.monotonic()
            if time.monotonic() - saved > 60 * self.args.save_minutes:
                self.save()
                saved = time.monotonic()
        self.save()

    def report(self, loss: float, steps_per_second: float) -> None:
        """Print one line of progress."""
        progress = self.clock.progress
        print(
            f"{datetime.now(UTC):%H:%M:%S} step {self.step} progress {progress:.3f} "
            f"size {input_size(progress, self.args.sizes)} loss {loss:.4f} "
            f"images/s {steps_per_second * self.args.batch:.0f} views {self.views} "
            f"threads {torch.get_num_threads()}",
            flush=True,
        )


def train(args: argparse.Namespace) -> None:
    """Train or go on training; the last checkpoint in the run's folder is the result."""
    args.run.mkdir(parents=True, exist_ok=True)
    (args.run / "pid").write_text(f"{os.getpid()}\n", encoding="utf8")
    (args.run / "options.json").write_text(json.dumps(vars(args), default=str), encoding="utf8")
    run = Run(Cache.load(args.cache), args)
    run.resume()
    run.loop()


# --- export ------------------------------------------------------------------------------------


def fold(pair: nn.Sequential) -> nn.Conv2d:
    """Return one convolution equal to a convolution and its batch normalisation, in float16 steps.

    The weights are rounded to float16 here, so that the rounded network is what gets checked.
    """
    conv, norm = pair
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    folded = nn.Conv2d(conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding)
    folded.weight.data = (conv.weight * scale[:, None, None, None]).half().float()
    folded.bias.data = (norm.bias - norm.running_mean * scale).half().float()
    return folded.requires_grad_(False)


def fold_student(student: Student) -> Student:
    """Return a copy of the student without batch normalisation."""
    student = copy.deepcopy(student).eval().requires_grad_(False)
    student.stem = fold(student.stem)
    for block in student.blocks:
        block.first, block.second = fold(block.first), fold(block.second)
        if not isinstance(block.shortcut, nn.Identity):
            block.shortcut = fold(block.shortcut)
    return student


class GraphWriter:
    """Nodes and float16 initializers of an ONNX graph, in the order they are added."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def add(self, kind: str, inputs: list[str], output: str, **attributes: object) -> str:
        """Add a node and return the name of its output."""
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def weight(self, tensor: Tensor, name: str) -> str:
        """Store a tensor in float16, half the size; runtimes fold the cast when they load it."""
        self.weights.append(numpy_helper.from_array(tensor.half().numpy(), f"{name}_float16"))
        return self.add("Cast", [f"{name}_float16"], name, to=TensorProto.FLOAT)

    def conv(self, conv: nn.Conv2d, x: str, name: str) -> str:
        """Add a convolution."""
        weight = self.weight(conv.weight, f"{name}_weight")
        bias = self.weight(conv.bias, f"{name}_bias")
        return self.add(
            "Conv",
            [x, weight, bias],
            name,
            kernel_shape=conv.kernel_size,
            strides=conv.stride,
            pads=conv.padding * 2,
        )

    def block(self, block: Block, x: str, name: str) -> str:
        """Add a residual block; its output map bears the block's name."""
        first = self.add("Relu", [self.conv(block.first, x, f"{name}_first")], f"{name}_inner")
        second = self.conv(block.second, first, f"{name}_second")
        if not isinstance(block.shortcut, nn.Identity):
            x = self.conv(block.shortcut, x, f"{name}_shortcut")
        return self.add("Relu", [self.add("Add", [second, x], f"{name}_sum")], name)


def build_onnx(student: Student, size: int) -> onnx.ModelProto:
    """Write a folded student as ONNX: `pixel_values` to `embedding`, `block_1`, and so on."""
    writer = GraphWriter()
    x = writer.add("Relu", [writer.conv(student.stem, "pixel_values", "stem_conv")], "stem")
    shapes = {}
    maps = student.maps(torch.zeros(1, 3, size, size))
    for number, (block, sample) in enumerate(zip(student.blocks, maps, strict=True), 1):
        x = writer.block(block, x, f"block_{number}")
        shapes[x] = ["batch", *sample.shape[1:]]
    pooled = [writer.add("GlobalAveragePool", [name], f"{name}_pooled") for name in list(shapes)[-EMBEDDED:]]
    writer.add("Flatten", [writer.add("Concat", pooled, "pooled", axis=1)], "embedding")
    shapes = {"embedding": ["batch", embedding_of(maps).shape[1]], **shapes}
    graph = helper.make_graph(
        writer.nodes,
        "backbone",
        [helper.make_tensor_value_info("pixel_values", 1, ["batch", 3, size, size])],
        [helper.make_tensor_value_info(name, 1, shape) for name, shape in shapes.items()],
        writer.weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def embedding_of(maps: list[Tensor]) -> Tensor:
    """Return the exported embedding: one block sees things, the one before it more of texture and shape."""
    return torch.cat([x.mean((2, 3)) for x in maps[-EMBEDDED:]], 1)


def check_export(model: onnx.ModelProto, student: Student, size: int) -> float:
    """Return the largest difference of ONNX Runtime and torch, relative to the largest value."""
    onnx.checker.check_model(model, full_check=True)
    pixels = torch.rand(3, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    outputs = session.run(None, {"pixel_values": pixels.numpy()})
    maps = student.maps(pixels)
    expected = [embedding_of(maps), *maps]
    pairs = zip(outputs, expected, strict=True)
    return max(float(abs(a - b.numpy()).max() / b.abs().max()) for a, b in pairs)


def export(args: argparse.Namespace) -> None:
    """Write the averaged student of a checkpoint as ONNX, and print what the file is."""
    state = torch.load(args.checkpoint, weights_only=True, map_location="cpu")
    student = Student()
    prefix = "student."
    weights = {k[len(prefix) :]: v for k, v in state["average"].items() if k.startswith(prefix)}
    student.load_state_dict(weights)
    student = fold_student(student)
    model = build_onnx(student, args.size)
    difference = check_export(model, student, args.size)
    if difference > 1e-4:
        raise SystemExit(f"ONNX Runtime and torch differ by {difference:.1e}, above 1e-4")
    data = model.SerializeToString(deterministic=True)
    args.output.write_bytes(data)
    print(f"{args.output.name}: {len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()}")
    print(f"after {state['views']} views; largest relative difference {difference:.1e}")
    for output in model.graph.output:
        dims = output.type.tensor_type.shape.dim
        print(f"  {output.name}: {[d.dim_value or d.dim_param for d in dims]}")


# --- probe -------------------------------------------------------------------------------------


def squash(image: Image.Image, size: int) -> Image.Image:
    """Resize the whole image to a square, whatever its proportions."""
    return image.resize((size, size), Image.Resampling.BILINEAR)


def centre_crop(image: Image.Image, size: int) -> Image.Image:
    """Resize the shorter side to `size` and cut the square in the middle."""
    width, height = image.size
    side = min(width, height)
    x, y = (width - side) / 2, (height - side) / 2
    return image.resize((size, size), Image.Resampling.BILINEAR, box=(x, y, x + side, y + side))


def padded_crop(image: Image.Image, size: int) -> Image.Image:
    """Cut the middle after resizing the shorter side to 8/7 of `size`, as ImageNet models do."""
    larger = round(size * 8 / 7)
    edge = (larger - size) / 2
    square = centre_crop(image, larger)
    return square.crop((round(edge), round(edge), round(edge) + size, round(edge) + size))


RULES: dict[str, Callable[[Image.Image, int], Image.Image]] = {
    "squash": squash,
    "centre": centre_crop,
    "padded": padded_crop,
}


def load_arrays(folder: Path, part: str) -> tuple[list[Image.Image], np.ndarray]:
    """Return the images and labels of PART.npz."""
    data = np.load(folder / f"{part}.npz")
    return [Image.fromarray(image) for image in data["images"]], data["labels"]


def load_photographs(folder: Path, part: str) -> tuple[list[Image.Image], np.ndarray]:
    """Return the images of PART/CLASS/*.jpg and their classes."""
    files = sorted((folder / part).glob("*/*.jpg"))
    return [Image.open(f).convert("RGB") for f in files], np.array([f.parent.name for f in files])


def open_session(path: Path, threads: int) -> tuple[ort.InferenceSession, int]:
    """Return a session and the side of its input."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session, session.get_inputs()[0].shape[2]


def embed(session: ort.InferenceSession, squares: Sequence[Image.Image]) -> np.ndarray:
    """Return the embeddings of images that have the input's size."""
    array = np.stack([np.asarray(square, np.float32) for square in squares])
    pixels = np.ascontiguousarray(((array - PIXEL_MEAN) / PIXEL_STD).transpose(0, 3, 1, 2))
    return np.concatenate(
        [session.run(["embedding"], {"pixel_values": pixels[rows]})[0] for rows in batches(len(pixels), 32)]
    )


def score(session: ort.InferenceSession, size: int, parts: list[tuple], rule: str) -> float:
    """Return the test accuracy of a linear probe on the embeddings."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    (train_x, test_x) = (embed(session, [RULES[rule](image, size) for image in images]) for images, _ in parts)
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
    return classifier.fit(train_x, parts[0][1]).score(test_x, parts[1][1])


def time_per_image(path: Path, batch: int = 4, repeats: int = 60) -> float:
    """Return the milliseconds of one image on one thread, the best of several runs."""
    session, size = open_session(path, threads=1)
    pixels = np.random.default_rng(0).uniform(-1, 1, (batch, 3, size, size)).astype(np.float32)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        session.run(["embedding"], {"pixel_values": pixels})
        times.append(time.perf_counter() - start)
    return 1000 * min(times) / batch


def probe(args: argparse.Namespace) -> None:
    """Print the accuracy of a linear probe on two kinds of data, and the time of an image."""
    session, size = open_session(args.model, threads=args.threads)
    if args.arrays:
        parts = [load_arrays(args.arrays, part) for part in ("train", "test")]
        print(f"{args.arrays.name}, squash: {score(session, size, parts, 'squash'):.3f}")
    if args.photographs:
        parts = [load_photographs(args.photographs, part) for part in ("train", "test")]
        for rule in RULES:
            name = f"{args.photographs.name}, {rule}"
            print(f"{name}: {score(session, size, parts, rule):.3f}")
    print(f"{time_per_image(args.model):.2f} ms per image at {size} px, one thread")


# --- card --------------------------------------------------------------------------------------


def card(args: argparse.Namespace) -> None:
    """Write the card folder of an exported student: the file pinned, golden rows, and what users will see of it."""
    from skltransfer import Card, load_card
    from skltransfer._engine import catalog
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
    catalog.write_card(replace(completed, layers_table=layers, measured=measured), args.output / "card.json")
    print(f"{args.output}: {measured}")


def figures(described: object, args: argparse.Namespace) -> Iterator[tuple[str, float]]:
    """Measure a card as its users do: probes, and the graph's share of the time."""
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


# --- command line ------------------------------------------------------------------------------


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    add_prepare(commands)
    add_train(commands)
    add_export(commands)
    add_probe(commands)
    add_card(commands)
    return parser


def add_prepare(commands: argparse._SubParsersAction) -> None:
    """Add the command `prepare`."""
    parser = commands.add_parser("prepare", help="cache images and the targets of the teachers")
    parser.add_argument("--cache", type=Path, required=True, help="folder to write")
    parser.add_argument("--images", type=Path, nargs="+", required=True, help="folders or zips")
    parser.add_argument("--teachers", nargs="+", required=True, help="FILE.onnx:SIZE, card beside")
    parser.add_argument("--side", type=int, default=112, help="side of the cached squares")
    parser.add_argument("--components", type=int, default=512, help="target width per teacher")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.set_defaults(command=prepare)


def add_train(commands: argparse._SubParsersAction) -> None:
    """Add the command `train`."""
    parser = commands.add_parser("train", help="train the student, or go on training it")
    parser.add_argument("--cache", type=Path, required=True, help="folder that prepare wrote")
    parser.add_argument("--run", type=Path, required=True, help="folder of checkpoints and pid")
    parser.add_argument("--start", type=Path, help="exported student to begin from: FILE.onnx")
    parser.add_argument("--minutes", type=float, help="length of the run")
    parser.add_argument("--until", help="end of the run, HH:MM UTC, instead of --minutes")
    parser.add_argument("--sizes", nargs="+", default=["0:64", "0.4:80", "0.72:96"])
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=3e-3, help="peak learning rate")
    parser.add_argument("--decay", type=float, default=0.05, help="weight decay")
    parser.add_argument("--average", type=float, default=0.999, help="decay of averaged weights")
    parser.add_argument("--smallest-crop", type=float, default=0.3, help="area of the image")
    parser.add_argument("--jitter", type=float, default=0.25, help="of brightness and contrast")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="at most")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="default: a GPU")
    parser.add_argument("--save-minutes", type=float, default=3.0)
    parser.add_argument("--anneal-seconds", type=float, default=240.0)
    parser.set_defaults(command=train)


def add_export(commands: argparse._SubParsersAction) -> None:
    """Add the command `export`."""
    parser = commands.add_parser("export", help="write the student as ONNX")
    parser.add_argument("--checkpoint", type=Path, required=True, help="last.pt of a run")
    parser.add_argument("--output", type=Path, required=True, help="file to write")
    parser.add_argument("--size", type=int, default=96, help="side of the input")
    parser.set_defaults(command=export)


def add_probe(commands: argparse._SubParsersAction) -> None:
    """Add the command `probe`."""
    parser = commands.add_parser("probe", help="measure an exported student")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--arrays", type=Path, help="folder of train.npz and test.npz")
    parser.add_argument("--photographs", type=Path, help="folder of PART/CLASS/*.jpg")
    parser.add_argument("--threads", type=int, default=1)
    parser.set_defaults(command=probe)


def add_card(commands: argparse._SubParsersAction) -> None:
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


def main() -> None:
    """Run the command line."""
    args = build_parser().parse_args()
    args.command(args)


if __name__ == "__main__":
    main()
