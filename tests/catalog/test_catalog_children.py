"""A graph that nobody pinned is opened in a child process, with limits."""

import dataclasses
import json
import subprocess
import sys
import time

import numpy as np
import pytest

from skltransfer import load_card, testing
from skltransfer._engine import graph, hub, inspection, trial
from skltransfer.cards import GraphInfo
from skltransfer.errors import (
    UnsafeModelError,
)
from tests import graphs, hostile_graphs


def test_unpinned_graph_is_opened_by_a_child_once_and_says_the_same(tmp_path, monkeypatch):
    path = testing.save_backbone(testing.image_backbone(), tmp_path, pin=False)
    card = load_card(path, preset="raw", resize="squash")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("a second child"))
    assert load_card(path, preset="raw", resize="squash") == card
    assert card == dataclasses.replace(testing.pinned_card(path), files=card.files)
    assert not card.pinned


def test_child_reads_the_weights_the_card_lists_and_ignores_the_warnings_of_the_parent(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    (tmp_path / "w.bin").write_bytes(hostile_graphs.CANARY.tobytes())
    path = testing.save_backbone(hostile_graphs.external(hostile_graphs.outside("w.bin")), tmp_path, pin=False)
    assert inspection._read_in_child(path, ["w.bin"], hub.sha256(path), None).layers == {"rows": (2,)}


def test_what_a_child_refuses_is_refused_with_its_words(tmp_path):
    path = testing.save_backbone(hostile_graphs.custom_domain(), tmp_path, pin=False)
    with pytest.raises(
        UnsafeModelError, match=r"'tiny.onnx': Operator 'Mystery' comes from the custom domain 'com.evil'"
    ):
        load_card(path)


@pytest.fixture
def as_child(monkeypatch):
    """Do here what a child does, without its limits, which would outlast the test."""
    monkeypatch.setattr(trial, "_set_limits", lambda memory, seconds: (memory, "ours"))
    return lambda path: trial.try_model(2**34, 10, str(path), [], None, None)


def test_child_answers_with_the_facts(tmp_path, as_child):
    answer = as_child(testing.save_backbone(graphs.statistics(), tmp_path, pin=False))
    assert GraphInfo.from_json(json.loads(json.dumps(answer))) == graph.read(graphs.statistics())


def test_child_puts_up_with_a_graph_that_fails_on_zeros(tmp_path, as_child):
    nodes = [graphs.node("Reshape", ["x", "seven"], ["y"]), graphs.node("ReduceSum", ["y"], ["rows"])]
    model = graphs.model(nodes, ["n", "features"], "rows", seven=np.array([7, -1]))
    assert as_child(testing.save_backbone(model, tmp_path, pin=False))["input"] == "x"


def _from_the_future(model):
    model.opset_import[0].version = 99
    return model


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"<!doctype html>", "ModelError", "'tiny.onnx' is not an ONNX graph"),
        (
            _from_the_future(testing.array_backbone()).SerializeToString(),
            "ModelError",
            "'tiny.onnx': ONNX Runtime cannot open",
        ),
        (
            hostile_graphs.recursive().SerializeToString(),
            "UnsafeModelError",
            "'tiny.onnx': Function 'f' of the graph calls",
        ),
    ],
    ids=["no graph", "newer", "recursive"],
)
def test_child_answers_with_the_error(tmp_path, as_child, content, error, message):
    (tmp_path / "tiny.onnx").write_bytes(content)
    answer = as_child(tmp_path / "tiny.onnx")
    assert (answer["error"], answer["message"][: len(message)]) == (error, message)


def test_graph_that_does_not_end_is_refused_in_time(tmp_path, monkeypatch):
    path, start = testing.save_backbone(hostile_graphs.endless(), tmp_path, pin=False), time.monotonic()
    monkeypatch.setenv("SKLTRANSFER_TRIAL_SECONDS", "3")
    message = (
        r"'tiny.onnx' was not open and run after 3 s of CPU .* refused. To allow more: SKLTRANSFER_TRIAL_SECONDS=30"
    )
    with pytest.raises(UnsafeModelError, match=message):
        load_card(path)
    assert time.monotonic() - start < 12


def test_graph_that_fills_the_memory_is_refused(tmp_path, monkeypatch):
    path = testing.save_backbone(hostile_graphs.hungry(), tmp_path, pin=False)
    monkeypatch.setattr(inspection, "CHILD_BYTES", 8 * 2**30)
    with pytest.raises(UnsafeModelError, match=r"'tiny.onnx' takes more memory than the 8,589,934,592 bytes"):
        load_card(path)


@pytest.mark.usefixtures("nothing_tried")
@pytest.mark.parametrize(
    ("does", "status", "words"),
    [
        ("echo dying >&2; kill -SEGV $$", -11, "dying"),
        ("kill -KILL $$", -9, ""),
        ("echo '{\"input\": '; exit 1", 1, ""),
        ("echo 7", 0, ""),
    ],
)
def test_child_that_dies_without_an_answer_is_a_refusal(tmp_path, monkeypatch, does, status, words):
    (tmp_path / "python").write_text(f"#!/bin/sh\necho skltransfer child is ready\n{does}\n")
    (tmp_path / "python").chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    path = testing.save_backbone(testing.array_backbone(), tmp_path, pin=False)
    with pytest.raises(UnsafeModelError, match=rf"exit status {status}\); refused. Its last words: '{words}"):
        load_card(path)
