"""``skltransfer export`` and ``models show`` of what it wrote."""

from __future__ import annotations

import joblib
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import cli
from tests.cli.support import lines
from tests.export import support

pytest.importorskip("skl2onnx", reason="needs skltransfer[export]")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Stand in a folder with a pipeline, in two forms, and samples."""
    skops = pytest.importorskip("skops.io", reason="needs skops")
    monkeypatch.chdir(tmp_path)
    X, y = support.train()
    head = make_pipeline(StandardScaler(), LogisticRegression())
    pipeline = make_pipeline(support.backbone(tmp_path), head).fit(X, y)
    skops.dump(pipeline, "pipeline.skops")
    joblib.dump(pipeline, "pipeline.joblib")
    np.save("samples.npy", np.stack(support.test()))
    return tmp_path


COMMAND = ["export", "pipeline.skops", "--samples", "samples.npy", "--output", "model.onnx"]


@pytest.mark.usefixtures("folder")
def test_a_pipeline_is_exported_and_shown(capsys):
    assert cli.main([*COMMAND, "--triton", "models", "--pure"]) == 0
    said = lines(capsys)
    assert said[0].startswith("model.onnx: ")
    assert said[-1].endswith("config.pbtxt")
    assert cli.main(["models", "show", "model.onnx"]) == 0
    shown = dict(line.split(maxsplit=1) for line in lines(capsys) if len(line.split()) > 1)
    assert (shown["classes.label"], shown["opset"], shown["pure"]) == ("blue, green, red", "17", "True")


@pytest.mark.usefixtures("folder")
def test_a_pickle_is_loaded_only_if_it_is_trusted(capsys):
    command = ["export", "pipeline.joblib", *COMMAND[2:]]
    assert cli.main(command) == 2
    assert "is a pickle, which runs the code it holds. Add --trust-pickle" in capsys.readouterr().err
    assert cli.main([*command, "--trust-pickle"]) == 0


@pytest.mark.usefixtures("folder")
def test_refusals_are_one_line_and_status_2(capsys, folder):
    np.save("few.npy", np.stack(support.test()[:5]))
    assert cli.main(["export", "pipeline.skops", "--samples", "few.npy", "--output", "model.onnx"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (folder / "model.onnx").exists()
    assert cli.main(["export", "pipeline.txt", "--samples", "few.npy", "--output", "model.onnx"]) == 2
    assert "ends neither in .skops nor in .joblib" in capsys.readouterr().err


@pytest.mark.usefixtures("folder")
def test_tables_have_columns(tmp_path):
    pd = pytest.importorskip("pandas")
    from skltransfer.cli import _export

    pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}).to_csv("t.csv", index=False)
    assert _export._samples(tmp_path / "t.csv").columns.tolist() == ["a", "b"]
