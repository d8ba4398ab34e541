"""Every operator of the interpreter against ONNX Runtime, on nodes of its own."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

torch = pytest.importorskip("torch")

from skltransfer.finetune import _interpreter, _operators  # noqa: E402

DICE = np.random.default_rng(0)


def floats(*shape: int) -> np.ndarray:
    return DICE.normal(size=shape).astype(np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


#: Operators of one argument, and of none but it.
PLAIN = """
    Abs Ceil Cos Erf Exp Floor Neg Relu Reciprocal Round Sigmoid Sign Sin Softplus Tanh HardSwish Identity Elu LeakyRelu
"""
ONE = {name: ([floats(2, 3, 4)], {}) for name in PLAIN.split()}
ONE |= {name: ([np.abs(floats(2, 3))], {}) for name in ("Log", "Sqrt")}
ONE |= {"Dropout": ([floats(2, 3)], {}), "HardSigmoid": ([floats(2, 3)], {"alpha": 0.3, "beta": 0.4})}
ONE |= {"IsNaN": ([np.array([1, np.nan], np.float32)], {}), "Not": ([np.array([True, False])], {})}
TWO = {name: ([floats(2, 3, 4), floats(3, 1)], {}) for name in ("Add", "Sub", "Mul", "Div", "Max", "Min", "Sum")}
TWO |= {
    name: ([ints(1, 2, 3), ints(3, 2, 1)], {}) for name in ("Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual")
}
TWO |= {name: ([np.array([True, False]), np.array([True, True])], {}) for name in ("And", "Or")}
TWO |= {"MatMul": ([floats(2, 3, 4), floats(4, 5)], {}), "Pow": ([np.abs(floats(2, 3)), np.array([2], np.float32)], {})}
TWO |= {"Mod": ([ints(5, -5), ints(3, 3)], {}), "PRelu": ([floats(2, 3, 4), floats(3, 1)], {})}
CASES = {
    **{name: [case] for name, case in {**ONE, **TWO}.items()},
    "Where": [([np.array([True, False]), floats(3, 2), floats(3, 1)], {})],
    "Div": [TWO["Div"], ([ints(7, -7), ints(2, 2)], {})],
    "Reshape": [([floats(2, 3, 4), ints(0, -1)], {}), ([floats(1, 1), ints()], {})],
    "Transpose": [([floats(2, 3, 4)], {"perm": [2, 0, 1]}), ([floats(2, 3)], {})],
    "Flatten": [([floats(2, 3, 4)], {}), ([floats(2, 3, 4)], {"axis": 2}), ([floats(2, 3)], {"axis": 0})],
    "Squeeze": [([floats(2, 1, 3, 1), ints(1, -1)], {}), ([floats(1, 3, 1)], {})],
    "Unsqueeze": [([floats(2, 3), ints(0, -1)], {})],
    "Concat": [([floats(2, 3), floats(2, 1)], {"axis": -1})],
    "Split": [([floats(4, 6), ints(2, 4)], {"axis": 1}), ([floats(4, 6)], {"num_outputs": 2})],
    "Slice": [
        ([floats(6, 5), ints(1), ints(5), ints(0), ints(2)], {}),
        ([floats(6, 5), ints(-1, 4), ints(-100, 0), ints(0, 1), ints(-1, -2)], {}),
        ([floats(6, 5), ints(-3), ints(2**60)], {}),
    ],
    "Gather": [
        ([floats(4, 5), ints(-1, 2)], {}),
        ([floats(4, 5), np.array(3)], {"axis": 1}),
        ([ints(4, 5), np.array(1)], {}),
    ],
    "GatherND": [
        ([floats(3, 4, 5), ints(0, 1, 2, 3).reshape(2, 2)], {}),
        ([floats(2, 4), ints(1, 3).reshape(2, 1)], {"batch_dims": 1}),
    ],
    "Shape": [([floats(2, 3, 4)], {}), ([floats(2, 3, 4)], {"start": 1, "end": 2})],
    "Size": [([floats(2, 3)], {})],
    "Cast": [([floats(2, 3)], {"to": 7}), ([ints(1, 0)], {"to": 9}), ([ints(1, 2)], {"to": 1})],
    "CastLike": [([ints(1, 2), floats(1)], {})],
    "ConstantOfShape": [([ints(2, 3)], {}), ([ints(2)], {"value": numpy_helper.from_array(ints(7))})],
    "Constant": [([], {"value": numpy_helper.from_array(floats(2))}), ([], {"value_ints": [1, 2]})],
    "Expand": [([floats(3, 1), ints(2, 1, 4)], {})],
    "Range": [([np.array(1), np.array(9), np.array(3)], {})],
    "Tile": [([floats(2, 3), ints(2, 1)], {})],
    "Pad": [
        ([floats(2, 3), ints(0, 1, 2, 0), np.array(5, np.float32)], {}),
        ([floats(1, 2, 4, 4), ints(0, 0, 1, 1, 0, 0, 1, 1)], {"mode": "reflect"}),
        ([floats(1, 2, 4, 4), ints(0, 0, 1, 0, 0, 0, 2, 1)], {"mode": "edge"}),
    ],
    "Trilu": [([floats(3, 3)], {"upper": 0}), ([floats(3, 3), np.array(1)], {})],
    "CumSum": [([floats(3, 4), np.array(1)], {})],
    "Einsum": [([floats(2, 3), floats(3, 4)], {"equation": "ij,jk->ik"})],
    **{
        name: [
            ([floats(2, 3, 4), ints(1, -1)], {}),
            ([floats(2, 3, 4)], {"keepdims": 0}),
            ([floats(2, 3), ints(1)], {"keepdims": 0}),
        ]
        for name in ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceSumSquare")
    },
    **{name: [([floats(2, 3, 4, 5)], {})] for name in ("GlobalAveragePool", "GlobalMaxPool")},
    "Conv": [
        ([floats(1, 4, 7, 7), floats(6, 2, 3, 3), floats(6)], {"group": 2, "strides": [2, 2], "pads": [0, 1, 1, 1]}),
        ([floats(1, 2, 8, 8), floats(3, 2, 3, 3)], {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
        ([floats(1, 2, 8, 8), floats(3, 2, 3, 3)], {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
        ([floats(1, 2, 9), floats(3, 2, 3)], {"pads": [1, 1]}),
    ],
    "MaxPool": [
        ([floats(1, 2, 7, 7)], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
        ([floats(1, 2, 7, 7)], {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
    ],
    "AveragePool": [
        ([floats(1, 2, 7, 7)], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
        ([floats(1, 2, 7, 7)], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}),
    ],
    "Gemm": [([floats(3, 2), floats(4, 3), floats(4)], {"transA": 1, "transB": 1, "alpha": 0.5, "beta": 2.0})],
    "BatchNormalization": [([floats(2, 3, 4), floats(3), floats(3), floats(3), np.abs(floats(3))], {"epsilon": 1e-3})],
    "LayerNormalization": [
        ([floats(2, 3, 4), floats(3, 4), floats(3, 4)], {"axis": 1}),
        ([floats(2, 4), floats(4)], {}),
    ],
    "InstanceNormalization": [([floats(2, 3, 4), floats(3), floats(3)], {})],
    "GroupNormalization": [([floats(2, 4, 5), floats(4), floats(4)], {"num_groups": 2})],
    "Clip": [
        ([floats(3, 4), np.array(-0.5, np.float32), np.array(0.5, np.float32)], {}),
        ([floats(3, 4), np.array(0, np.float32)], {}),
    ],
    "Softmax": [([floats(2, 3, 4)], {"axis": 1}), ([floats(2, 3)], {})],
    "Gelu": [([floats(2, 3)], {}), ([floats(2, 3)], {"approximate": "tanh"})],
}


@pytest.mark.parametrize(("name", "number"), [(name, i) for name, cases in CASES.items() for i in range(len(cases))])
def test_operator_computes_what_onnx_runtime_computes(name, number):
    inputs, attributes = CASES[name][number]
    names = [f"in_{i}" for i in range(len(inputs))]
    count = 2 if name == "Split" else 1
    node = helper.make_node(name, names, [f"out_{i}" for i in range(count)], **attributes)
    values = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
        for n, x in zip(names, inputs, strict=True)
    ]
    outputs = [onnx.ValueInfoProto(name=n) for n in node.output]
    model = helper.make_model(
        helper.make_graph([node], "one", values, outputs), opset_imports=[helper.make_opsetid("", 21)], ir_version=10
    )
    model = onnx.shape_inference.infer_shapes(model)
    want = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(
        None, dict(zip(names, inputs, strict=True))
    )
    have = _operators.table()[name](_interpreter._attributes(node), *(torch.from_numpy(np.asarray(x)) for x in inputs))
    have = have if isinstance(have, (tuple, list)) else [have]
    for one, other in zip(have, want, strict=True):
        np.testing.assert_allclose(one.numpy(), other, rtol=1e-5, atol=1e-6)
        assert one.numpy().dtype == other.dtype


def test_every_operator_is_tried():
    assert set(_operators.table()) == set(CASES)
