"""What the files beside a text encoder say of it is obeyed; what they do not say is asked for."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from tokenizers import normalizers

from skltransfer import PretrainedEmbedder, cards, load_card, testing
from skltransfer._engine import inspection
from skltransfer.errors import CardError, InputWarning, ModelWarning
from skltransfer.testing import TABLE, VOCABULARY
from tests.graphs import node
from tests.text_graphs import model as make_model

pytestmark = pytest.mark.filterwarnings("ignore:.*has no card; its embedding:skltransfer.errors.ModelWarning")

TEXTS = ["one two three", "four", "one"]
INPUTS = {"input_ids": "int64", "attention_mask": "int64"}
#: Nodes that add the sum over all words of a text to each of its vectors, so that every token knows the text.
MIXED = [
    node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
    node("Unsqueeze", ["mask", "ones"], ["weights"]),
    node("MatMul", ["weights", "words"], ["sum"]),
    node("Add", ["words", "sum"], ["tokens"]),
]
LOOKED_UP = node("Gather", ["table", "input_ids"], ["words"])
WORDS = make_model([LOOKED_UP, *MIXED], INPUTS, "tokens", table=TABLE, ones=np.array([1]))


def states(text):
    """Return the vectors of the tokens of a text, by hand."""
    words = TABLE[[VOCABULARY["[CLS]"], *(VOCABULARY[word] for word in text.split()), VOCABULARY["[SEP]"]]]
    return words + words.sum(0)


def save(folder, graph=WORDS, *, place="model.onnx", **files):
    """Write a repository: graph, tokenizer and JSON files, whose names have ``__`` for ``/`` and end as they should."""
    (folder / place).parent.mkdir(parents=True, exist_ok=True)
    (folder / place).write_bytes(graph.SerializeToString())
    testing.word_tokenizer().save(str(folder / "tokenizer.json"))
    for name, content in files.items():
        path = folder / f"{name.replace('__', '/')}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
    inspection.trust(cards.find(str(folder)))  # a child process to try it first would take a second
    return folder


def modules(*kinds, **pooling):
    """Return what sentence-transformers writes of a pipeline of modules."""
    paths = ["", *(f"{i}_{kind}" for i, kind in enumerate(kinds[1:], 1))]
    listed = [
        {"idx": i, "path": p, "type": f"sentence_transformers.models.{k}"}
        for i, (p, k) in enumerate(zip(paths, kinds, strict=True))
    ]
    return {"modules": listed, **({"1_Pooling__config": pooling} if pooling else {})}


POOLED = {
    "cls": lambda rows: rows[0],
    "mean": lambda rows: rows.mean(0),
    "max": lambda rows: rows.max(0),
    "lasttoken": lambda rows: rows[-1],
}
SWITCH = {"cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens", "lasttoken": "lasttoken"}


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("new", [False, True])
@pytest.mark.parametrize("mode", POOLED)
def test_pooling_and_normalization_are_obeyed(tmp_path, mode, new, normalize):
    config = {"pooling_mode": mode} if new else {f"pooling_mode_{SWITCH[m]}": m == mode for m in POOLED}
    kinds = ["Transformer", "Pooling", *(["Normalize"] if normalize else [])]
    want = np.array([POOLED[mode](states(text)) for text in TEXTS])
    want = want / np.linalg.norm(want, axis=1, keepdims=True) if normalize else want
    folder = save(tmp_path, **modules(*kinds, **config))
    np.testing.assert_allclose(PretrainedEmbedder(folder).transform(TEXTS), want, rtol=1e-5, atol=1e-6)


def test_graph_in_the_folder_onnx_is_described_by_the_folder_above(tmp_path):
    folder = save(tmp_path, place="onnx/model.onnx", **modules("Transformer", "Pooling", pooling_mode="cls"))
    for path in (folder, folder / "onnx" / "model.onnx"):
        rows = PretrainedEmbedder(path, cache=None).transform(TEXTS)
        np.testing.assert_allclose(rows, [states(text)[0] for text in TEXTS], rtol=1e-5)


def test_choice_is_mentioned_once(tmp_path):
    folder = save(tmp_path, **modules("Transformer", "Pooling", "Normalize", pooling_mode="cls"))
    with pytest.warns(
        ModelWarning, match="the output 'tokens', pool='cls', scaled to unit length. To settle it"
    ) as caught:
        PretrainedEmbedder(folder, cache=None).fit(TEXTS).transform(TEXTS)
    assert len(caught) == 1


def test_pooling_that_nothing_says_is_asked_for(tmp_path):
    folder = save(tmp_path)
    with pytest.raises(
        CardError, match=r"'tokens' of 'model' has a vector for each .* Choose as its authors do, pool="
    ):
        PretrainedEmbedder(folder).transform(TEXTS)
    for chosen in (PretrainedEmbedder(folder, pool="max"), PretrainedEmbedder(load_card(folder, pool="max"))):
        np.testing.assert_allclose(chosen.transform(TEXTS)[1], states("four").max(0), rtol=1e-5)


def test_written_card_with_an_open_pooling_is_refused(tmp_path, capsys):
    from skltransfer import cli

    folder = save(tmp_path)
    assert cli.main(["models", "card", str(folder / "model.onnx")]) == 2
    assert "--pool mean" in capsys.readouterr().err
    assert cli.main(["models", "card", str(folder / "model.onnx"), "--pool", "mean"]) == 0
    assert load_card(folder / "model.onnx").pool == "mean"


#: Pipelines that a graph of the transformer alone cannot be, and what the error says.
REFUSED = {
    "dense": (modules("Transformer", "Pooling", "Dense", pooling_mode="mean"), "has the module Dense, which its graph"),
    "weighted": (modules("Transformer", "Pooling", pooling_mode="weightedmean"), "asks for the pooling weightedmean"),
    "two": (modules("Transformer", "Pooling", pooling_mode=["cls", "mean"]), "asks for the pooling cls and mean"),
    "none": (modules("Transformer", "Pooling", pooling_mode_mean_tokens=False), "the pooling of no tokens"),
    "prompt left out": (
        modules("Transformer", "Pooling", pooling_mode="mean", include_prompt=False),
        "leaves the tokens of the prompt out",
    ),
    "no list": ({"modules": {"a": 1}}, "not a list of modules"),
    "no object": ({"tokenizer_config": [1]}, "holds a list, not an object"),
    "unknown prompt": ({"config_sentence_transformers": {"default_prompt_name": "x"}}, "names the default prompt 'x'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_obeyed_is_refused(tmp_path, case):
    files, words = REFUSED[case]
    with pytest.raises(CardError, match=words):
        PretrainedEmbedder(save(tmp_path, **files)).transform(TEXTS)


def test_root_of_the_length_makes_no_difference_to_unit_rows(tmp_path):
    files = modules("Transformer", "Pooling", "Normalize", pooling_mode_mean_sqrt_len_tokens=True)
    row = states("four").sum(0) / np.sqrt(3)
    got = PretrainedEmbedder(save(tmp_path, **files)).transform(["four"])[0]
    np.testing.assert_allclose(got, row / np.linalg.norm(row), rtol=1e-5)


# ---------------------------------------------------------------------------------------------------------------------
# Outputs


def with_output(name, *, first="tokens"):
    """Add an output of rank 2 to the encoder: the second token."""
    nodes = [LOOKED_UP, *MIXED, node("Gather", ["tokens", "one"], [name], axis=1)]
    graph = make_model(nodes, INPUTS, "tokens", table=TABLE, ones=np.array([1]), one=np.array(1))
    graph.graph.output.add(name=name).type.tensor_type.elem_type = TensorProto.FLOAT
    if first != "tokens":
        graph.graph.output.reverse()
    return onnx.shape_inference.infer_shapes(graph)


@pytest.mark.parametrize("first", ["tokens", "row"])
@pytest.mark.parametrize("name", ["sentence_embedding", "text_embeds", "pooler_output"])
def test_ready_output_is_preferred_to_pooling(tmp_path, name, first):
    folder = save(tmp_path, with_output(name, first=first))
    want = [states(text)[1] for text in TEXTS]
    np.testing.assert_allclose(PretrainedEmbedder(folder).transform(TEXTS), want, rtol=1e-5)


def test_pooling_that_is_said_is_preferred_to_a_pooler(tmp_path):
    files = modules("Transformer", "Pooling", pooling_mode="cls")
    folder = save(tmp_path, with_output("pooler_output"), **files)
    np.testing.assert_allclose(PretrainedEmbedder(folder).transform(TEXTS), [states(t)[0] for t in TEXTS], rtol=1e-5)


def test_embedding_of_the_whole_model_needs_no_module(tmp_path):
    files = modules("Transformer", "Pooling", "Dense", pooling_mode="weightedmean")
    folder = save(
        tmp_path, with_output("sentence_embedding"), **{**files, "1_Pooling__config": {"pooling_mode": "cls"}}
    )
    np.testing.assert_allclose(PretrainedEmbedder(folder).transform(TEXTS), [states(t)[1] for t in TEXTS], rtol=1e-5)


# ---------------------------------------------------------------------------------------------------------------------
# Tokens

LENGTHS = {
    "tokenizer.json": ({}, 40, 40),
    "tokenizer_config.json": ({"tokenizer_config": {"model_max_length": 30}}, None, 30),
    "the shorter of two": ({"tokenizer_config": {"model_max_length": 30}}, 40, 30),
    "sentence_bert_config.json": ({"sentence_bert_config": {"max_seq_length": 20}}, 40, 20),
    "no limit": ({"tokenizer_config": {"model_max_length": 10**30}}, None, 256),
}


@pytest.mark.parametrize("case", LENGTHS)
def test_limit_of_tokens_is_read(tmp_path, case):
    files, truncation, want = LENGTHS[case]
    folder = save(tmp_path, **files)
    if truncation:
        tokenizer = testing.word_tokenizer()
        tokenizer.enable_truncation(truncation)
        tokenizer.save(str(folder / "tokenizer.json"))
    assert load_card(folder, pool="mean").input.max_length == want


def lookup(indices, rows=16, **weights):
    """Build an encoder that adds rows of a table of positions to the vectors of its words."""
    nodes = [LOOKED_UP, *MIXED[:-1], node("Add", ["words", "sum"], ["mixed"]), *indices]
    nodes.append(node("Add", ["mixed", "where"], ["tokens"]))
    positions = np.random.default_rng(0).normal(size=(rows, TABLE.shape[1])).astype(np.float32)
    fixed = {"zero": np.array(0), "one": np.array(1), "ones": np.array([1]), "table": TABLE, "positions": positions}
    return make_model(nodes, INPUTS, "tokens", **fixed, **weights)


RANGE = [
    node("Shape", ["input_ids"], ["shape"]),
    node("Gather", ["shape", "one"], ["length"]),
    node("Range", ["zero", "length", "one"], ["range"]),
    node("Gather", ["positions", "range"], ["where"]),
]
SLICED = [
    node("Shape", ["input_ids"], ["shape"], start=1, end=2),
    node("Slice", ["positions", "start", "shape", "axis"], ["where"]),
]
COUNTED = [
    node("CumSum", ["attention_mask", "one"], ["counted"]),
    node("Mul", ["counted", "attention_mask"], ["real"]),
    node("Add", ["real", "one"], ["places"]),
    node("Gather", ["positions", "places"], ["where"]),
]
TABLES = {
    "range": (lookup(RANGE), 16),
    "slice": (lookup(SLICED, start=np.array([0]), axis=np.array([0])), 16),
    "counted from the mask": (lookup(COUNTED), 14),
    "words only": (WORDS, 256),
}


@pytest.mark.parametrize("case", TABLES)
def test_long_text_does_not_leave_the_table_of_positions(tmp_path, case):
    graph, want = TABLES[case]
    card = load_card(save(tmp_path, graph), pool="mean")
    assert card.input.max_length == want
    with pytest.warns(InputWarning, match=f"longer than max_length={want} tokens"):
        assert np.isfinite(PretrainedEmbedder(card).transform(["one " * 300, "two"])).all()


def test_table_of_segments_or_distances_is_no_table_of_positions(tmp_path):
    narrow = np.zeros((32, 1), np.float32)
    indices = [
        *RANGE[:3],
        node("Gather", ["distances", "range"], ["far"]),
        node("Gather", ["segments", "range0"], ["segment"]),
        node("Add", ["far", "segment"], ["where"]),
    ]
    weights = {"distances": narrow, "segments": np.zeros((2, TABLE.shape[1]), np.float32), "range0": np.array([0])}
    assert load_card(save(tmp_path, lookup(indices, **weights)), pool="mean").input.max_length == 256


@pytest.mark.parametrize(("said", "same"), [(True, True), (False, False), (None, False)])
def test_lower_case_is_obeyed(tmp_path, said, same):
    folder = save(tmp_path, tokenizer_config={"do_lower_case": said} if said is not None else {})
    embedder = PretrainedEmbedder(folder, pool="mean")
    upper, lower = embedder.transform(["ONE Two", "one two"])
    assert np.allclose(upper, lower) is same


@pytest.mark.parametrize(("said", "same"), [(True, True), (False, False), (None, True)])
def test_case_of_bert_s_normalizer_is_switched(tmp_path, said, same):
    folder = save(tmp_path, **({"sentence_bert_config": {"do_lower_case": said}} if said else {}))
    tokenizer = testing.word_tokenizer()
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=said is not True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({} if said is None else {"do_lower_case": said}))
    upper, lower = PretrainedEmbedder(folder, pool="mean").transform(["ONE", "one"])
    assert np.allclose(upper, lower) is same


def test_padding_and_side_are_read(tmp_path):
    config = {"pad_token": {"content": "[SEP]"}, "truncation_side": "left"}
    spec = load_card(save(tmp_path, tokenizer_config=config), pool="mean").input
    assert (spec.pad, spec.truncation) == (VOCABULARY["[SEP]"], "left")


# ---------------------------------------------------------------------------------------------------------------------
# Prompts

PROMPTS = {"prompts": {"query": "one ", "document": "two "}, "default_prompt_name": None}


def test_prompt_goes_before_every_text(tmp_path):
    folder = save(tmp_path, config_sentence_transformers=PROMPTS)
    for name, prompt in PROMPTS["prompts"].items():
        got = PretrainedEmbedder(folder, pool="mean", prompt=name).transform(["four"])
        np.testing.assert_allclose(got[0], states(f"{prompt}four").mean(0), rtol=1e-5)
    assert load_card(folder, pool="mean").prompts == PROMPTS["prompts"]


@pytest.mark.parametrize("default", [None, "query"])
def test_default_prompt_is_the_model_s(tmp_path, default):
    folder = save(tmp_path, config_sentence_transformers={**PROMPTS, "default_prompt_name": default})
    got = PretrainedEmbedder(folder, pool="mean").transform(["four"])
    np.testing.assert_allclose(got[0], states("one four" if default else "four").mean(0), rtol=1e-5)


def test_unknown_prompt_names_the_known_ones(tmp_path):
    folder = save(tmp_path, config_sentence_transformers=PROMPTS)
    with pytest.raises(
        CardError, match=r"has no prompt 'passage'; it has 'query', 'document'. To put words of your own"
    ):
        PretrainedEmbedder(folder, pool="mean", prompt="passage").transform(TEXTS)
    with pytest.raises(CardError, match="it has none"):
        PretrainedEmbedder("text-mini", prompt="query").transform(TEXTS)


def test_card_keeps_prompts_and_normalization(tmp_path):
    files = modules("Transformer", "Pooling", "Normalize", pooling_mode="cls")
    card = load_card(save(tmp_path, config_sentence_transformers=PROMPTS, **files))
    again = cards.Card.from_dict(json.loads(json.dumps(card.to_dict())), folder=card.folder)
    assert (again.normalize, again.prompts, again.pool) == (True, PROMPTS["prompts"], "cls")


def test_other_layer_than_the_card_s_is_not_normalized(tmp_path):
    files = modules("Transformer", "Pooling", "Normalize", pooling_mode="cls")
    got = PretrainedEmbedder(save(tmp_path, **files), layer="tokens").transform(["four"])
    np.testing.assert_allclose(got[0], states("four")[0], rtol=1e-5)


def test_description_that_is_too_long_or_too_deep_is_refused(tmp_path):
    folder = save(tmp_path)
    for text in ('{"a": "' + "x" * 4_200_000 + '"}', '{"a": ' + "[" * 100_000):
        (folder / "tokenizer_config.json").write_text(text)
        with pytest.raises(CardError, match=r"tokenizer_config.json' cannot be read as JSON"):
            load_card(folder, pool="mean")
