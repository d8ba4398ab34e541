"""The axis of the channels is read off the operators: a pooled layer is what the graph's own pooling makes of it."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from skltransfer._engine import graph, modalities, plan, runtime
from skltransfer.cards import ArraySpec, Recipe
from skltransfer.errors import LayerError
from tests import graphs

node = graphs.node
RANDOM = np.random.default_rng(0)


def kernel(out, into, places):
    return RANDOM.normal(size=(out, into, *[3] * places)).astype(np.float32)


def channels(model, layer):
    return graph.read(model).channels.get(layer)


def pooled(model, layer, X, pool="mean"):
    """Pool a layer as a plan does, or refuse it."""
    info = graph.read(model)
    spec, shape = ArraySpec(dtype="float32"), info.layers[layer]
    axes = plan.check_pool(pool, [layer], [shape], spec, [info.channels.get(layer)])
    built = graph.build(
        onnx.ModelProto.FromString(model.SerializeToString()),
        Recipe("", spec, (layer,), pool, axes=axes),
        modalities.of(spec),
    )
    return runtime.Session(built.SerializeToString(), runtime.Device()).run(X)


def own(model, X):
    """Run the graph itself."""
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, {"x": X})[0].reshape(len(X), -1)


def convolution(places, *, last=False, length=6):
    """A convolution, a Relu and the graph's own pooling; the input has its channels last if told."""
    sizes = [length + i for i in range(places)]
    nodes = [node("Transpose", ["x"], ["t"], perm=[0, places + 1, *range(1, places + 1)])] if last else []
    nodes += [
        node("Conv", ["t" if last else "x", "w"], ["conv"]),
        node("Relu", ["conv"], ["relu"]),
        node("GlobalAveragePool", ["relu"], ["gap"]),
        node("Flatten", ["gap"], ["rows"]),
    ]
    shape = ["n", *sizes, 4] if last else ["n", 4, *sizes]
    return graphs.model(nodes, shape, "rows", w=kernel(5, 4, places))


@pytest.mark.parametrize("last", [False, True], ids=["channels first", "channels last"])
@pytest.mark.parametrize("places", [1, 2, 3])
@pytest.mark.parametrize("layer", ["relu", "gap"])
def test_pooled_layer_of_a_convolution_is_its_global_average(places, last, layer):
    model = convolution(places, last=last)
    X = RANDOM.normal(size=(3, *graph.read(model).shape[1:])).astype(np.float32)
    np.testing.assert_allclose(pooled(model, layer, X), own(model, X), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("pool", ["mean", "max", "cls", "last", "gem"])
def test_sequence_with_channels_second_is_pooled_over_its_places(pool):
    X = RANDOM.normal(size=(3, 4, 6)).astype(np.float32)
    model = convolution(1)
    w = numpy_helper.to_array(model.graph.initializer[0])
    map_ = np.maximum(sum(np.einsum("oc,ncl->nol", w[..., k], X[:, :, k : k + 4]) for k in range(3)), 0)
    gem = np.cbrt((np.maximum(map_, 1e-6) ** 3).mean(axis=2))
    want = {"mean": map_.mean(2), "max": map_.max(2), "cls": map_[..., 0], "last": map_[..., -1], "gem": gem}[pool]
    np.testing.assert_allclose(pooled(model, "relu", X, pool), want, rtol=1e-4, atol=1e-6)


def transformer(length="tokens", *, norm=True):
    """Tokens (n, tokens, 6) through a norm, attention of two heads and a dense layer."""
    nodes = [
        node("LayerNormalization", ["x", "scale"], ["normed"]) if norm else node("Identity", ["x"], ["normed"]),
        *(node("MatMul", ["normed", f"w{k}"], [k]) for k in "qkv"),
        *(node("Reshape", [k, "heads"], [f"{k}_split"]) for k in "qkv"),
        node("Transpose", ["q_split"], ["q_heads"], perm=[0, 2, 1, 3]),
        node("Transpose", ["k_split"], ["k_heads"], perm=[0, 2, 3, 1]),
        node("Transpose", ["v_split"], ["v_heads"], perm=[0, 2, 1, 3]),
        node("MatMul", ["q_heads", "k_heads"], ["scores"]),
        node("Softmax", ["scores"], ["attention"]),
        node("MatMul", ["attention", "v_heads"], ["context"]),
        node("Transpose", ["context"], ["turned"], perm=[0, 2, 1, 3]),
        node("Reshape", ["turned", "joined"], ["merged"]),
        node("Add", ["x", "merged"], ["states"]),
        node("ReduceMean", ["states"], ["rows"], axes=[1], keepdims=0),
    ]
    weights = {f"w{k}": RANDOM.normal(size=(6, 6)).astype(np.float32) for k in "qkv"}
    constants = {"heads": np.array([0, 0, 2, 3]), "joined": np.array([0, 0, 6]), "scale": np.ones(6, np.float32)}
    return graphs.model(nodes, ["n", length, 6], "rows", **weights, **constants)


@pytest.mark.parametrize("length", ["tokens", 6])
@pytest.mark.parametrize("norm", [True, False])
def test_states_of_a_transformer_have_channels_last(length, norm):
    X = RANDOM.normal(size=(3, 6, 6)).astype(np.float32)
    model = transformer(length, norm=norm)
    np.testing.assert_allclose(pooled(model, "states", X), own(model, X), rtol=1e-4, atol=1e-6)


def test_heads_of_attention_are_not_pooled_by_guess():
    with pytest.raises(LayerError, match=r"Which axis of layer 'context'.* cannot be told.*channels={'context': 1}"):
        pooled(transformer(), "context", np.zeros((1, 6, 6), np.float32))


def patches(side=8):
    """Patches of an image by a convolution, as tokens (n, 16, 5)."""
    nodes = [
        node("Conv", ["x", "w"], ["grid"], strides=[2, 2], kernel_shape=[2, 2]),
        node("Reshape", ["grid", "flat"], ["columns"]),
        node("Transpose", ["columns"], ["tokens"], perm=[0, 2, 1]),
        node("GlobalAveragePool", ["grid"], ["gap"]),
        node("Flatten", ["gap"], ["rows"]),
        node("Transpose", ["tokens"], ["back"], perm=[0, 2, 1]),
        node("Reshape", ["back", "square"], ["map"]),
    ]
    w = RANDOM.normal(size=(5, 3, 2, 2)).astype(np.float32)
    constants = {"flat": np.array([0, 5, -1]), "square": np.array([0, 5, side // 2, side // 2])}
    model = graphs.model(nodes, ["n", 3, side, side], "rows", w=w, **constants)
    model.graph.output.append(onnx.ValueInfoProto(name="map"))
    return model


@pytest.mark.parametrize("layer", ["grid", "columns", "tokens", "back", "map"])
def test_channels_are_followed_through_reshapes(layer):
    X = RANDOM.normal(size=(3, 3, 8, 8)).astype(np.float32)
    model = patches()
    np.testing.assert_allclose(pooled(model, layer, X), own(model, X), rtol=1e-4, atol=1e-6)


def mixer():
    """Tokens of patches that are mixed by a product with weights, as channels are elsewhere."""
    nodes = [
        *patches().graph.node[:3],
        node("LayerNormalization", ["tokens", "scale"], ["normed"]),
        node("Transpose", ["normed"], ["turned"], perm=[0, 2, 1]),
        node("MatMul", ["turned", "mix"], ["mixed"]),
        node("Transpose", ["mixed"], ["back"], perm=[0, 2, 1]),
        node("Add", ["tokens", "back"], ["states"]),
        node("ReduceMean", ["states"], ["rows"], axes=[1], keepdims=0),
    ]
    w, mix = (RANDOM.normal(size=size).astype(np.float32) for size in ((5, 3, 2, 2), (16, 16)))
    constants = {"flat": np.array([0, 5, -1]), "scale": np.ones(5, np.float32)}
    return graphs.model(nodes, ["n", 3, 8, 8], "rows", w=w, mix=mix, **constants)


@pytest.mark.parametrize("layer", ["turned", "mixed", "states"])
def test_what_weights_say_counts_less_than_the_rule_of_an_operator(layer):
    assert channels(mixer(), layer) == (2 if layer == "states" else 1)


def test_windows_of_patches_keep_their_channels():
    nodes = [
        node("LayerNormalization", ["x", "scale"], ["normed"]),
        node("Reshape", ["normed", "split"], ["parts"]),
        node("Transpose", ["parts"], ["grouped"], perm=[0, 1, 3, 2, 4, 5]),
        node("Reshape", ["grouped", "windows"], ["windowed"]),
        node("ReduceMean", ["normed"], ["rows"], axes=[1, 2], keepdims=0),
    ]
    shapes = {"split": np.array([-1, 2, 2, 2, 2, 6]), "windows": np.array([-1, 4, 6]), "scale": np.ones(6, np.float32)}
    info = graph.read(graphs.model(nodes, ["n", 4, 4, 6], "rows", **shapes))
    assert (info.channels["normed"], info.channels["parts"], info.channels["grouped"]) == (3, 5, 5)
    assert "windowed" not in info.layers


def test_own_reduction_of_a_graph_without_weights_says_where_channels_are():
    nodes = [node("Relu", ["x"], ["map"]), node("ReduceMean", ["map"], ["rows"], axes=[1, 2], keepdims=0)]
    assert channels(graphs.model(nodes, ["n", 5, 6, 4], "rows"), "map") == 3


def test_bias_of_channels_says_where_they_are():
    nodes = [node("Add", ["x", "bias"], ["map"]), node("Flatten", ["map"], ["rows"])]
    model = graphs.model(nodes, ["n", 5, 6, 4], "rows", bias=np.ones((5, 1, 1), np.float32))
    assert channels(model, "map") == 1


@pytest.mark.parametrize("shape", [["n", 5, 6, 4], ["n", 5, 6], ["n", 2, 3, 4, 5]])
def test_axes_that_no_operator_tells_are_asked_for(shape):
    nodes = [node("Relu", ["x"], ["map"]), node("Flatten", ["map"], ["rows"])]
    with pytest.raises(LayerError, match=r"Which axis of layer 'map'.*load_card\(MODEL, channels=.*pool='flatten'"):
        pooled(graphs.model(nodes, shape, "rows"), "map", np.zeros((1, *shape[1:]), np.float32))


def test_signs_that_contradict_each_other_are_no_signs():
    nodes = [node("Conv", ["x", "w"], ["map"]), node("Transpose", ["map"], ["turned"], perm=[0, 2, 1])]
    nodes += [node("Conv", ["turned", "v"], ["again"]), node("Flatten", ["again"], ["rows"])]
    model = graphs.model(nodes, ["n", 3, 7], "rows", w=kernel(5, 3, 1), v=kernel(4, 5, 1))
    assert channels(model, "map") is None


# ---------------------------------------------------------------------------------------------------------------------
# Random graphs


def random_graph(seed):
    """A convolution whose map is transposed, reshaped and rectified at random; its own pooling is the output."""
    random = np.random.default_rng(seed)
    places = int(random.integers(1, 4))
    sizes = [int(n) for n in random.integers(3, 6, places)]
    out, rank = int(random.integers(2, 7)), places + 2
    nodes, name = [], "x"
    order = [0, *(1 + random.permutation(rank - 1))]
    shape = [("n", 4, *sizes)[axis] for axis in order]
    if order != sorted(order):
        nodes.append(node("Transpose", [name], ["t"], perm=np.argsort(order).tolist()))
        name = "t"
    nodes.append(node("Conv", [name, "w"], ["map"], pads=[1] * 2 * places))
    nodes += [node("GlobalAveragePool", ["map"], ["gap"]), node("Flatten", ["gap"], ["rows"])]
    name, lengths, weights, layers = "map", [out, *sizes], {}, ["map"]
    for step in range(int(random.integers(1, 6))):
        kind, new = random.integers(0, 4), f"layer_{step}"
        if kind == 0:
            turn = random.permutation(len(lengths))
            nodes.append(node("Transpose", [name], [new], perm=[0, *(1 + turn).tolist()]))
            lengths = [lengths[i] for i in turn]
        elif kind == 1 and len(lengths) > 2:
            at = int(random.integers(0, len(lengths) - 1))
            lengths = [*lengths[:at], lengths[at] * lengths[at + 1], *lengths[at + 2 :]]
            weights[f"to_{step}"] = np.array([0 if random.integers(2) else -1, *lengths])
            nodes.append(node("Reshape", [name, f"to_{step}"], [new]))
        elif kind == 2 and len(lengths) < 5:
            at = int(random.integers(0, len(lengths) + 1))
            lengths = [*lengths[:at], 1, *lengths[at:]]
            weights[f"to_{step}"] = np.array([at + 1])
            nodes.append(node("Unsqueeze", [name, f"to_{step}"], [new]))
        else:
            nodes.append(node(str(random.choice(["Identity", "Neg"])), [name], [new]))
        name = new
        layers.append(name)
    model = graphs.model(
        nodes, shape, "rows", w=random.normal(size=(out, 4, *[3] * places)).astype(np.float32), **weights
    )
    signs = np.cumprod([1] + [-1 if n.op_type == "Neg" else 1 for n in nodes[-len(layers) + 1 :]])
    X = random.normal(size=(3, *shape[1:])).astype(np.float32)
    return model, layers, signs, X


@pytest.mark.parametrize("seed", range(200))
def test_layer_of_a_random_graph_is_pooled_as_the_graph_does_or_refused(seed):
    model, layers, signs, X = random_graph(seed)
    want, info = own(model, X), graph.read(model)
    for layer, sign in zip(layers, signs, strict=True):
        if layer not in info.channels and len(info.layers[layer]) > 1:
            with pytest.raises(LayerError, match="Which axis of layer"):
                pooled(model, layer, X)
        elif len(info.layers[layer]) > 1:
            np.testing.assert_allclose(pooled(model, layer, X), sign * want, rtol=1e-3, atol=1e-5)


def test_most_layers_of_random_graphs_are_not_refused():
    found = [(graph.read(model), layers) for model, layers, *_ in map(random_graph, range(60))]
    deep = [(info, layer) for info, layers in found for layer in layers if len(info.layers[layer]) > 1]
    known = [layer in info.channels for info, layer in deep]
    assert np.mean(known) > 0.7
