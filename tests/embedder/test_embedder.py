"""`PretrainedEmbedder` keeps scikit-learn's contract: its own checks, and ours where it has none."""

import atexit
import pickle
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks, get_tags
from sklearn.utils.estimator_checks import estimator_checks_generator
from sklearn.utils.validation import check_is_fitted

from skltransfer import PretrainedEmbedder, load_card
from skltransfer._engine import cache, catalog, hub, runtime
from skltransfer.testing import image_rows, noise_images
from tests.graphs import save_images, save_numbers

SKLEARN = tuple(map(int, sklearn.__version__.split(".")[:2]))

PICTURES = noise_images(10)

# The checks of scikit-learn are made while tests are collected, before there are fixtures.
COLLECTED = Path(tempfile.mkdtemp())
atexit.register(shutil.rmtree, COLLECTED, ignore_errors=True)
NUMBERS = save_numbers(COLLECTED)
IMAGES = save_images(COLLECTED)

DATA_FREE = [
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_estimator_tags_renamed",
    "check_get_feature_names_out_error",
    "check_get_params_invariance",
    "check_mixin_order",
    "check_no_attributes_set_in_init",
    "check_param_validation",
    "check_parameters_default_constructible",
    "check_set_params",
    "check_valid_tag_types",
]


@pytest.fixture
def embedder():
    return PretrainedEmbedder(IMAGES)


# ---------------------------------------------------------------------------------------------------------------------
# scikit-learn's checks


def named(check) -> str:
    """Name a check and its arguments, without the folder the backbone lies in, which is another in every process."""
    return ",".join([check.func.__name__, *(f"{name}={value}" for name, value in check.keywords.items())])


@pytest.mark.parametrize(
    "check", [check for _, check in estimator_checks_generator(PretrainedEmbedder(load_card(NUMBERS)))], ids=named
)
def test_backbone_of_numbers_passes_every_check_of_scikit_learn(check):
    check(PretrainedEmbedder(load_card(NUMBERS)))


@pytest.mark.parametrize("check", DATA_FREE)
def test_backbone_of_images_passes_the_checks_that_need_no_data(check, embedder):
    getattr(estimator_checks, check)("PretrainedEmbedder", embedder)


@pytest.mark.parametrize(
    ("model", "numeric"),
    [(load_card(IMAGES), False), (load_card(NUMBERS), True), (NUMBERS, False), ("no-such-model", False)],
    ids=["images", "numbers", "a path", "unknown"],
)
def test_tags_follow_what_the_backbone_takes(model, numeric):
    tags = get_tags(PretrainedEmbedder(model))
    assert tags.input_tags.two_d_array == numeric
    assert tags.input_tags.one_d_array == tags.input_tags.string == (not numeric)
    assert not tags.requires_fit
    assert tags.transformer_tags.preserves_dtype == ["float32"]


# ---------------------------------------------------------------------------------------------------------------------
# Rows


def test_rows_are_float32_two_dimensional_and_contiguous(embedder):
    rows = embedder.transform(PICTURES)
    assert rows.dtype == np.float32
    assert rows.shape == (10, 4)
    assert rows.flags.c_contiguous
    assert rows.flags.writeable


def test_rows_are_what_the_graph_gives_by_hand(embedder):
    np.testing.assert_allclose(embedder.transform(PICTURES), image_rows(PICTURES), rtol=1e-6)


@pytest.mark.parametrize("kept", ["memory", None])
def test_rows_follow_the_order_of_samples(embedder, kept):
    order = np.random.default_rng(0).permutation(10)
    embedder.set_params(cache=kept, batch_size=3)
    rows = embedder.transform(PICTURES)
    np.testing.assert_allclose(embedder.transform([PICTURES[i] for i in order]), rows[order], rtol=1e-6)


@pytest.mark.parametrize("size", [1, 3, 10])
def test_rows_do_not_depend_on_the_other_samples(embedder, size):
    embedder.set_params(cache=None, batch_size=4)
    parts = [embedder.transform(PICTURES[start : start + size]) for start in range(0, 10, size)]
    np.testing.assert_allclose(np.concatenate(parts), embedder.transform(PICTURES), rtol=1e-6)


def test_no_samples_give_no_rows_of_the_right_width(embedder):
    assert embedder.transform([]).shape == embedder.fit_transform([]).shape == (0, 4)


def test_one_sample_gives_one_row(embedder):
    np.testing.assert_allclose(embedder.transform(PICTURES[:1]), image_rows(PICTURES[:1]), rtol=1e-6)


def test_fit_transform_is_fit_then_transform(embedder):
    together = clone(embedder).fit_transform(PICTURES, y=None)
    np.testing.assert_array_equal(together, embedder.fit(PICTURES).transform(PICTURES))


def test_pipeline_of_the_embedder_alone_changes_nothing(embedder):
    rows = make_pipeline(clone(embedder)).fit(PICTURES).transform(PICTURES)
    np.testing.assert_array_equal(rows, embedder.transform(PICTURES))


# ---------------------------------------------------------------------------------------------------------------------
# State


def test_fit_is_idempotent(embedder):
    before = dict(vars(embedder.fit(PICTURES)))
    assert vars(embedder.fit(PICTURES)) == before


def test_fit_gives_few_small_attributes(embedder):
    embedder.fit(PICTURES)
    learned = {name: value for name, value in vars(embedder).items() if name.endswith("_")}
    assert learned == {
        "embedding_dim_": 4,
        "providers_": ("CPUExecutionProvider",),
        "model_sha256_": hub.sha256(Path(IMAGES)),
        "model_key_": embedder._planned().model_key,
    }


def test_fit_opens_no_session(embedder):
    runtime.clear()
    embedder.fit(PICTURES)
    assert not runtime.open_sessions()


def test_transform_leaves_the_estimator_as_it_was(embedder):
    before = dict(vars(embedder.fit(PICTURES)))
    embedder.transform(PICTURES)
    assert vars(embedder) == before


def test_parameters_are_stored_untouched():
    given = {"model": Path(IMAGES), "layer": ["embedding", "map"], "cache": Path("somewhere"), "batch_size": 3}
    embedder = PretrainedEmbedder(**given)
    assert {name: getattr(embedder, name) for name in given} == given
    assert all(getattr(embedder, name) is value for name, value in given.items())


def test_parameters_are_not_overwritten(embedder):
    before = embedder.get_params()
    embedder.fit(PICTURES).transform(PICTURES)
    assert embedder.get_params() == before


def test_transform_needs_no_fit(embedder):
    check_is_fitted(embedder)
    assert embedder.transform(PICTURES).shape == (10, 4)


def test_parameters_set_after_fit_count_in_transform(embedder):
    embedder.fit(PICTURES).set_params(layer="map", pool="flatten")
    assert embedder.transform(PICTURES).shape == (10, 256)
    assert embedder.fit(PICTURES).embedding_dim_ == 256


def test_width_of_free_axes_follows_the_samples_of_the_last_fit():
    embedder = PretrainedEmbedder(NUMBERS)
    assert embedder.fit(np.ones((3, 4))).embedding_dim_ == 4
    assert embedder.fit(np.ones((3, 7))).embedding_dim_ == 7


def test_number_of_features_is_set_for_numbers_only(embedder):
    assert PretrainedEmbedder(NUMBERS).fit(np.ones((3, 4))).n_features_in_ == 4
    assert not hasattr(embedder.fit(PICTURES), "n_features_in_")


def test_clone_looks_at_nothing(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("cloning touched a file, a device or a cache")

    for room, name in [(catalog, "load_card"), (runtime, "resolve"), (runtime, "session"), (cache, "open_cache")]:
        monkeypatch.setattr(room, name, refuse)
    monkeypatch.setattr("builtins.open", refuse)
    monkeypatch.setattr("os.open", refuse)
    search = GridSearchCV(make_pipeline(PretrainedEmbedder(IMAGES), LogisticRegression()), {})
    assert clone(search).estimator[0].model == IMAGES


# ---------------------------------------------------------------------------------------------------------------------
# Pickles


def test_pickle_is_small_even_after_a_run(embedder):
    embedder.fit(PICTURES).transform(PICTURES)
    assert len(pickle.dumps(embedder)) < 2000


def test_pickle_works_in_another_process(embedder, tmp_path):
    embedder.fit(PICTURES)
    (tmp_path / "pickle").write_bytes(pickle.dumps((embedder, PICTURES)))
    code = (
        "import pickle, sys, numpy\n"
        "embedder, pictures = pickle.load(open(sys.argv[1] + '/pickle', 'rb'))\n"
        "numpy.save(sys.argv[1] + '/rows.npy', embedder.transform(pictures))"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=60)
    np.testing.assert_allclose(np.load(tmp_path / "rows.npy"), image_rows(PICTURES), rtol=1e-6)


# ---------------------------------------------------------------------------------------------------------------------
# Names and pictures of the estimator


def test_columns_are_named_after_the_class(embedder):
    names = [f"pretrainedembedder{i}" for i in range(4)]
    assert list(embedder.fit(PICTURES).get_feature_names_out()) == names


def test_columns_have_no_names_before_fit(embedder):
    with pytest.raises(NotFittedError, match="This PretrainedEmbedder instance is not fitted yet"):
        embedder.get_feature_names_out()


@pytest.mark.parametrize("fit", [False, True])
def test_html_picture_shows_parameters_and_facts(embedder, fit):
    html = (embedder.fit(PICTURES) if fit else embedder)._repr_html_()
    assert "batch_size" in html
    if SKLEARN >= (1, 9):  # earlier ones show parameters only
        assert ("embedding_dim_" in html) == fit


# ---------------------------------------------------------------------------------------------------------------------
# Parameters


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", 3),
        ("layer", 3),
        ("pool", "median"),
        ("normalize", "yes"),
        ("precision", "int4"),
        ("batch_size", 0),
        ("batch_size", "large"),
        ("device", None),
        ("n_jobs", "all"),
        ("cache", 3),
        ("on_error", "ignore"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "transform", "fit_transform"])
def test_wrong_parameter_is_named_with_its_value(embedder, name, value, method):
    embedder.set_params(**{name: value})
    with pytest.raises(ValueError, match=rf"The '{name}' parameter of PretrainedEmbedder must be .* Got {value!r}"):
        getattr(embedder, method)(PICTURES)
