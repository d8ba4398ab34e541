"""Every check that needs a GPU, as one table. Usage: ``python tests/gpu/checks.py [MODEL ...]``.

MODEL is a name, an .onnx file with a card or a card folder; by default the embedded backbones. Without a GPU it says
why and exits with status 0 and no check run. `test_gpu.py` beside this file runs the same checks under pytest.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import numpy as np

from skltransfer import PretrainedEmbedder, cards, runtime
from skltransfer.datasets import load_emoji
from skltransfer.errors import DeviceError

#: Largest difference to the CPU, relative to the largest number: GPUs multiply with fewer bits (TF32).
AGREEMENT = 1e-2
COSINE = 0.9999


def missing_gpu() -> str:
    """Say why no GPU can be used; empty if one can."""
    return runtime.why_not(runtime.Device("cuda"))


def agrees_with_the_cpu(model: str) -> str:
    images = load_emoji().images[:64]
    cpu, gpu = (
        PretrainedEmbedder(model, device=device, cache=None).fit_transform(images) for device in ("cpu", "cuda")
    )
    difference = float(np.abs(cpu - gpu).max() / np.abs(cpu).max())
    cosine = float(((cpu * gpu).sum(1) / np.linalg.norm(cpu, axis=1) / np.linalg.norm(gpu, axis=1)).min())
    assert difference < AGREEMENT, difference
    assert cosine > COSINE, cosine
    return f"difference {difference:.1e}, cosine {cosine:.6f}"


def reports_cuda(model: str) -> str:
    embedder = PretrainedEmbedder(model, device="cuda").fit(load_emoji().images[:1])
    assert embedder.providers_[0] == "CUDAExecutionProvider"
    return embedder.providers_[0]


def auto_takes_the_gpu(model: str) -> str:
    embedder = PretrainedEmbedder(model).fit(load_emoji().images[:1])
    assert embedder.providers_[0] == "CUDAExecutionProvider"
    return "CUDA"


def keeps_order_in_uneven_batches(model: str) -> str:
    images = load_emoji().images[:50]
    whole = PretrainedEmbedder(model, device="cuda", cache=None, batch_size=7).fit_transform(images)
    part = PretrainedEmbedder(model, device="cuda", cache=None, batch_size=64).fit_transform(images[::-1])[::-1]
    assert np.abs(whole - part).max() < AGREEMENT * np.abs(whole).max()
    return "order kept"


def absent_device_raises(model: str) -> str:
    try:
        PretrainedEmbedder(model, device="cuda:63").fit(load_emoji().images[:1])
    except DeviceError as err:
        return str(err)[:60]
    raise AssertionError("device='cuda:63' did not raise")


def hidden_gpu_is_quiet_under_auto_and_an_error_by_name(model: str) -> str:
    code = (
        "import warnings; warnings.simplefilter('error')\n"
        "from skltransfer import PretrainedEmbedder; from skltransfer.errors import DeviceError\n"
        f"assert PretrainedEmbedder({model!r}).fit(['x']).providers_ == ('CPUExecutionProvider',)\n"
        f"try: PretrainedEmbedder({model!r}, device='cuda').fit(['x'])\n"
        "except DeviceError as err: print(err)\n"
        "else: raise SystemExit('device=cuda did not raise')\n"
    )
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()[:60]


CHECKS: tuple[Callable[[str], str], ...] = (
    reports_cuda,
    auto_takes_the_gpu,
    agrees_with_the_cpu,
    keeps_order_in_uneven_batches,
    absent_device_raises,
    hidden_gpu_is_quiet_under_auto_and_an_error_by_name,
)


def main(models: list[str]) -> int:
    if reason := missing_gpu():
        print(f"No GPU check was run: {reason}")
        return 0
    failed = 0
    print("| model | check | result |\n|---|---|---|")
    for model in models or cards.names():
        for check in CHECKS:
            try:
                result = check(model)
            except Exception as err:  # noqa: BLE001 - a table shows every result
                failed += 1
                result = f"FAILED: {type(err).__name__}: {err}"
            print(f"| {model} | {check.__name__.replace('_', ' ')} | {result} |")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
