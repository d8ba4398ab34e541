"""The same units on other processes: loky and Dask always, Ray and Spark where they are installed."""

import os

import joblib
import numpy as np
import pytest
from sklearn.pipeline import FunctionTransformer, make_pipeline

from skltransfer import PretrainedEmbedder, score, testing
from skltransfer.errors import IntegrityError, JobError
from skltransfer.scoring import _broadcast, _engines, opened
from tests.paths import ROOT
from tests.scoring.steps import Die, DieOnce
from tests.scoring.support import TEXTS, failures, left, parts, run, saved

OPTIONS = {"rows_per_part": 20, "progress": False}
FINISHED = {"_job", "_SUCCESS.json", "failures.parquet"}


@pytest.fixture(autouse=True)
def workers_find_the_tests(monkeypatch):
    """Let workers import the steps of these tests."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))


@pytest.fixture(scope="module")
def dask():
    """A cluster of two processes on this machine, for all tests."""
    distributed = pytest.importorskip("distributed")
    cluster = distributed.LocalCluster(
        host="127.0.0.1", n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=50
    )
    with cluster, distributed.Client(cluster):
        yield lambda: joblib.parallel_config("dask")


@pytest.fixture(params=["loky", "dask"])
def engine(request):
    """A context in which units go to other processes."""
    if request.param == "dask":
        return request.getfixturevalue("dask")
    return lambda: joblib.parallel_config("loky", n_jobs=2)


def behind(step, pipeline):
    return make_pipeline(step, *[one for _, one in pipeline.steps])


def check(sink, texts):
    found = parts(sink)
    assert found["id"].to_pylist() == list(range(len(TEXTS)))
    assert found["prediction"].to_pylist() == texts.predict(TEXTS).tolist()
    assert left(sink) == FINISHED


@pytest.mark.filterwarnings("ignore:.*worker stopped:UserWarning")  # loky, of a worker that was killed
def test_a_worker_that_is_killed_costs_its_unit(tmp_path, texts, engine):
    pipeline = behind(DieOnce("number 123,", str(tmp_path / "died")), texts)
    with engine():
        scored = score(pipeline, TEXTS, tmp_path / "out", **OPTIONS)
    assert ((tmp_path / "died").exists(), scored.rows, scored.failed, scored.parts) == (True, 400, 0, 20)
    check(tmp_path / "out", texts)


def test_workers_other_than_this_one_do_the_work(tmp_path, texts, engine):
    import skltransfer

    expected = texts.predict(TEXTS).tolist()
    before = skltransfer.rows_run()
    with engine():
        score(texts, TEXTS, tmp_path, **OPTIONS)
    assert skltransfer.rows_run() == before
    assert parts(tmp_path)["prediction"].to_pylist() == expected


@pytest.mark.filterwarnings("ignore:.*worker stopped:UserWarning")
def test_a_row_that_kills_every_worker_is_named(tmp_path, texts, engine):
    with engine():
        scored = score(behind(Die("number 123,"), texts), TEXTS, tmp_path, **OPTIONS)
    assert (scored.rows, scored.failed) == (400, 1)
    assert failures(tmp_path) == [{"id": 123, "error": "the process died on it"}]


def test_a_model_of_ones_own_goes_with_the_job(tmp_path, engine):
    model = testing.save_backbone(testing.image_backbone(), tmp_path, layer="embedding")
    samples = testing.noise_images(12)
    embedder = PretrainedEmbedder(model)
    expected = embedder.transform(samples)
    source = tmp_path / "photos"
    source.mkdir()
    from PIL import Image

    for i, sample in enumerate(samples):
        Image.fromarray(sample).save(source / f"{i:02d}.png")
    with engine():
        score(embedder, source, tmp_path / "out", rows_per_part=4, progress=False)
    np.testing.assert_allclose(np.stack(parts(tmp_path / "out")["embedding"].to_pylist()), expected, atol=1e-5)
    (folder,) = (tmp_path / "out" / "_job" / "models").iterdir()
    assert {path.name for path in folder.iterdir()} == {os.path.basename(model)}


def test_functions_of_a_notebook_reach_the_workers(tmp_path, texts):
    pipeline = behind(FunctionTransformer(lambda X: [str(x) for x in X]), texts)
    with joblib.parallel_config("loky", n_jobs=2):
        score(pipeline, TEXTS, tmp_path, **OPTIONS)
    check(tmp_path, texts)


def test_a_pipeline_that_was_exchanged_is_not_unpickled(tmp_path, texts):
    with joblib.parallel_config("loky", n_jobs=2):
        score(texts, TEXTS[:40], tmp_path, **OPTIONS)
    (file,) = (path for path in (tmp_path / "_job").iterdir() if "pipeline" in path.name)
    sent = _broadcast.Sent(str(tmp_path), f"_job/{file.name}", "0" * 64)
    with pytest.raises(IntegrityError, match="has the SHA-256"):
        _broadcast.receive(sent)


def test_rows_that_stay_in_this_process_are_refused_elsewhere(tmp_path, texts):
    with joblib.parallel_config("loky", n_jobs=2), pytest.raises(JobError, match="write them to files first"):
        score(texts, [*TEXTS[:10], 3.5], tmp_path, **OPTIONS)


def test_the_command_line_hands_units_to_a_scheduler(tmp_path, texts, dask):
    from distributed import default_client

    (tmp_path / "in.txt").write_text("\n".join(TEXTS), "utf8")
    address = default_client().scheduler.address
    done = run(
        saved(texts, tmp_path / "p.pickle"), tmp_path / "in.txt", "--output", tmp_path / "out", "--rows-per-part", 50,
        "--engine", "dask", "--scheduler", address,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    check(tmp_path / "out", texts)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["loky", "dask"])
def test_the_command_line_starts_workers_of_its_own(tmp_path, texts, name):
    pytest.importorskip("distributed")
    (tmp_path / "in.txt").write_text("\n".join(TEXTS), "utf8")
    done = run(
        saved(texts, tmp_path / "p.pickle"), tmp_path / "in.txt", "--output", tmp_path / "out", "--rows-per-part", 50,
        "--engine", name, "--workers", 2,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    check(tmp_path / "out", texts)


def test_threads_are_no_other_processes():
    with joblib.parallel_config("threading", n_jobs=2):
        assert _engines.active() == 0
    with joblib.parallel_config("loky", n_jobs=2):
        assert _engines.active() == 2
    assert _engines.active() == 0


def test_a_scheduler_that_an_engine_has_not_is_refused():
    with pytest.raises(JobError, match="--scheduler is for dask and ray; loky finds its own"):
        opened("loky", "tcp://127.0.0.1:1")


@pytest.mark.slow
def test_ray_does_the_same(tmp_path, texts, monkeypatch):
    ray = pytest.importorskip("ray")
    monkeypatch.setenv("RAY_NODE_IP_ADDRESS", "127.0.0.1")
    try:
        ray.init(num_cpus=2, include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False)
        with opened("ray", None, 2):
            pipeline = behind(DieOnce("number 123,", str(tmp_path / "died")), texts)
            score(pipeline, TEXTS, tmp_path / "out", **OPTIONS)
    finally:
        ray.shutdown()
    assert (tmp_path / "died").exists()
    check(tmp_path / "out", texts)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")  # of joblibspark, about what a local mode lacks
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of joblibspark, on newer libraries
def test_spark_does_the_same(tmp_path, texts, monkeypatch):
    pytest.importorskip("joblibspark")
    sql = pytest.importorskip("pyspark.sql")
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    # local[2] would never retry a task.
    spark = sql.SparkSession.builder.master("local[2,4]").config("spark.ui.enabled", "false").getOrCreate()
    try:
        with opened("spark", None, 2):
            score(texts, TEXTS, tmp_path, **OPTIONS)
    finally:
        spark.stop()
    check(tmp_path, texts)
