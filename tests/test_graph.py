"""Graph surgery, against numpy; and the scan, which refuses before anything is opened or run."""

import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from skltransfer._engine import graph, runtime
from skltransfer.cards import ArraySpec, ImageSpec
from skltransfer.errors import CardError, LayerError, ModelError, UnsafeModelError
from tests import graphs
from tests.graphs import MIX, SIDE

RAW = ImageSpec((SIDE, SIDE), "squash")
PICTURES = np.random.default_rng(0).integers(0, 256, (5, SIDE, SIDE, 3), dtype=np.uint8)
NUMBERS = np.random.default_rng(1).standard_normal((5, 4)).astype(np.float32)


def rows(model, samples, layers, spec=RAW, *, pool="", normalize=False, **options):
    """Build and run."""
    built = graph.build(model, spec, layers, pool=pool, normalize=normalize, **options)
    return runtime.Session(built.SerializeToString(), runtime.Device()).run(samples)


def maps(pictures=PICTURES):
    """Compute the layer ``map`` of `graphs.conv` by hand."""
    return np.einsum("mc,nhwc->nmhw", MIX, pictures.astype(np.float64))


# ---------------------------------------------------------------------------------------------------------------------
# GraphInfo


def test_facts_of_a_graph_are_its_input_output_and_layers():
    facts = graph.read(graphs.conv())
    assert (facts.input, facts.dtype, facts.shape, facts.output) == ("x", "float32", (None, 3, SIDE, SIDE), "logits")
    assert facts.layers == {"map": (4, SIDE, SIDE), "pooled": (4, 1, 1), "embedding": (4,), "logits": (4,)}


def test_facts_leave_open_what_the_graph_leaves_open():
    assert graph.read(graphs.conv("side")).layers["map"] == (4, None, None)
    assert graph.read(graphs.statistics()).shape == (None, None)


@pytest.mark.parametrize(("batch", "frozen"), [("n", None), (None, None), (-1, None), (0, None), (1, 1), (7, 7)])
def test_batch_size_is_frozen_only_if_it_is_a_positive_number(batch, frozen):
    assert graph.read(graphs.doubled(batch=batch)).frozen_batch == frozen


def test_tensors_without_a_batch_axis_or_of_integers_are_no_layers():
    nodes = [graphs.node("Cast", ["x"], ["whole"], to=TensorProto.INT64), graphs.node("Add", ["x", "x"], ["rows"])]
    nodes.append(graphs.node("Identity", ["w"], ["weight"]))
    model = graphs.model(nodes, ["n", 4], "rows", w=np.ones((3, 4), np.float32))
    assert set(graph.read(model).layers) == {"rows"}


def _without_opset(model):
    del model.opset_import[:]
    model.opset_import.append(onnx.helper.make_opsetid("ai.onnx.ml", 3))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda m: m.graph.ClearField("input"), r"has no inputs"),
        (lambda m: m.graph.input.append(onnx.ValueInfoProto(name="y")), r"no type or no shape for its input 'y'"),
        (lambda m: m.graph.ClearField("output"), r"has no outputs"),
        (lambda m: m.graph.input[0].type.tensor_type.ClearField("shape"), r"no type or no shape for its input 'x'"),
        (lambda m: m.graph.input[0].type.tensor_type.ClearField("elem_type"), r"no type or no shape for its input 'x'"),
        (_without_opset, r"shapes of the graph contradict each other"),
    ],
)
def test_graph_that_is_no_backbone_is_refused(damage, message):
    model = graphs.doubled()
    damage(model)
    with pytest.raises(ModelError, match=message):
        graph.read(model)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"'m.onnx' is an ONNX file without nodes.*first bytes are b''"),
        (b"version https://git-lfs.github.com/spec/v1", r"'m.onnx' is not an ONNX graph.*b'version https://"),
        (b"\x00" * 99, r"'m.onnx' is not an ONNX graph"),
    ],
)
def test_file_that_is_no_graph_is_refused_with_its_first_bytes(tmp_path, content, message):
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(ModelError, match=message):
        graph.load(tmp_path / "m.onnx")


@pytest.mark.parametrize("suffix", [".onnx", ".json", ".textproto", ".onnxtxt"])
def test_file_is_read_as_a_protobuf_whatever_its_name(tmp_path, suffix):
    path = tmp_path / f"m{suffix}"
    path.write_bytes(graphs.doubled().SerializeToString())
    assert graph.load(path).graph.node


# ---------------------------------------------------------------------------------------------------------------------
# Preparation of pixels


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("color", ["RGB", "BGR"])
@pytest.mark.parametrize(
    ("range_", "mean", "std"),
    [
        (255.0, (0, 0, 0), (1, 1, 1)),
        (1.0, (0, 0, 0), (1, 1, 1)),
        (255.0, (104, 117, 123), (1, 1, 1)),
        (1.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        (255.0, (127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
    ],
)
def test_pixels_reach_the_graph_as_the_card_says(layout, color, range_, mean, std):
    spec = ImageSpec((SIDE, SIDE), "squash", color=color, range=range_, mean=mean, std=std, layout=layout)
    got = rows(graphs.raw_pixels(layout=layout), PICTURES, ["map"], spec, pool="flatten")
    pixels = PICTURES[..., ::-1] if color == "BGR" else PICTURES
    want = (range_ * pixels.astype(np.float64) / 255 - mean) / std
    want = want.transpose(0, 3, 1, 2) if layout == "NCHW" else want
    np.testing.assert_allclose(got, want.reshape(len(got), -1), rtol=1e-5, atol=1e-5)


def test_images_may_be_wider_than_high():
    spec = ImageSpec((4, 6), "squash")
    model = graphs.model([graphs.node("Flatten", ["x"], ["rows"])], ["n", 3, 4, 6], "rows")
    pictures = np.arange(72, dtype=np.uint8).reshape(1, 4, 6, 3)
    np.testing.assert_array_equal(rows(model, pictures, ["rows"], spec)[0], pictures[0].transpose(2, 0, 1).ravel())


@pytest.mark.parametrize("dtype", [TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.UINT8])
def test_pixels_are_cast_to_the_type_of_the_graph(dtype):
    model = graphs.model(
        [graphs.node("Cast", ["x"], ["map"], to=TensorProto.FLOAT)], ["n", 3, SIDE, SIDE], "map", dtype=dtype
    )
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT
    got = rows(model, PICTURES, ["map"], pool="mean")
    np.testing.assert_allclose(got, PICTURES.mean(axis=(1, 2)), rtol=1e-3)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (ImageSpec((SIDE, SIDE), "squash", layout="NHWC"), r"layout 'NHWC' needs 3 channels at axis 3"),
        (ImageSpec((SIDE, 9), "squash"), r"takes images of size \(8, 8\), but input.size of the card is \(8, 9\)"),
    ],
)
def test_card_that_contradicts_its_graph_is_refused(spec, message):
    with pytest.raises(CardError, match=message):
        graph.build(graphs.conv(), spec, ["embedding"], pool="", normalize=False)


def test_images_for_a_graph_of_numbers_are_refused():
    with pytest.raises(CardError, match=r"input 'x' has the shape \(None, 4\); images need four axes"):
        graph.build(graphs.doubled(), RAW, ["rows"], pool="", normalize=False)


def test_numbers_reach_the_graph_as_they_are():
    np.testing.assert_allclose(rows(graphs.doubled(), NUMBERS, ["rows"], ArraySpec()), 2 * NUMBERS)


# ---------------------------------------------------------------------------------------------------------------------
# Cut, pooling, several layers

GEM = np.cbrt((np.maximum(maps(), 1e-6) ** 3).mean(axis=(2, 3)))


@pytest.mark.parametrize(
    ("pool", "want"),
    [
        ("mean", maps().mean(axis=(2, 3))),
        ("max", maps().max(axis=(2, 3))),
        ("gem", GEM),
        ("flatten", maps().reshape(5, -1)),
    ],
)
def test_feature_map_is_pooled_as_numpy_does(pool, want):
    np.testing.assert_allclose(rows(graphs.conv(), PICTURES, ["map"], pool=pool), want, rtol=1e-4)


@pytest.mark.parametrize(("pool", "over"), [("mean", np.mean), ("max", np.max)])
def test_feature_map_with_channels_last_is_pooled_over_its_places(pool, over):
    spec = ImageSpec((SIDE, SIDE), "squash", layout="NHWC")
    got = rows(graphs.channel_means(layout="NHWC"), PICTURES, ["map"], spec, pool=pool)
    np.testing.assert_allclose(got, over(PICTURES, axis=(1, 2)), rtol=1e-5)


@pytest.mark.parametrize(
    ("pool", "want"),
    [
        ("mean", 2 * NUMBERS[:, :2]),
        ("cls", NUMBERS[:, :2]),
        ("max", np.maximum(NUMBERS[:, :2], 3 * NUMBERS[:, :2])),
        ("gem", np.cbrt((np.maximum(NUMBERS[:, None, :2] * [[1], [2], [3]], 1e-6) ** 3).mean(axis=1))),
        ("flatten", (NUMBERS[:, None, :2] * [[1], [2], [3]]).reshape(5, -1)),
    ],
)
def test_tokens_are_pooled_over_the_sequence(pool, want):
    got = rows(graphs.tokens(), NUMBERS[:, :2].copy(), ["tokens"], ArraySpec(), pool=pool)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("opset", [8, 11, 13, 17, 18, 21])
def test_pooling_works_in_every_operator_set(opset):
    nodes = [graphs.node("Conv", ["x", "mix"], ["map"]), graphs.node("GlobalAveragePool", ["map"], ["rows"])]
    model = graphs.model(nodes, ["n", 3, SIDE, SIDE], "rows", opset=opset, mix=MIX.reshape(4, 3, 1, 1))
    got = rows(model, PICTURES, ["map"], pool="gem", normalize=True)
    np.testing.assert_allclose(got, GEM / np.linalg.norm(GEM, axis=1, keepdims=True), rtol=1e-4)


def test_graph_of_an_ancient_operator_set_is_refused():
    with pytest.raises(ModelError, match=r"operator set 7, older than 8; convert it with"):
        rows(graphs.doubled(opset=7), NUMBERS, ["rows"], ArraySpec())


def test_first_token_of_a_feature_map_is_refused():
    with pytest.raises(LayerError, match=r"pool='cls' takes the first token.*\('n', 4, 8, 8\)"):
        rows(graphs.conv(), PICTURES, ["map"], pool="cls")


def test_one_number_per_sample_becomes_one_column():
    got = rows(graphs.vector(), NUMBERS[:, :2].copy(), ["rows"], ArraySpec())
    np.testing.assert_allclose(got, NUMBERS[:, :2].sum(axis=1, keepdims=True), rtol=1e-6)


def test_several_layers_stand_side_by_side_in_the_order_asked_for():
    means = maps().mean(axis=(2, 3))
    got = rows(graphs.conv(), PICTURES, ["logits", "map", "embedding"], pool="max")
    np.testing.assert_allclose(got, np.hstack([2 * means, maps().max(axis=(2, 3)), means]), rtol=1e-5)


def test_a_layer_named_twice_stands_there_twice():
    got = rows(graphs.doubled(), NUMBERS, ["rows", "rows"], ArraySpec())
    np.testing.assert_allclose(got, np.hstack([2 * NUMBERS] * 2))


def test_normalised_rows_have_unit_length_over_all_their_columns():
    got = rows(graphs.conv(), PICTURES, ["embedding", "logits"], normalize=True)
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, rtol=1e-6)


def test_normalised_row_of_zeros_stays_a_row_of_zeros():
    assert not rows(graphs.doubled(), NUMBERS * 0, ["rows"], ArraySpec(), normalize=True).any()


def test_cut_drops_nodes_and_weights_behind_the_layer():
    built = graph.build(graphs.conv(), RAW, ["map"], pool="mean", normalize=False)
    assert "GlobalAveragePool" not in {node.op_type for node in built.graph.node}
    assert "two" not in {weight.name for weight in built.graph.initializer}
    assert [v.name for v in (*built.graph.input, *built.graph.output)] == [graph.INPUT, graph.OUTPUT]


def test_cut_keeps_what_only_a_subgraph_reads():
    got = rows(graphs.nested(3), NUMBERS, ["rows"], ArraySpec())
    np.testing.assert_array_equal(got, NUMBERS)


def test_weights_listed_as_inputs_as_old_exporters_do_are_kept():
    model = graphs.conv()
    model.ir_version = 3
    model.graph.input.extend(
        onnx.helper.make_tensor_value_info(w.name, w.data_type, list(w.dims)) for w in model.graph.initializer
    )
    np.testing.assert_allclose(rows(model, PICTURES, ["embedding"]), maps().mean(axis=(2, 3)), rtol=1e-5)


@pytest.mark.parametrize("name", ["embeding", "no-such-layer"])
def test_unknown_layer_is_refused_with_the_near_misses(name):
    near = r" Did you mean 'embedding'\?" if name == "embeding" else ""
    with pytest.raises(LayerError, match=rf"no layer '{name}'.{near} List its 4 layers with"):
        rows(graphs.conv(), PICTURES, [name])


@pytest.mark.parametrize("pool", ["mean", "max", "gem", "flatten"])
@pytest.mark.parametrize("layer", ["map", "embedding", "pooled"])
def test_width_told_beforehand_is_the_width_that_comes(pool, layer):
    shape = graph.read(graphs.conv()).layers[layer]
    got = rows(graphs.conv(), PICTURES, [layer], pool=pool)
    assert graph.pooled_width(shape, pool, "NCHW") == got.shape[1]


@pytest.mark.parametrize(
    ("shape", "pool", "layout", "width"),
    [
        ((), "", "NCHW", 1),
        ((7,), "", "NCHW", 7),
        ((None,), "", "NCHW", None),
        ((4, 8, 8), "mean", "NCHW", 4),
        ((8, 8, 4), "mean", "NHWC", 4),
        ((50, 16), "cls", "NCHW", 16),
        ((None, 16), "mean", "NCHW", 16),
        ((4, None, None), "max", "NCHW", 4),
        ((4, None, None), "flatten", "NCHW", None),
        ((4, 2, 3), "flatten", "NCHW", 24),
    ],
)
def test_width_of_a_pooled_layer(shape, pool, layout, width):
    assert graph.pooled_width(shape, pool, layout) == width


# ---------------------------------------------------------------------------------------------------------------------
# Precision


def test_float16_graph_gives_float32_rows():
    got = rows(graphs.conv(dtype=TensorProto.FLOAT16), PICTURES, ["embedding"])
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, maps().mean(axis=(2, 3)), rtol=2e-3)


def test_widened_graph_computes_as_precisely_as_one_exported_so():
    got = rows(graphs.conv(dtype=TensorProto.FLOAT16), PICTURES, ["embedding"], precision="fp32")
    np.testing.assert_allclose(got, maps().mean(axis=(2, 3)), rtol=1e-6)


def test_widened_graph_holds_no_float16_anywhere():
    nodes = [
        graphs.node("Cast", ["x"], ["wide"], to=TensorProto.FLOAT),
        graphs.node("Cast", ["wide"], ["narrow"], to=TensorProto.FLOAT16),
        graphs.node("Constant", [], ["c"], value=onnx.numpy_helper.from_array(np.array(3, np.float16))),
        graphs.node("Mul", ["narrow", "c"], ["rows"]),
    ]
    model = graphs.model(nodes, ["n", 4], "rows", dtype=TensorProto.FLOAT16)
    np.testing.assert_allclose(rows(model, NUMBERS, ["rows"], ArraySpec(), precision="fp32"), 3 * NUMBERS, rtol=1e-6)


# ---------------------------------------------------------------------------------------------------------------------
# Frozen batch size


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("kind", ["sound", "values"])
def test_batch_size_repeated_in_reshapes_is_freed(kind, batch):
    got = rows(graphs.frozen(kind, batch), NUMBERS, ["rows"], ArraySpec())
    np.testing.assert_allclose(got, 2 * NUMBERS)


def test_batch_size_can_be_left_frozen():
    built = graph.build(graphs.frozen("fails", 2), ArraySpec(), ["rows"], pool="", normalize=False, free_batch=False)
    got = runtime.Session(built.SerializeToString(), runtime.Device(), batch_size=2).run(NUMBERS)
    np.testing.assert_allclose(got, 2 * NUMBERS)


# ---------------------------------------------------------------------------------------------------------------------
# Scan


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (graphs.custom_domain(), r"'Mystery' comes from the custom domain 'com.evil'"),
        (graphs.engine_context(), r"'EPContext' loads files or code, and is refused"),
        (graphs.recursive(), r"Function 'f' of the graph calls itself"),
        (graphs.doubling(), r"expand to more than 1,000,000 nodes"),
        (graphs.doubling(domain="com.microsoft"), r"expand to more than 1,000,000 nodes"),
        (graphs.doubling(domain="ai.onnx"), r"expand to more than 1,000,000 nodes"),
        (graphs.doubling(domain=""), r"expand to more than 1,000,000 nodes"),
        (graphs.doubling(overload="two"), r"expand to more than 1,000,000 nodes"),
    ],
)
def test_unsafe_graph_is_refused_before_it_is_run(tmp_path, model, message):
    with pytest.raises(UnsafeModelError, match=message):
        graph.scan(model, tmp_path)


def test_overload_of_a_function_does_not_hide_another(tmp_path):
    model = graphs.doubling(overload="two")
    harmless = graphs.doubling(0).functions[0]
    for function in list(model.functions):
        model.functions.add().CopyFrom(harmless)
        model.functions[-1].name = function.name
    with pytest.raises(UnsafeModelError, match=r"expand to more than 1,000,000 nodes"):
        graph.scan(model, tmp_path)


def test_custom_operator_inside_a_subgraph_is_refused(tmp_path):
    model = graphs.nested(5)
    node = model.graph.node[0]
    while branches := {a.name: a.g for a in node.attribute}:
        node = branches["then_branch"].node[0]
    node.op_type, node.domain = "Mystery", "com.evil"
    with pytest.raises(UnsafeModelError, match=r"custom domain 'com.evil'"):
        graph.scan(model, tmp_path)


def test_custom_operator_inside_a_function_is_refused(tmp_path):
    model = graphs.doubling(1)
    model.functions[0].node[0].domain = "com.evil"
    with pytest.raises(UnsafeModelError, match=r"custom domain 'com.evil'"):
        graph.scan(model, tmp_path)


@pytest.mark.parametrize("make", [graphs.conv, graphs.doubling, lambda: graphs.heavy(1)])
@pytest.mark.parametrize("typed", [False, True])
def test_pieces_are_the_graph(make, typed):
    whole = make()
    whole.doc_string, whole.graph.doc_string, whole.producer_name = "model", "graph", "tests"
    if typed:  # numbers in a field of their type instead of as raw bytes
        whole.graph.initializer.append(helper.make_tensor("typed", TensorProto.FLOAT, [5000], np.arange(5000.0)))
    assert onnx.load_from_string(b"".join(graph.pieces(whole))) == whole


def test_graph_with_more_weights_than_a_file_may_have_is_refused(monkeypatch):
    monkeypatch.setattr("skltransfer._engine.graph._write.MAX_BYTES", 4000)
    with pytest.raises(ModelError, match="more weights than the 4,000 bytes"):
        b"".join(graph.pieces(graphs.heavy(1)))


@pytest.mark.parametrize("times", [1, 5])
def test_functions_that_expand_to_a_decent_size_run(tmp_path, times):
    path = graphs.save(graphs.doubling(times), tmp_path, pin=False)
    got = rows(graph.load(path), NUMBERS, ["rows"], ArraySpec())
    np.testing.assert_allclose(got, NUMBERS * 2.0 ** (2**times), rtol=1e-5)


# ---------------------------------------------------------------------------------------------------------------------
# Traversal: a file outside the manifest is never opened


@pytest.fixture
def canary(tmp_path):
    """A file outside the model's folder that must never be opened, whatever a graph says."""
    path = tmp_path / "canary.bin"
    path.write_bytes(graphs.CANARY.tobytes())
    (tmp_path / "model").mkdir()
    return path


@pytest.fixture
def opened(monkeypatch):
    """Names of the files opened while a test runs, by Python and by onnx."""
    import onnx.external_data_helper as helper

    names, real = [], helper._open_external_data_fd
    monkeypatch.setattr(helper, "_open_external_data_fd", lambda *a: names.append(os.path.join(*a[:2])) or real(*a))
    return names


#: What a graph may write to reach a file beside its folder; the second names are planted in the folder.
LOCATIONS = {
    "parent": lambda folder: "../canary.bin",
    "absolute": lambda folder: str(folder.parent / "canary.bin"),
    "round about": lambda folder: "x/../../canary.bin",
    "link": lambda folder: (folder / "link.bin").symlink_to(folder.parent / "canary.bin") or "link.bin",
    "link to a folder": lambda folder: (folder / "up").symlink_to(folder.parent) or "up/canary.bin",
}


def load_external(folder, location, place, manifest, **more):
    model = graphs.external(graphs.outside(location, **more), place)
    path = graphs.save(model, folder, pin=False)
    return graph.load(path, manifest)


@pytest.mark.parametrize("listed", [False, True], ids=["unlisted", "listed"])
@pytest.mark.parametrize("place", graphs.PLACES)
@pytest.mark.parametrize("way", LOCATIONS)
def test_file_outside_the_folder_is_never_opened(canary, opened, way, place, listed):
    folder = canary.parent / "model"
    location = LOCATIONS[way](folder)
    with pytest.raises(UnsafeModelError, match=r"which its card does not list|leads outside the model's folder"):
        load_external(folder, location, place, [location] if listed else ["weights.bin"])
    assert opened == []


@pytest.mark.parametrize("place", graphs.PLACES)
def test_file_in_the_folder_is_opened_only_if_listed(canary, opened, place):
    folder = canary.parent / "model"
    (folder / "secret.bin").write_bytes(canary.read_bytes())
    with pytest.raises(
        UnsafeModelError, match=r"weights in 'secret.bin', which its card does not list \(it lists w.bin\)"
    ):
        load_external(folder, "secret.bin", place, ["w.bin"])
    assert opened == []


@pytest.mark.parametrize("place", graphs.PLACES)
def test_second_location_of_a_tensor_does_not_slip_through(canary, opened, place):
    folder = canary.parent / "model"
    for name in ("w.bin", "secret.bin"):
        (folder / name).write_bytes(canary.read_bytes())
    with pytest.raises(UnsafeModelError, match=r"weights in 'secret.bin', which its card does not list"):
        load_external(folder, "w.bin", place, ["w.bin"], more=[("location", "secret.bin")])
    assert opened == []


@pytest.mark.parametrize("place", graphs.PLACES)
def test_listed_file_is_taken_in_so_that_the_runtime_opens_none(canary, place):
    folder = canary.parent / "model"
    (folder / "w.bin").write_bytes(np.array([3, 5], np.float32).tobytes())
    model = load_external(folder, "w.bin", place, ["w.bin"])
    assert b"w.bin" not in model.SerializeToString()
    got = rows(model, NUMBERS[:, :2].copy(), ["rows"], ArraySpec())
    np.testing.assert_allclose(got, NUMBERS[:, :2] * ([2, 2] if place == "training" else [3, 5]), rtol=1e-6)


def test_listed_file_in_a_folder_below_is_taken_in(canary):
    folder = canary.parent / "model"
    (folder / "data").mkdir()
    (folder / "data" / "w.bin").write_bytes(np.array([3, 5], np.float32).tobytes())
    model = load_external(folder, "data/w.bin", "initializer", ["data/w.bin"])
    np.testing.assert_allclose(rows(model, NUMBERS[:, :2].copy(), ["rows"], ArraySpec())[0], NUMBERS[0, :2] * [3, 5])


@pytest.mark.parametrize(
    "keys", [{"offset": "99"}, {"length": "99"}, {"offset": "-1"}, {"length": "-1"}, {"offset": "x"}]
)
def test_listed_file_of_another_length_is_a_named_error(canary, keys):
    folder = canary.parent / "model"
    (folder / "w.bin").write_bytes(b"\0" * 8)
    tensor = graphs.outside("w.bin", **keys)
    path = graphs.save(graphs.external(tensor), folder, pin=False)
    with pytest.raises(ModelError, match=r"'tiny.onnx': the external weights 'w' cannot be read"):
        graph.load(path, ["w.bin"])


def test_external_data_without_a_location_is_refused(canary):
    with pytest.raises(UnsafeModelError, match=r"keeps weights in '', which its card does not list"):
        load_external(canary.parent / "model", "", "initializer", ["w.bin"])


def test_listed_file_that_is_missing_is_a_named_error(canary):
    with pytest.raises(ModelError, match=r"'tiny.onnx': the external weights 'w' cannot be read"):
        load_external(canary.parent / "model", "w.bin", "initializer", ["w.bin"])
