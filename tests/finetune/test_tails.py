"""Where graphs may be cut, what is trained behind a cut, and weights put back."""

import numpy as np
import pytest

# Before what follows, which imports torch: without it these tests are skipped, hence E402.
torch = pytest.importorskip("torch")

from skltransfer import PretrainedEmbedder, testing  # noqa: E402
from skltransfer._engine import catalog, graph, runtime  # noqa: E402
from skltransfer._engine import plan as plans  # noqa: E402
from skltransfer.errors import LayerError, TuningError  # noqa: E402
from skltransfer.finetune import _cuts, _interpreter  # noqa: E402
from skltransfer.testing import SIDE, make_graph  # noqa: E402
from tests.finetune.support import BLOCKS, assert_tail_agrees, node, residual, save  # noqa: E402


def planned(model: str, **choices):
    return plans.make(catalog.load_card(model), runtime.Device(), **choices)


@pytest.fixture
def parts(tmp_path):
    return _cuts.taken_apart(planned(save(tmp_path)))


def test_blocks_are_counted_from_the_rows(parts, tmp_path):
    plan = planned(str(tmp_path / "tiny.onnx"))
    for blocks in range(1, BLOCKS + 1):
        tail = _cuts.chosen(parts, plan, blocks, None)
        assert tail.cut == f"sum_{BLOCKS - blocks}"
        assert tail.weights == tuple(f"kernel_{i}" for i in range(BLOCKS - blocks + 1, BLOCKS + 1))


def test_more_blocks_than_there_are_are_refused(parts, tmp_path):
    with pytest.raises(
        TuningError, match="has 3 blocks that can be trained, fewer than blocks=4: they begin at 'sum_2'"
    ):
        _cuts.chosen(parts, planned(str(tmp_path / "tiny.onnx")), 4, None)


def test_tensor_beside_which_weights_lead_to_the_rows_is_no_cut(parts, tmp_path):
    plan = planned(str(tmp_path / "tiny.onnx"))
    assert parts.tail("relu_2") is None
    with pytest.raises(TuningError, match="cut='relu_2' is not the only way to the rows"):
        _cuts.chosen(parts, plan, 2, "relu_2")
    with pytest.raises(TuningError, match="has no weights behind it"):
        _cuts.chosen(parts, plan, 2, "pooled")
    with pytest.raises(LayerError, match="has no tensor 'sum_9'"):
        _cuts.chosen(parts, plan, 2, "sum_9")


def test_table_of_words_has_no_block():
    plan = planned("text-mini")
    with pytest.raises(TuningError, match=r"'text-mini' has no block that could be trained.*table of words"):
        _cuts.chosen(_cuts.taken_apart(plan), plan, 1, None)


def test_what_the_tail_reads_of_the_samples_is_no_more_than_a_mask(tmp_path):
    # The pixels themselves come back in behind the cut: rows are not a function of it.
    kernel = np.ones((3, 3, 1, 1), np.float32)
    nodes = [
        node("Conv", ["x", "a"], ["first"]),
        node("Conv", ["first", "b"], ["second"]),
        node("Add", ["second", "x"], ["sum"]),
        node("ReduceMean", ["sum"], ["embedding"], axes=[2, 3], keepdims=0),
    ]
    model = make_graph(nodes, {"x": ("float32", ["n", 3, SIDE, SIDE])}, "embedding", a=kernel, b=kernel)
    assert _cuts.taken_apart(planned(save(tmp_path, model))).tail("first") is None


@pytest.mark.parametrize("name", ["vision-mini"])
@pytest.mark.parametrize("cut", ["block_1", "block_2", "block_3", "block_4"])
def test_tail_computes_the_rows_of_the_graph(name, cut):
    plan = planned(name)
    parts = _cuts.taken_apart(plan)
    assert_tail_agrees(plan, parts, parts.tail(cut))


def test_unknown_operator_is_named(tmp_path):
    nodes = [
        node("Conv", ["x", "a"], ["first"]),
        node("Conv", ["first", "a"], ["second"]),
        node("Hardmax", ["second"], ["odd"]),
        node("ReduceMean", ["odd"], ["embedding"], axes=[2, 3], keepdims=0),
    ]
    a = np.ones((3, 3, 1, 1), np.float32)
    model = make_graph(nodes, {"x": ("float32", ["n", 3, SIDE, SIDE])}, "embedding", a=a)
    parts = _cuts.taken_apart(planned(save(tmp_path, model)))
    with pytest.raises(TuningError, match="not known here, Hardmax"):
        _interpreter.module(parts, parts.tail("first"))


@pytest.mark.parametrize("kind", ["plain", "half", "shared"])
def test_weights_are_put_back_and_all_others_stay_as_they_are(tmp_path, kind):
    model = residual(half=kind == "half", shared=kind == "shared")
    plan = planned(save(tmp_path, model))
    parts = _cuts.taken_apart(plan)
    tail = _cuts.chosen(parts, plan, 1, None)
    module = _interpreter.module(parts, tail)
    tuned = {
        name: 1.5 * weight.detach().numpy() + 0.01 for name, weight in zip(module.names, module.weights, strict=True)
    }
    with torch.no_grad():
        for weight, value in zip(module.weights, tuned.values(), strict=True):
            weight.copy_(torch.from_numpy(value))
    written = plan.load()
    before = {tensor.name: tensor.SerializeToString() for tensor in written.graph.initializer}
    graph.write_back(written, tuned, tail.behind)
    after = {tensor.name: tensor.SerializeToString() for tensor in written.graph.initializer}
    changed = set(tuned) if kind != "shared" else set()
    assert {name for name in before if after[name] != before[name]} == changed
    images = testing.noise_images(3)
    held = PretrainedEmbedder(str(tmp_path / "tiny.onnx"), layer=tail.cut, pool="none").transform(images)
    want = module({tail.cut: torch.from_numpy(held)}).detach().numpy()
    (tmp_path / "tuned").mkdir()
    have = PretrainedEmbedder(save(tmp_path / "tuned", written)).transform(images)
    np.testing.assert_allclose(have, want, atol=1e-4 * np.abs(want).max())
    assert not np.allclose(have, PretrainedEmbedder(str(tmp_path / "tiny.onnx")).transform(images), rtol=1e-2)


def test_bounds_scales_and_masks_are_never_trained(tmp_path):
    mask = np.where(np.eye(SIDE) > 0, 0, -np.inf).astype(np.float32)
    nodes = [
        node("Conv", ["x", "kernel"], ["first"]),
        node("Conv", ["first", "again"], ["second"]),
        node("Clip", ["second", "low", "high"], ["clipped"]),
        node("Mul", ["clipped", "scale"], ["scaled"]),
        node("Add", ["scaled", "mask"], ["masked"]),
        node("Softmax", ["masked"], ["soft"], axis=-1),
        node("ReduceMax", ["soft"], ["embedding"], axes=[2, 3], keepdims=0),
    ]
    kernel, one = np.ones((3, 3, 1, 1), np.float32), np.array(1, np.float32)
    weights = {"kernel": kernel, "again": kernel, "low": -one, "high": one, "scale": one, "mask": mask}
    model = make_graph(nodes, {"x": ("float32", ["n", 3, SIDE, SIDE])}, "embedding", **weights)
    assert _cuts.taken_apart(planned(save(tmp_path, model))).tail("first").weights == ("again",)
