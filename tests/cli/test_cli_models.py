"""`skltransfer models`: what it lists and shows, the cards it writes; tables."""

import dataclasses
import hashlib
import importlib.metadata
import json
import re
import subprocess
import sys

import numpy as np
import onnx
import pytest

from skltransfer import cli, list_models, load_card, testing
from skltransfer._engine import golden, registry, runtime
from skltransfer.cards import SPECS, Card, card_path
from tests import graphs, hostile_graphs, text_graphs
from tests.cli.support import SAID, lines


def test_models_list_shows_embedded_models_and_fetches_none(model, monkeypatch, capsys):
    monkeypatch.setattr(cli._models.cards, "names", lambda: [str(model)])
    assert cli.main(["models", "list"]) == 0
    header, _, row, *there = lines(capsys)
    assert any(line.split() == ["resnet50", "image", "2048", "Apache-2.0", "on", "the", "hub"] for line in there)
    assert header.split() == ["name", "samples", "columns", "license", "size"]
    assert row.split() == ["tiny", "image", "4", "not", "stated", "0.0", "MB"]


def test_models_show_says_of_a_name_what_is_known_before_it_is_fetched(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SKLTRANSFER_MODELS", str(tmp_path))
    monkeypatch.setattr(cli._models.catalog, "load_card", lambda *_: pytest.fail("loaded"))
    assert cli.main(["models", "show", "bge-small-en-v1.5"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"columns +384\n", shown)
    assert re.search(r"layer +last_hidden_state \(pool: cls\)\n", shown)
    assert re.search(r"source +hf://BAAI/bge-small-en-v1.5@main/onnx/model.onnx\n", shown)
    assert "SHA-256 unknown until they are fetched; the first fetch records it" in shown


@pytest.mark.parametrize("name", registry.table())
def test_every_name_of_the_hub_can_be_shown(name, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SKLTRANSFER_MODELS", str(tmp_path))
    assert cli.main(["models", "show", name]) == 0
    assert registry.table()[name]["card"]["license"] in capsys.readouterr().out


def test_models_show_prints_the_card(model, capsys):
    card = model.with_name("free.card.json")
    card.write_text(json.dumps(json.loads(card.read_text()) | {"measured": {"a": {"b": 0.5}}}))
    assert cli.main(["models", "show", str(model.with_name("free.onnx"))]) == 0
    facts = dict(re.split(r"  +", line, maxsplit=1) for line in lines(capsys))
    assert (facts["license"], facts["source"], facts["measured.a.b"]) == ("MIT", "the oven", "0.5")
    assert facts["input.mean"] == "0.1, 0.2, 0.3"
    assert hashlib.sha256(model.with_name("free.onnx").read_bytes()).hexdigest() in facts["files.free.onnx"]


def test_models_layers_lists_every_tensor_and_marks_the_default(model, capsys):
    assert cli.main(["models", "layers", str(model)]) == 0
    assert [re.split(r"  +", line) for line in lines(capsys)[2:6]] == [
        ["map", "4 x 8 x 8", "4", "1", "2, 3"],
        ["pooled", "4 x 1 x 1", "4", "1", "2, 3"],
        ["embedding", "4", "4"],
        ["logits", "4", "4", "the card's embedding"],
    ]


@pytest.mark.parametrize(("field", "value"), SAID.values(), ids=SAID)
def test_models_card_writes_what_is_said(field, value, baked):
    card = load_card(baked / "free.onnx")
    assert getattr(card.input, field, getattr(card, field, None)) == value


def test_models_card_needs_to_know_how_pixels_were_scaled(tmp_path, capsys):
    path = testing.save_backbone(testing.image_backbone(), tmp_path, pin=False)
    assert cli.main(["models", "card", str(path)]) == 2
    assert "skltransfer models card" in capsys.readouterr().err
    assert not card_path(path).exists()


def test_models_card_is_written_again_for_a_file_that_changed(model):
    old = load_card(model)
    model.write_bytes(graphs.channel_means().SerializeToString())
    assert cli.main(["models", "card", str(model), "--layer", "embedding", "--license", "MIT"]) == 0
    new = load_card(model)
    assert new.files["model"].sha256 != old.files["model"].sha256
    assert (new.input, new.license) == (old.input, "MIT")


def test_models_card_lists_external_files(tmp_path):
    (tmp_path / "weights.bin").write_bytes(hostile_graphs.CANARY.tobytes())
    path = tmp_path / "tiny.onnx"
    onnx.save(hostile_graphs.external(hostile_graphs.outside("weights.bin")), path)
    assert cli.main(["models", "card", str(path), "--external", "weights.bin"]) == 0
    assert load_card(path).pinned
    assert sorted(file.path for file in load_card(path).files.values()) == ["tiny.onnx", "weights.bin"]


def test_models_card_elsewhere_says_what_to_copy(model, tmp_path, capsys):
    assert cli.main(["models", "card", str(model), "--output", str(tmp_path / "card.json")]) == 0
    assert lines(capsys)[-1].startswith("Copy tiny.onnx into")
    model.rename(tmp_path / "tiny.onnx")
    assert cli.main(["models", "verify", str(tmp_path)]) == 0


@pytest.mark.parametrize("option", ["--mean=1,2", "--std=a,b,c", "--size=224", "--size=1.5,2"])
def test_models_card_says_which_numbers_it_wants(option, model, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["models", "card", str(model), option])
    assert re.search(r"is not [23] numbers such as", capsys.readouterr().err)


def test_models_card_takes_onnx_files_only(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["models", "card", str(tmp_path)])
    assert "is not an .onnx file" in capsys.readouterr().err


def test_models_card_names_a_file_that_does_not_exist(capsys):
    assert cli.main(["models", "card", "gone.onnx", "--preset", "raw"]) == 2
    assert "There is no model 'gone.onnx'" in capsys.readouterr().err


def test_doctor_takes_every_device_there_is(capsys):
    assert cli.main(["doctor", "--device", "cuda:all"]) == 1 or runtime.why_not(runtime.Device("cuda")) == ""
    assert "checked" in capsys.readouterr().out


def test_doctor_bench_says_what_bounds_the_machine(photos, tmp_path, capsys):
    path = graphs.save_images(tmp_path)
    assert cli.main(["doctor", "--bench", str(photos), "--model", path, "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"10 samples of {photos}, tiny on cpu")
    assert re.search(r"\nend to end, all threads +[\d,]+ +[\d.]+\n", said)
    assert re.search(r"\nBottleneck: (prepare|graph), \d+% of the time. To speed it up:\n- ", said)


@pytest.mark.parametrize("kind", ["folder", "npy", "made up"])
def test_models_variant_makes_one_and_show_lists_it(kind, photos, tmp_path, capsys):
    path = graphs.save_images(tmp_path, graphs.deep(), "deep")
    np.save(tmp_path / "photos.npy", np.array(testing.noise_images(8)))
    given = {"folder": ["--samples", str(photos)], "npy": ["--samples", str(tmp_path / "photos.npy")], "made up": []}
    assert cli.main(["models", "quantize", path, "int8", *given[kind]]) == 0
    assert "times the speed on a CPU, on " in lines(capsys)[1]
    assert cli.main(["models", "show", path]) == 0
    assert re.search(r"quantization.int8 +cosine (0\.99\d+|1\.0) \(least ", capsys.readouterr().out)


def test_models_variant_takes_lines_of_text(tmp_path, capsys):
    model = str(testing.save_text_backbone(text_graphs.thinker(), tmp_path / "texts", pool="mean"))
    (tmp_path / "lines.txt").write_text("one\ntwo three\nfour\nfive six seven\n")
    assert cli.main(["models", "quantize", model, "int8", "--samples", str(tmp_path / "lines.txt")]) == 0
    assert lines(capsys)[1].endswith("on 2 samples that were given")


def test_models_variant_names_what_is_no_samples(tmp_path, capsys):
    (tmp_path / "broken.npy").write_bytes(b"no array")
    assert cli.main(["models", "quantize", "vision-mini", "int8", "--samples", str(tmp_path / "broken.npy")]) == 2
    assert "broken.npy' holds neither an array nor lines of text" in capsys.readouterr().err


def test_models_verify_passes_what_is_as_recorded(model, capsys):
    assert cli.main(["models", "verify", str(model)]) == 0
    files, golden = lines(capsys)
    assert files.split()[:3] == ["tiny.onnx", "as", "pinned"]
    assert golden.startswith("On cpu golden rows differ by 0.0e+00")


def test_models_verify_compares_the_golden_rows_of_texts(tmp_path, capsys):
    folder = str(testing.save_text_backbone(testing.text_backbone(), tmp_path))
    golden.write_card(load_card(folder), tmp_path / "card.json")
    assert cli.main(["models", "verify", folder]) == 0
    assert lines(capsys)[-1].startswith("On cpu golden rows differ by 0.0e+00")


def test_models_verify_ends_with_status_1_beyond_rounding(model):
    data = json.loads(card_path(model).read_text())
    data["golden"]["rows"][0][0] *= 1.01
    card_path(model).write_text(json.dumps(data))
    assert cli.main(["models", "verify", str(model)]) == 1


def test_models_verify_compares_only_files_of_a_backbone_of_numbers(tmp_path, capsys):
    assert cli.main(["models", "verify", str(testing.save_backbone(testing.array_backbone(), tmp_path))]) == 0
    assert lines(capsys)[-1] == "The card has no golden rows to compare with."


def test_models_verify_refuses_another_file(model, capsys):
    model.write_bytes(model.read_bytes() + b"\n")
    assert cli.main(["models", "verify", str(model)]) == 2
    assert "its card pins" in capsys.readouterr().err


COMMANDS = [([], command) for command in cli.COMMANDS]
COMMANDS += [([name], command) for name, (_, commands) in cli.GROUPS.items() for command in commands]


@pytest.mark.parametrize(("group", "command"), COMMANDS)
def test_every_command_has_help(group, command, capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main([*group, command.name, "--help"])
    assert command.help.split()[0] in capsys.readouterr().out


def test_every_option_of_the_card_command_is_a_field_of_card_or_input():
    known = {field.name for of in (Card, *SPECS.values()) for field in dataclasses.fields(of)}
    options = vars(cli.make_parser().parse_args(["models", "card", "tiny.onnx"])).keys()
    assert options - known == {"preset", "file", "external", "output", "run"}


@pytest.mark.parametrize("kind", SPECS)
def test_every_field_of_an_input_is_an_option_of_the_card_command(kind):
    options = vars(cli.make_parser().parse_args(["models", "card", "tiny.onnx"])).keys()
    assert {field.name for field in dataclasses.fields(SPECS[kind])} <= options


@pytest.mark.parametrize("argv", [[], ["models"], ["cache"]])
def test_without_a_command_the_help_is_shown(argv, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(argv)
    assert "show this help message and exit" in capsys.readouterr().err


def test_module_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "skltransfer", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"skltransfer {importlib.metadata.version('skltransfer')}\n"


@pytest.mark.parametrize(("old", "new", "value"), [("--licence", "--license", "MIT"), ("--colour", "--color", "BGR")])
def test_old_option_works_and_names_the_new_one(old, new, value):
    with pytest.warns(FutureWarning, match=f"{old} was renamed to {new} and will be removed; type {new}"):
        args = cli.make_parser().parse_args(["models", "card", "tiny.onnx", old, value])
    assert vars(args)[new.lstrip("-")] == value


def test_old_names_are_not_in_the_help(capsys):
    for argv in (["models", "--help"], ["models", "card", "--help"]):
        with pytest.raises(SystemExit, match="0"):
            cli.main(argv)
    assert not re.search(r"licence|colour|variant", capsys.readouterr().out)


@pytest.mark.filterwarnings("default::FutureWarning")  # as for users; the tests make it an error
def test_old_command_works_and_names_the_new_one(tmp_path, capsys):
    model = graphs.save_images(tmp_path, graphs.deep(), "deep")
    assert cli.main(["models", "variant", model, "fp16"]) == 0
    assert "`models variant` was renamed to `models quantize`" in capsys.readouterr().err


def test_list_fits_a_terminal_and_json_has_it_in_full(capsys):
    assert cli.main(["models", "list"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80
    assert cli.main(["models", "list", "--json"]) == 0
    found = {facts["name"]: facts for facts in json.loads(capsys.readouterr().out)}
    assert found.keys() == set(list_models())
    assert found["vision-mini"]["license"] == load_card("vision-mini").license
