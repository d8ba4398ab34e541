"""`FineTunedEmbedder`: what it learns, that it is an estimator like any other, and what it keeps."""

import pickle
import shutil
import subprocess
import sys

import numpy as np
import onnx
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skltransfer
from skltransfer import PretrainedEmbedder, load_card
from skltransfer._engine.training._batches import map_tensors
from skltransfer.cli import main
from skltransfer.errors import ModelChangedError, SampleError, TuningError
from skltransfer.finetune import FineTunedEmbedder, _store, _train
from skltransfer.testing import SIDE, make_graph
from tests.finetune.support import node, residual, save, stripes, weights_of

torch = pytest.importorskip("torch")

IMAGES, LABELS = stripes(64)
OTHERS, TRUTH = stripes(64, seed=1)


@pytest.fixture
def model(tmp_path):
    return save(tmp_path)


def tuner(model, **choices) -> FineTunedEmbedder:
    """Return one that learns quickly."""
    chosen = {"blocks": 3, "views": 1, "mixup": 0.0, "epochs": 10, "learning_rate": 3e-3, "batch_size": 16, **choices}
    return FineTunedEmbedder(PretrainedEmbedder(model, n_jobs=1), **chosen)


def accuracy(embedder) -> float:
    pipeline = make_pipeline(embedder, LogisticRegression(max_iter=5000, C=0.01))
    return pipeline.fit(IMAGES, LABELS).score(OTHERS, TRUTH)


def test_rows_tell_apart_what_those_of_the_backbone_cannot(model):
    assert accuracy(tuner(model)) > accuracy(PretrainedEmbedder(model)) + 0.15


def test_rows_are_those_of_the_trained_tail(model):
    fitted = tuner(model, blocks=1).fit(IMAGES, LABELS)
    assert (fitted.cut_, set(fitted.tuned_), fitted.objective_) == ("sum_2", {"kernel_3"}, "classes")
    assert fitted.n_trained_ == 8 * 8 * 9
    held = PretrainedEmbedder(model, layer="sum_2", pool="none").transform(OTHERS)
    kernel = torch.from_numpy(fitted.tuned_["kernel_3"])
    maps = torch.from_numpy(held)
    want = (maps + torch.nn.functional.conv2d(maps, kernel, padding=1).relu()).mean((2, 3)).numpy()
    np.testing.assert_allclose(fitted.transform(OTHERS), want, atol=1e-5 * np.abs(want).max())


def test_same_choices_give_the_same_weights_and_another_seed_others(model, store):
    first = tuner(model).fit(IMAGES, LABELS).tuned_
    shutil.rmtree(store)
    again = tuner(model).fit(IMAGES, LABELS).tuned_
    other = tuner(model, random_state=1).fit(IMAGES, LABELS).tuned_
    for name in first:
        np.testing.assert_array_equal(again[name], first[name])
        assert (other[name] != first[name]).any()


def test_training_leaves_torch_as_it_was(model):
    torch.manual_seed(3)
    want, threads = torch.get_rng_state(), torch.get_num_threads()
    tuner(model, epochs=1, n_jobs=2).fit(IMAGES, LABELS)
    assert torch.equal(torch.get_rng_state(), want)
    assert torch.get_num_threads() == threads


def test_search_over_the_head_trains_once_for_each_fold(model, monkeypatch):
    trained, count = _train.trained, []
    monkeypatch.setattr(_train, "trained", lambda *args: count.append(1) or trained(*args))
    skltransfer.reset()
    pipeline = make_pipeline(tuner(model, epochs=1, views=2), StandardScaler(), LogisticRegression(max_iter=5000))
    search = GridSearchCV(pipeline, {"logisticregression__C": [0.01, 0.1, 1, 10]}, cv=5, refit=False)
    search.fit(IMAGES, LABELS)
    assert len(count) == 5
    trunk = PretrainedEmbedder(model, layer="sum_0", pool="flatten")
    rows = {key: session.rows_run for key, session in skltransfer._engine.runtime.open_sessions().items()}
    views = sorted(rows.values())[-2:]
    assert trunk is not None
    assert views == [len(IMAGES)] * 2 or sum(views) <= 2 * len(IMAGES) + 20 * len(IMAGES)


def test_clone_pickle_and_nested_parameters(model):
    fitted = tuner(model, epochs=1).fit(IMAGES, LABELS)
    want = fitted.transform(OTHERS)
    data = pickle.dumps(fitted)
    np.testing.assert_array_equal(pickle.loads(data).transform(OTHERS), want)
    assert len(data) < 20_000
    fresh = clone(fitted).set_params(embedder__normalize=True, blocks=1)
    assert fresh.embedder.normalize
    assert not hasattr(fresh, "tuned_")
    np.testing.assert_allclose(np.linalg.norm(fresh.fit_transform(IMAGES, LABELS), axis=1), 1, rtol=1e-5)


def test_pickle_finds_its_parent_on_another_machine(model, store):
    fitted = tuner(model, epochs=1).fit(IMAGES, LABELS)
    want, data = fitted.transform(OTHERS), pickle.dumps(fitted)
    shutil.rmtree(store)
    skltransfer.reset()
    np.testing.assert_array_equal(pickle.loads(data).transform(OTHERS), want)


def test_another_parent_is_refused(model, store, tmp_path):
    fitted = tuner(model, epochs=1).fit(IMAGES, LABELS)
    shutil.rmtree(store)
    other = residual()
    other.graph.initializer[0].CopyFrom(residual(shared=True).graph.initializer[1])
    graph = residual(shared=True)
    save(tmp_path, graph)
    with pytest.raises(ModelChangedError, match="tunes the backbone with the SHA-256"):
        fitted.transform(OTHERS)


def test_saved_folder_is_an_ordinary_card(model, tmp_path):
    fitted = tuner(model, epochs=1).fit(IMAGES, LABELS)
    folder = fitted.save(tmp_path / "stripes")
    card = load_card(folder)
    assert card.pinned
    assert card.golden
    assert fitted.parent_sha256_ in card.source
    assert "64" in card.source
    np.testing.assert_allclose(PretrainedEmbedder(str(folder)).transform(OTHERS), fitted.transform(OTHERS), atol=1e-5)
    eight = PretrainedEmbedder(str(folder), precision="int8").transform(OTHERS)
    wanted = fitted.transform(OTHERS)
    assert 0 < np.abs(eight - wanted).max() < 0.1 * np.abs(wanted).max()
    assert main(["models", "verify", str(folder)]) == 0
    with pytest.raises(TuningError, match="exists; name a folder that does not"):
        fitted.save(folder)
    with pytest.raises(TuningError, match="There is no folder"):
        fitted.save(tmp_path / "none" / "stripes")


OBJECTIVES = {
    "numbers": np.where(LABELS == "upright", 1.5, -0.25) + np.linspace(0, 0.1, len(LABELS)),
    "labels": np.stack([LABELS == "upright", LABELS == "level"], axis=1).astype(int),
    "classes": LABELS,
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_objective_is_that_of_y(model, name):
    fitted = tuner(model).fit(IMAGES, OBJECTIVES[name])
    assert fitted.objective_ == name
    assert accuracy(fitted) > accuracy(PretrainedEmbedder(model)) + 0.1


def test_contrast_brings_a_class_together(model):
    fitted = tuner(model, objective="contrast", epochs=20).fit(IMAGES, LABELS)

    def spread(rows):
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        means = np.stack([rows[label == LABELS].mean(0) for label in np.unique(LABELS)])
        return np.linalg.norm(means[0] - means[1]) / rows.std()

    assert spread(fitted.transform(IMAGES)) > 1.5 * spread(PretrainedEmbedder(model).transform(IMAGES))


@pytest.mark.parametrize("container", [pd.DataFrame, dict])
def test_several_targets_with_missing_labels_train_one_tail(model, container):
    kind = LABELS.astype(object)
    kind[10:40] = None
    size = np.linspace(0, 1, len(LABELS))
    size[50:] = np.nan
    fitted = tuner(model, epochs=1).fit(IMAGES, container({"kind": kind, "size": size}))
    assert fitted.objective_ == "classes+numbers"
    size = size**2
    other = tuner(model, epochs=1).fit(IMAGES, container({"kind": kind, "size": size}))
    assert any((other.tuned_[name] != fitted.tuned_[name]).any() for name in fitted.tuned_)


def test_several_targets_take_one_pass_of_the_trunk(model):
    runs = []
    for y in (LABELS, {"kind": LABELS, "size": np.linspace(0, 1, len(LABELS))}):
        skltransfer.reset()
        tuner(model, epochs=1, views=3).fit(IMAGES, y)
        runs.append(skltransfer.rows_run())
    assert runs[0] == runs[1]
    assert runs[0] >= 3 * len(IMAGES)


def test_epochs_are_fewer_the_more_samples_and_the_fewest_for_texts(model, tmp_path):
    from skltransfer.testing import save_text_backbone, text_backbone

    (tmp_path / "texts").mkdir()
    path = save_text_backbone(text_backbone(), tmp_path / "texts")

    def epochs(model, n):
        tuned = FineTunedEmbedder(PretrainedEmbedder(model))
        return tuned._settings(tuned._backbone()._planned().plan, n).epochs

    assert [epochs(model, n) for n in (100, 2_500, 6_000, 90_000)] == [12, 12, 5, 3]
    assert [epochs(path, n) for n in (100, 250, 616, 1_000, 90_000)] == [12, 12, 5, 3, 3]


def test_learning_rate_is_the_card_s_unless_given():
    for given, want in ((None, 1e-3), (0.02, 0.02)):
        tuned = FineTunedEmbedder(PretrainedEmbedder("vision-mini"), learning_rate=given)
        assert tuned._settings(tuned._backbone()._planned().plan, 100).learning_rate == want


def matrices(tmp_path) -> str:
    """Save a backbone whose last layers are matrices."""
    random = np.random.default_rng(0)
    nodes = [
        node("Conv", ["x", "stem"], ["maps"]),
        node("Relu", ["maps"], ["kept"]),
        node("Flatten", ["kept"], ["flat"]),
        node("MatMul", ["flat", "first"], ["one"]),
        node("Relu", ["one"], ["between"]),
        node("MatMul", ["between", "second"], ["embedding"]),
    ]
    shapes = {"stem": (4, 3, 3, 3), "first": (4 * (SIDE - 2) ** 2, 64), "second": (64, 32)}
    weights = {name: random.normal(0, 0.1, shape).astype(np.float32) for name, shape in shapes.items()}
    (tmp_path / "matrices").mkdir()
    return save(
        tmp_path / "matrices", make_graph(nodes, {"x": ("float32", ["n", 3, SIDE, SIDE])}, "embedding", **weights)
    )


def test_lora_keeps_thin_factors_and_gives_whole_matrices_back(tmp_path):
    path = matrices(tmp_path)
    chosen = {"cut": "flat", "views": 1, "epochs": 3, "adapter": "lora", "learning_rate": 1e-3}
    fitted = FineTunedEmbedder(PretrainedEmbedder(path), **chosen).fit(IMAGES, LABELS)
    shapes = {name: value.shape for name, value in fitted.tuned_.items()}
    inner = 4 * (SIDE - 2) ** 2
    assert shapes == {
        "first~left": (inner, 8),
        "first~right": (8, 64),
        "second~left": (64, 8),
        "second~right": (8, 32),
    }
    assert fitted.n_trained_ == 8 * (inner + 64 + 64 + 32)
    fitted.save(tmp_path / "saved")
    start = weights_of(onnx.load(path))
    end = weights_of(onnx.load(tmp_path / "saved" / "model.onnx"))
    np.testing.assert_array_equal(end["stem"], start["stem"])
    for name in ("first", "second"):
        change = fitted.tuned_[f"{name}~left"] @ fitted.tuned_[f"{name}~right"]
        assert np.abs(change).max() > 0
        np.testing.assert_allclose(end[name], start[name] + change, rtol=1e-6, atol=1e-6)
    half = FineTunedEmbedder(PretrainedEmbedder(path), **chosen, average=0.5).fit(IMAGES, LABELS)
    np.testing.assert_allclose(half.tuned_["first~left"], fitted.tuned_["first~left"])
    np.testing.assert_allclose(half.tuned_["first~right"], fitted.tuned_["first~right"] / 2)


@pytest.mark.parametrize("adapter", [None, "lora"])
def test_a_step_of_training_stays_on_its_device(tmp_path, monkeypatch, adapter):
    """The meta device has no numbers: what is left behind on the CPU cannot be mixed with its tensors."""

    def step(module, batches, loss, settings, **choices):
        inputs, targets = map_tensors(lambda tensor: tensor.to(settings.device), batches(0))
        value = loss(module.to(settings.device)(inputs), targets)
        value.backward()
        gradients = [weight.grad.device.type for weight in module.parameters() if weight.requires_grad]
        assert (value.device.type, {*gradients}) == ("meta", {"meta"})
        raise InterruptedError

    monkeypatch.setattr(_train.training, "train", step)
    with pytest.raises(InterruptedError):
        tuner(matrices(tmp_path), cut="flat", adapter=adapter, device="meta", mixup=0.5).fit(IMAGES, LABELS)


def test_lora_without_matrices_is_refused(model):
    with pytest.raises(TuningError, match="'lora' is for matrices"):
        tuner(model, adapter="lora").fit(IMAGES, LABELS)


def test_class_weight_is_a_weight_of_the_samples(model):
    weights = np.where(LABELS == "upright", 3.0, 1.0)
    first = tuner(model, epochs=1, class_weight={"upright": 3.0, "level": 1.0}).fit(IMAGES, LABELS).tuned_
    second = tuner(model, epochs=1).fit(IMAGES, LABELS, sample_weight=weights).tuned_
    plain = tuner(model, epochs=1).fit(IMAGES, LABELS).tuned_
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])
        assert (first[name] != plain[name]).any()


def test_callbacks_and_the_bar_count_epochs(model, monkeypatch):
    pytest.importorskip("sklearn.callback", reason="scikit-learn has callbacks from 1.9 on")
    tqdm = pytest.importorskip("tqdm.auto")
    bars, ended = [], []
    monkeypatch.setattr(
        tqdm, "tqdm", lambda *args, real=tqdm.tqdm, **more: bars.append(real(*args, **more)) or bars[-1]
    )

    class Recorder:
        max_propagation_depth = None
        setup = teardown = on_fit_task_begin = lambda self, estimator, context: None

        def on_fit_task_end(self, estimator, context):
            ended.append(context.task_name)

    tuner(model, epochs=4, verbose=1).set_callbacks(Recorder()).fit(IMAGES, LABELS)
    assert len(ended) == 4 + 1  # that of the fit itself comes last
    assert [(bar.n, bar.total) for bar in bars] == [(4, 4)]


def test_weights_are_routed_through_a_pipeline(model):
    weights = np.linspace(0, 1, len(LABELS))
    with config_context(enable_metadata_routing=True):
        asking = tuner(model, epochs=1).set_fit_request(sample_weight=True)
        pipeline = make_pipeline(asking, LogisticRegression(max_iter=5000).set_fit_request(sample_weight=False))
        routed = pipeline.fit(IMAGES, LABELS, sample_weight=weights)[0].tuned_
    direct = tuner(model, epochs=1).fit(IMAGES, LABELS, sample_weight=weights).tuned_
    for name in direct:
        np.testing.assert_array_equal(routed[name], direct[name])


def test_samples_of_weight_zero_do_not_count(model):
    wrong, weights = LABELS.copy(), np.ones(len(LABELS))
    wrong[:20], weights[:20] = LABELS[:20][::-1], 0
    first = tuner(model, epochs=2).fit(IMAGES, LABELS, sample_weight=weights)
    second = tuner(model, epochs=2).fit(IMAGES, wrong, sample_weight=weights)
    for name in first.tuned_:
        np.testing.assert_allclose(second.tuned_[name], first.tuned_[name], atol=1e-6)


def test_average_lies_between_the_start_and_the_end(model):
    start = {tensor.name: tensor for tensor in residual().graph.initializer}
    whole = tuner(model, epochs=2).fit(IMAGES, LABELS).tuned_
    half = tuner(model, epochs=2, average=0.5).fit(IMAGES, LABELS).tuned_
    for name, value in half.items():
        first = np.frombuffer(start[name].raw_data, np.float32).reshape(value.shape)
        np.testing.assert_allclose(value, (first + whole[name]) / 2, atol=1e-6)


def test_bad_sample_is_named(model):
    with pytest.raises(SampleError, match="sample 3"):
        tuner(model).fit([*IMAGES[:3], None, *IMAGES[4:]], LABELS)


REFUSED = {
    "one class": (["a"] * 64, "one class"),
    "nothing": ([None] * 64, "no label"),
    "lengths": (LABELS[:-1], "X has 64 samples, and y has 63"),
    "pairs": (np.full((64, 2), "a"), "to scikit-learn; give classes"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_y_that_cannot_be_learned_is_refused(model, what):
    y, message = REFUSED[what]
    with pytest.raises(ValueError, match=message):
        tuner(model).fit(IMAGES, np.array(y, object) if isinstance(y, list) else y)


def test_importing_the_room_does_not_import_torch():
    code = "import sys, skltransfer, skltransfer.finetune; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "False", done.stderr


def test_missing_torch_is_named_with_its_extra(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(skltransfer.errors.MissingDependencyError, match=r"pip install 'skltransfer\[torch\]'"):
        tuner(model).fit(IMAGES, LABELS)


def test_key_depends_on_every_array_and_choice():
    one, other = np.zeros(3, np.float32), np.ones(3, np.float32)
    keys = {_store.key_of(choice, array) for choice in ("a", "b") for array in (one, other, one.astype(np.float16))}
    assert len(keys) == 6
