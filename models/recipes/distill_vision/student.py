"""The student: a compact residual network of plain convolutions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: One number for all channels, so that their order cannot be wrong at inference.
PIXEL_MEAN = PIXEL_STD = 127.5


@dataclass(frozen=True)
class Stage:
    """One residual block: width of its inner and outer convolution, and the stride of the first."""

    inner: int
    outer: int
    stride: int


#: Channels of the first convolution.
STEM = 24
#: Number of last blocks whose spatial means, side by side, are the exported embedding.
EMBEDDED = 2
#: The widths are what a CPU core runs in under a millisecond at 96 px; see the README for what narrower ones cost.
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
    """The backbone that is exported: a stem, residual blocks, the mean of the last map.

    All convolutions are plain: on a CPU they run and train faster than depthwise ones of the same accuracy.
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
    """The student and a linear projector to the teachers' targets, which is dropped after training."""

    def __init__(self, targets: int) -> None:
        super().__init__()
        self.student = Student()
        self.projector = nn.Linear(STAGES[-1].outer, targets)

    def forward(self, x: Tensor) -> Tensor:
        """Return predicted targets (n, targets)."""
        return self.projector(self.student(x))


def embedding_of(maps: list[Tensor]) -> Tensor:
    """Return the exported embedding: the last block responds to objects, the one before it to texture and shape."""
    return torch.cat([x.mean((2, 3)) for x in maps[-EMBEDDED:]], 1)
