"""Jobs in this process: resume, what differs, bad rows, results of every kind, compaction."""

import errno
import json
import os
import threading
from contextlib import suppress

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

import skltransfer
from skltransfer import PretrainedEmbedder, score, scoring
from skltransfer.errors import JobError, UnfinishedError
from skltransfer.heads import MultiTask
from skltransfer.scoring import _deadly
from skltransfer.scoring._finisher import HELD, Finisher
from skltransfer.scoring._job import Job, read_manifest, read_units
from skltransfer.scoring._sink import open_sink
from tests.scoring.steps import Remove
from tests.scoring.support import EMOJI, TEXTS, WORDS, failures, left, parts

#: Texts that CSV does not quote.
SIMPLE = [f"{WORDS[i % 3]} number {i}" for i in range(30)]
LABELS = [WORDS[i % 3] for i in range(60)]


def test_a_finished_job_opens_no_session(tmp_path, texts):
    first = score(texts, TEXTS, tmp_path, rows_per_part=64, progress=False)
    skltransfer.reset()
    again = score(texts, TEXTS, tmp_path, rows_per_part=64, progress=False)
    assert again == (first.rows, 0, first.parts, 0.0)
    assert skltransfer.rows_run() == 0
    assert left(tmp_path) == {"_job", "_SUCCESS.json", "failures.parquet"}


def test_only_what_is_missing_is_scored_again(tmp_path, texts):
    score(texts, TEXTS, tmp_path, rows_per_part=64, progress=False)
    names = sorted(name for name in os.listdir(tmp_path) if name.startswith("part-"))
    before = {name: (tmp_path / name).read_bytes() for name in names}
    (tmp_path / names[2]).unlink()
    skltransfer.reset()
    score(texts, TEXTS, tmp_path, rows_per_part=64, progress=False)
    assert skltransfer.rows_run() == 64
    assert {name: (tmp_path / name).read_bytes() for name in names}.keys() == before.keys()
    assert parts(tmp_path)["prediction"].to_pylist() == texts.predict(TEXTS).tolist()


def test_speed_is_no_other_job(tmp_path, texts):
    score(texts, TEXTS[:50], tmp_path, progress=False)
    faster = make_pipeline(*[step for _, step in texts.steps])
    faster[0].set_params(n_jobs=1, cache=None)
    try:
        assert score(faster, TEXTS[:50], tmp_path, n_jobs=2, progress=False).seconds == 0
    finally:
        faster[0].set_params(n_jobs=None, cache="memory")


def test_what_changed_is_named(tmp_path, texts):
    source = tmp_path / "in.csv"
    source.write_text("text\n" + "\n".join(SIMPLE[:20]), "utf8")
    sink = tmp_path / "out"
    score(texts, source, sink, column="text", progress=False)
    with pytest.raises(JobError, match="rows_per_part was 4096, now 5"):
        score(texts, source, sink, column="text", rows_per_part=5, progress=False)
    with pytest.raises(JobError, match=r"output was .*'probability'.*, now .'prediction'"):
        score(texts, source, sink, column="text", output="prediction", progress=False)
    other = make_pipeline(PretrainedEmbedder("text-mini"), LogisticRegression(C=0.5)).fit(TEXTS[:60], LABELS)
    with pytest.raises(JobError, match="the pipeline, or the model in it, is another one"):
        score(other, source, sink, column="text", progress=False)
    source.write_text("text\n" + "\n".join(SIMPLE[1:21]), "utf8")
    with pytest.raises(JobError, match=r"the source changed \(1 changed, such as 'in.csv'\)"):
        score(texts, source, sink, column="text", progress=False)
    with pytest.raises(JobError, match="with resume=False name another"):
        score(texts, source, sink, column="text", resume=False, progress=False)


def test_bad_rows_come_back_with_a_reason_and_the_others_are_right(tmp_path, images):
    samples = list(EMOJI.images[:120])
    bad = [3, 64, 119]
    for i in bad:
        samples[i] = samples[i][:40]
    scored = score(images, samples, tmp_path, rows_per_part=50, progress=False)
    found, expected = parts(tmp_path), images.predict(EMOJI.images[:120]).tolist()
    for i in bad:
        expected[i] = None
    assert (scored.rows, scored.failed) == (120, 3)
    assert found["prediction"].to_pylist() == expected
    assert [row["id"] for row in failures(tmp_path)] == bad
    assert all("cannot be decoded" in row["error"] for row in failures(tmp_path))


def test_a_part_without_a_good_row_has_the_types_of_the_others(tmp_path, images):
    score(images, [b"damaged", b"", *EMOJI.images[:4]], tmp_path, rows_per_part=2, progress=False)
    names = sorted(name for name in os.listdir(tmp_path) if name.startswith("part-"))
    schemas = {str(pq.read_schema(tmp_path / name).remove_metadata()) for name in names}
    assert len(schemas) == 1
    assert parts(tmp_path)["prediction"].to_pylist()[:2] == [None, None]


def test_embeddings_are_lists_of_a_fixed_size(tmp_path, texts):
    score(texts, [*TEXTS[:20], None], tmp_path, embeddings="float16", rows_per_part=8, progress=False)
    found = parts(tmp_path)
    assert str(found.schema.field("embedding").type) == "fixed_size_list<element: halffloat>[384]"
    rows = np.stack(found["embedding"].to_pylist()[:20])
    np.testing.assert_allclose(rows, texts[0].transform(TEXTS[:20]), atol=1e-3)
    assert found["embedding"].to_pylist()[20] is None


def test_a_unit_that_another_driver_finished_is_not_tried_again(tmp_path, texts):
    score(texts, TEXTS[:40], tmp_path, rows_per_part=20, progress=False)
    sink = open_sink(tmp_path)
    job = Job(sink, read_manifest(sink), read_units(sink))
    before = {name: (tmp_path / name).read_bytes() for name in job.parts()}
    nothing = None  # no child is started, so nothing of it is asked for
    _deadly.isolate(job, job.units[1], nothing, nothing, nothing)
    assert {name: (tmp_path / name).read_bytes() for name in job.parts()} == before


def test_units_wait_up_to_a_number_of_rows_and_the_last_ones_are_finished():
    may_end, finished = threading.Event(), []

    def finish(number):
        may_end.wait(10)
        finished.append(number)

    with Finisher(str, finish) as finisher:
        put = threading.Thread(target=lambda: [finisher.put(i, HELD // 8) for i in range(9)])
        put.start()
        put.join(0.2)
        assert put.is_alive()  # eight are held, the ninth waits
        may_end.set()
        put.join(10)
        finisher.put(9, 100 * HELD)  # one of any size
    assert sorted(finished) == [*map(str, range(10))]


def test_what_finishing_raises_is_raised_by_whoever_adds_a_unit():
    def finish(number):
        raise OSError(errno.ENOSPC, "no room")

    def add_many():
        with Finisher(str, finish) as finisher:
            for i in range(1000):
                finisher.put(i, HELD)

    with pytest.raises(OSError, match="no room"):
        add_many()


@pytest.mark.parametrize("tail", [(), (StandardScaler(), PCA(3))], ids=["bare", "transformers"])
def test_without_a_head_rows_are_the_result(tmp_path, tail):
    embedder = PretrainedEmbedder("text-mini")
    pipeline = make_pipeline(embedder, *tail).fit(TEXTS[:60]) if tail else embedder
    score(pipeline, TEXTS[:30], tmp_path, rows_per_part=8, progress=False)
    found = parts(tmp_path)
    assert found.column_names == ["id", "embedding", "error"]
    np.testing.assert_allclose(np.stack(found["embedding"].to_pylist()), pipeline.transform(TEXTS[:30]), atol=1e-4)


def test_several_targets_become_columns(tmp_path):
    y = pd.DataFrame({"kind": LABELS, "length": [float(len(text)) for text in TEXTS[:60]]})
    heads = MultiTask({"kind": LogisticRegression(max_iter=300), "length": Ridge()})
    pipeline = make_pipeline(PretrainedEmbedder("text-mini"), heads).fit(TEXTS[:60], y)
    score(pipeline, [*TEXTS[:30], None], tmp_path, rows_per_part=8, progress=False)
    found, expected = parts(tmp_path), pipeline.predict(TEXTS[:30])
    probabilities = [f"probability_kind_{name}" for name in sorted(WORDS)]
    assert found.column_names == ["id", "prediction_kind", "prediction_length", *probabilities, "error"]
    assert found["prediction_kind"].to_pylist() == [*expected["kind"], None]
    np.testing.assert_allclose(found["prediction_length"].to_pylist()[:30], expected["length"], rtol=1e-4)


def test_scores_are_written_where_there_are_no_probabilities(tmp_path):
    pipeline = make_pipeline(PretrainedEmbedder("text-mini"), LinearSVC()).fit(TEXTS[:60], LABELS)
    score(pipeline, TEXTS[:30], tmp_path, progress=False)
    found = parts(tmp_path)
    scores = np.stack([found[f"score_{name}"].to_numpy() for name in pipeline.classes_], axis=1)
    np.testing.assert_allclose(scores, pipeline.decision_function(TEXTS[:30]), atol=1e-4)
    with pytest.raises(JobError, match="output='probability' needs predict_proba, which LinearSVC does not have"):
        score(pipeline, TEXTS[:30], tmp_path, output="probability", progress=False)


@pytest.mark.parametrize("kind", ["union", "search", "nested"])
def test_pipelines_that_are_more_than_a_line_give_what_predict_gives(tmp_path, kind):
    embedder = PretrainedEmbedder("text-mini")
    inner = FeatureUnion([("a", embedder), ("b", PretrainedEmbedder("text-mini", normalize=True))])
    pipeline = make_pipeline(inner if kind == "union" else embedder, LogisticRegression(max_iter=300))
    if kind == "search":
        pipeline = GridSearchCV(pipeline, {"logisticregression__C": [0.1, 1]}, cv=2)
    if kind == "nested":
        pipeline = make_pipeline(make_pipeline(embedder, StandardScaler()), LogisticRegression(max_iter=300))
    pipeline.fit(TEXTS[:60], LABELS)
    samples = [*TEXTS[:30], None, *TEXTS[30:40]]
    scored = score(pipeline, samples, tmp_path, rows_per_part=16, progress=False)
    found, expected = parts(tmp_path)["prediction"].to_pylist(), pipeline.predict(TEXTS[:40]).tolist()
    assert scored.failed == 1
    assert found == [*expected[:30], None, *expected[30:]]


def frame(n):
    return pd.DataFrame({"text": TEXTS[:n], "number": np.arange(n) % 7, "spare": 0})


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl", None])
def test_pipelines_of_frames_get_frames(tmp_path, suffix):
    columns = ColumnTransformer([("t", PretrainedEmbedder("text-mini"), "text"), ("n", StandardScaler(), ["number"])])
    pipeline = make_pipeline(columns, LogisticRegression(max_iter=300)).fit(frame(60)[["text", "number"]], LABELS)
    source = frame(90)
    writers = {"parquet": source.to_parquet, "csv": source.to_csv}
    if suffix is not None:
        path = tmp_path / f"in.{suffix}"
        if suffix == "jsonl":
            source.to_json(path, orient="records", lines=True)
        else:
            writers[suffix](path, index=False)
        source = path
    score(pipeline, source, tmp_path / "out", rows_per_part=32, progress=False)
    assert parts(tmp_path / "out")["prediction"].to_pylist() == pipeline.predict(frame(90)).tolist()


def test_a_pipeline_without_an_embedder_is_scored(tmp_path):
    X = np.random.default_rng(0).normal(size=(100, 3))
    model = LogisticRegression().fit(X, X[:, 0] > 0)
    score(model, X, tmp_path, rows_per_part=32, progress=False)
    assert parts(tmp_path)["prediction"].to_pylist() == model.predict(X).tolist()


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_formats_for_people(tmp_path, texts, suffix):
    score(texts, [*TEXTS[:10], None], tmp_path, format=suffix, rows_per_part=6, progress=False)
    names = sorted(path for path in tmp_path.iterdir() if path.name.startswith("part-"))
    rows = pd.concat([pd.read_csv(p) if suffix == "csv" else pd.read_json(p, lines=True) for p in names])
    assert rows["prediction"].tolist()[:10] == texts.predict(TEXTS[:10]).tolist()
    assert rows["prediction"].isna().tolist() == [False] * 10 + [True]
    assert len((tmp_path / f"failures.{suffix}").read_text("utf8").splitlines()) == (2 if suffix == "csv" else 1)


def test_compaction_keeps_every_row_and_the_job_is_still_finished(tmp_path, texts):
    score(texts, TEXTS, tmp_path, rows_per_part=20, progress=False)
    before = parts(tmp_path)
    assert scoring.compact(tmp_path, part_bytes=30_000) < 20
    assert scoring.compact(tmp_path) == 1
    assert parts(tmp_path).equals(before)
    assert score(texts, TEXTS, tmp_path, rows_per_part=20, progress=False) == (400, 0, 1, 0.0)


def test_an_interrupted_compaction_leaves_no_row_twice(tmp_path, texts):
    score(texts, TEXTS, tmp_path, rows_per_part=100, progress=False)
    names = {path: path.read_bytes() for path in tmp_path.iterdir() if path.name.startswith("part-")}
    scoring.compact(tmp_path)
    for path, data in names.items():  # as a kill before the last removal would leave them
        path.write_bytes(data)
    (tmp_path / "_SUCCESS.json").unlink()
    assert scoring.compact(tmp_path) == 1
    assert parts(tmp_path).num_rows == 400


def test_compaction_of_an_unfinished_job_is_refused(tmp_path, texts):
    score(texts, TEXTS, tmp_path, rows_per_part=100, progress=False)
    next(path for path in tmp_path.iterdir() if path.name.startswith("part-000001")).unlink()
    with pytest.raises(JobError, match="lacks 1 of 4 units; finish it first"):
        scoring.compact(tmp_path)


def test_a_file_that_vanishes_leaves_its_units_missing_and_the_job_resumable(tmp_path, texts):
    for i in range(2):
        pq.write_table(pa.table({"text": TEXTS[40 * i : 40 * i + 40]}), tmp_path / f"{i}.parquet")
    second = tmp_path / "1.parquet"
    content, status = second.read_bytes(), second.stat()
    pipeline = make_pipeline(Remove("number 5,", str(second)), *[step for _, step in texts.steps])
    options = {"column": "text", "rows_per_part": 20, "progress": False}
    with pytest.raises(UnfinishedError, match=r"2 of 4 units are missing after 3 passes; unit 2: .*1.parquet"):
        score(pipeline, str(tmp_path / "*.parquet"), tmp_path / "out", **options)
    assert parts(tmp_path / "out").num_rows == 40
    second.write_bytes(content)
    os.utime(second, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert score(pipeline, str(tmp_path / "*.parquet"), tmp_path / "out", **options).rows == 80
    assert not os.listdir(tmp_path / "out" / "_job" / "begun")


def test_a_job_of_another_form_is_refused(tmp_path, texts):
    score(texts, TEXTS[:10], tmp_path, progress=False)
    manifest = json.loads((tmp_path / "_job" / "manifest.json").read_text("utf8"))
    manifest["form"] = 99
    (tmp_path / "_job" / "manifest.json").write_text(json.dumps({**manifest, "fingerprint": "0" * 64}), "utf8")
    with pytest.raises(JobError, match="its form is 99, not 1"):
        score(texts, TEXTS[:10], tmp_path, progress=False)


@pytest.mark.parametrize("fails", range(1, 12))
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_write_that_fails_is_named_and_the_next_call_finishes(tmp_path, texts, monkeypatch, call, fails):
    real, calls = getattr(os, call), []

    def failing(*arguments):
        calls.append(arguments)
        if len(calls) == fails:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments)

    samples = [*TEXTS[:40], None]
    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing)
        with suppress(UnfinishedError):  # folders are flushed where that works
            score(texts, samples, tmp_path, rows_per_part=20, progress=False)
        assert [name for name in os.listdir(tmp_path) if name.endswith(".tmp")] == []
    assert score(texts, samples, tmp_path, rows_per_part=20, progress=False)[:2] == (41, 1)
    assert parts(tmp_path)["prediction"].to_pylist() == [*texts.predict(samples[:40]), None]
