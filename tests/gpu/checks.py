"""Every check that needs a GPU, as one table. Usage: ``python tests/gpu/checks.py [MODEL ...]``.

MODEL is a name, an .onnx file with a card or a card folder; by default every graph at hand: the embedded backbones, and
those of a folder ``shared`` beside the checkout. Without a GPU it says why and exits with status 0 and no check run.
`test_gpu.py` beside this file runs the same checks under pytest.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from skltransfer import PretrainedEmbedder, cards, load_card
from skltransfer._engine import golden, runtime
from skltransfer.datasets import load_emoji
from skltransfer.errors import DeviceError

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # as a script it is started from anywhere

from tests.shared import test_shared_models as real  # noqa: E402 - not before the line above

#: Largest difference to the CPU, relative to the largest number: with all bits, and with those of TF32.
EXACT, AGREEMENT = 1e-3, 1e-2
COSINE, COSINE_FP16 = 0.9999, 0.999


def missing_gpu() -> str:
    """Return why no GPU can be used; empty if one can."""
    return runtime.why_not(runtime.Device("cuda"))


def at_hand(folder: Path) -> list[str]:
    """Name the graphs at hand; those beside the checkout are copied to a folder, with the cards they lack."""
    models = ROOT.parent / "shared" / "models"
    copies = []
    for path in sorted(models.glob("*.onnx")):
        copy = shutil.copy(path, folder)
        golden.write_card(real.card_of(models, path.stem, folder=folder))
        copies.append(copy)
    return [*cards.names(), *copies]


def samples_of(model: str, n: int) -> list:
    """Give emoji, or what they are called."""
    emoji = load_emoji()
    return list(emoji.texts[:n] if load_card(model).modality == "text" else emoji.images[:n])


def embed(model: str, samples: list, **choices: object) -> np.ndarray:
    return PretrainedEmbedder(model, **{"device": "cuda", "cache": None, **choices}).fit_transform(samples)


def compare(model: str, **choices: object) -> tuple[float, float]:
    """Give the difference to the CPU's rows, relative to the largest number, and the least cosine."""
    samples = samples_of(model, 64)
    cpu, gpu = embed(model, samples, device="cpu"), embed(model, samples, **choices)
    cosines = (cpu * gpu).sum(1) / np.linalg.norm(cpu, axis=1) / np.linalg.norm(gpu, axis=1)
    return float(np.abs(cpu - gpu).max() / np.abs(cpu).max()), float(cosines.min())


def agrees_with_the_cpu(model: str) -> str:
    difference, cosine = compare(model)
    assert difference < AGREEMENT, difference
    assert cosine > COSINE, cosine
    return f"difference {difference:.1e}, cosine {cosine:.6f}"


def agrees_with_the_cpu_in_all_bits(model: str) -> str:
    difference, _ = compare(model, precision="fp32")
    assert difference < EXACT, difference
    return f"difference {difference:.1e}"


def agrees_with_the_cpu_in_half(model: str) -> str:
    _, cosine = compare(model, precision="fp16")
    assert cosine > COSINE_FP16, cosine
    return f"cosine {cosine:.6f}"


def reports_cuda(model: str) -> str:
    embedder = PretrainedEmbedder(model, device="cuda").fit(samples_of(model, 1))
    assert embedder.providers_[0] == "CUDAExecutionProvider"
    return embedder.providers_[0]


def auto_takes_the_gpu(model: str) -> str:
    embedder = PretrainedEmbedder(model).fit(samples_of(model, 1))
    assert embedder.providers_[0] == "CUDAExecutionProvider"
    return "CUDA"


def keeps_order_in_uneven_batches(model: str) -> str:
    samples = samples_of(model, 50)
    whole, part = embed(model, samples, batch_size=7), embed(model, samples[::-1], batch_size=64)[::-1]
    assert np.abs(whole - part).max() < AGREEMENT * np.abs(whole).max()
    return "order kept"


def shares_samples_out_among_all_gpus(model: str) -> str:
    samples = samples_of(model, 300)
    one, every = embed(model, samples, batch_size=16), embed(model, samples, batch_size=16, device="cuda:all")
    assert np.abs(one - every).max() < AGREEMENT * np.abs(one).max()
    return f"{len(runtime.Device('cuda', runtime.ALL).each())} GPUs"


def leaves_rows_on_the_card(model: str) -> str:
    if importlib.util.find_spec("torch") is None:
        return "no torch"
    samples = samples_of(model, 100)
    rows, want = embed(model, samples, output="torch"), embed(model, samples)
    assert rows.device.type == "cuda", rows.device
    assert np.abs(rows.cpu().numpy() - want).max() < AGREEMENT * np.abs(want).max()
    return str(rows.device)


def records_graphs(model: str) -> str:
    code = (
        "import numpy as np; from skltransfer import PretrainedEmbedder; from skltransfer.datasets import load_emoji\n"
        f"X = load_emoji().{'texts' if load_card(model).modality == 'text' else 'images'}[:200]\n"
        f"e = PretrainedEmbedder({model!r}, batch_size=16, cache=None); cpu = e.set_params(device='cpu').transform(X)\n"
        "gpu = [e.set_params(device='cuda').transform(X) for _ in range(3)]\n"
        f"print(max(np.abs(rows - cpu).max() for rows in gpu) / np.abs(cpu).max())\n"
    )
    difference = float(in_child(code, SKLTRANSFER_CUDA_OPTIONS="enable_cuda_graph=1"))
    assert difference < AGREEMENT, difference
    return f"difference {difference:.1e}"


def knows_its_memory(model: str) -> str:
    """Pages are locked and free memory is known; both are of the device, whatever the model."""
    device = runtime.Device("cuda")
    free, speed = runtime.free_memory(device), runtime.bus_speed(device, lock=True) / runtime.bus_speed(device)
    assert free, free
    return f"{free / 2**30:.1f} GiB free, locked memory is copied {speed:.1f} times as fast"


def finds_a_batch_size(model: str) -> str:
    if load_card(model).modality != "image":
        return "for images only"
    samples = samples_of(model, 785) * 20
    assert np.isfinite(embed(model, samples)).all()
    return str([session.best for session in runtime.open_sessions().values() if session.best])


def goes_on_when_memory_is_short(model: str) -> str:
    code = (
        "from skltransfer import PretrainedEmbedder; from skltransfer._engine import runtime\n"
        "from skltransfer.datasets import load_emoji\n"
        f"X = load_emoji().images * 3; e = PretrainedEmbedder({model!r}, device='cuda', batch_size=2048, cache=None)\n"
        "assert e.fit_transform(X).shape[0] == len(X)\n"
        "print([session._most for session in runtime.open_sessions().values()])\n"
    )
    if load_card(model).modality != "image":
        return "for images only"
    return in_child(code, SKLTRANSFER_CUDA_OPTIONS="gpu_mem_limit=268435456")


def absent_device_raises(model: str) -> str:
    try:
        PretrainedEmbedder(model, device="cuda:63").fit(samples_of(model, 1))
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
    return in_child(code, CUDA_VISIBLE_DEVICES="")


def in_child(code: str, **environment: str) -> str:
    """Run Python with other environment variables, and give what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()[:60]


CHECKS: tuple[Callable[[str], str], ...] = (
    reports_cuda,
    auto_takes_the_gpu,
    agrees_with_the_cpu,
    agrees_with_the_cpu_in_all_bits,
    agrees_with_the_cpu_in_half,
    keeps_order_in_uneven_batches,
    shares_samples_out_among_all_gpus,
    leaves_rows_on_the_card,
    records_graphs,
    knows_its_memory,
    finds_a_batch_size,
    goes_on_when_memory_is_short,
    absent_device_raises,
    hidden_gpu_is_quiet_under_auto_and_an_error_by_name,
)


def main(models: list[str]) -> int:
    if reason := missing_gpu():
        print(f"No GPU check was run: {reason}")
        return 0
    print("| model | check | result |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        lines = [line(model, check) for model in models or at_hand(Path(folder)) for check in CHECKS]
    return int(any("FAILED" in written for written in lines))


def line(model: str, check: Callable[[str], str]) -> str:
    """Run a check and print its line of the table."""
    try:
        result = check(model)
    except Exception as err:  # noqa: BLE001 - a table shows every result
        result = f"FAILED: {type(err).__name__}: {err}"
    written = f"| {Path(model).stem} | {check.__name__.replace('_', ' ')} | {result} |"
    print(written, flush=True)
    return written


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
