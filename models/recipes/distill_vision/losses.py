"""The loss: how far predicted targets are from the teachers'."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def distillation_loss(
    predicted: Tensor, targets: list[Tensor], heads: list[Tensor], temperature: float = 2.0
) -> Tensor:
    """Return smooth L1 plus cosine distance of the targets, plus KL divergence of the logits, summed over teachers."""
    total = torch.zeros((), device=predicted.device)
    for part, target, head in zip(predicted.split([t.shape[1] for t in targets], 1), targets, heads, strict=True):
        total = total + 2 * F.smooth_l1_loss(part, target)
        total = total + 1 - F.cosine_similarity(part, target).mean()
        if head.numel():
            total = total + 0.5 * logit_divergence(part, target, head, temperature)
    return total


def logit_divergence(part: Tensor, target: Tensor, head: Tensor, temperature: float) -> Tensor:
    """Return the KL divergence of the classes that the teacher's head predicts from both."""
    student, teacher = ((x @ head[:-1] + head[-1]) / temperature for x in (part, target))
    divergence = F.kl_div(student.log_softmax(1), teacher.log_softmax(1), reduction="batchmean", log_target=True)
    return divergence * temperature**2
