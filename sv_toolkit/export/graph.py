"""A small writer of ONNX graphs: values that know their graph, so that a formula looks as it does in numpy.

    graph = Graph()
    x = graph.input("x", np.float32, ["batch", 3])
    graph.output("y", (x * 2.0 + np.arange(3, dtype=np.float32)).op("Tanh"), ["batch", 3])
    model = graph.model("a name", {})

Numbers and arrays beside a value become constants of its type.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sv_toolkit import __version__
from sv_toolkit.errors import SvError

try:
    import onnx
    from onnx import helper, numpy_helper
except ImportError as error:
    raise SvError(f"onnx cannot be imported ({error}); pip install 'sv_toolkit[export]' brings what sv-export needs") from None

OPSET, IR_VERSION = 17, 8  # ONNX 1.12 of 2022: every runtime of the last years knows them
DEDUPLICATED = 256  # bytes up to which equal constants are stored once

Shape = Sequence[int | str]
Number = int | float | bool | np.generic


@dataclass(frozen=True)
class Value:
    """What an operator of `graph` gives.

    Attributes:
        name: in the graph.
        dtype: of its elements.
    """

    graph: Graph
    name: str
    dtype: np.dtype

    def op(self, kind: str, *others: Value | np.ndarray | Number, dtype: Any = None, **attributes: Any) -> Value:
        """The operator `kind` on this value and others; numbers take this value's type, which is also that of the result."""
        return self.graph.op(kind, self, *(self.graph.constant(other, self.dtype) for other in others), dtype=dtype, **attributes)

    def __add__(self, other: Value | np.ndarray | Number) -> Value:
        return self.op("Add", other)

    def __sub__(self, other: Value | np.ndarray | Number) -> Value:
        return self.op("Sub", other)

    def __mul__(self, other: Value | np.ndarray | Number) -> Value:
        return self.op("Mul", other)

    def __truediv__(self, other: Value | np.ndarray | Number) -> Value:
        return self.op("Div", other)

    def __mod__(self, other: Value | np.ndarray | Number) -> Value:
        return self.op("Mod", other)

    def __matmul__(self, other: Value | np.ndarray) -> Value:
        return self.op("MatMul", other)

    def __lt__(self, other: Value | np.ndarray | Number) -> Value:
        return self.op("Less", other, dtype=bool)

    def __gt__(self, other: Value | np.ndarray | Number) -> Value:
        return self.op("Greater", other, dtype=bool)

    def __ge__(self, other: Value | np.ndarray | Number) -> Value:
        return self.op("GreaterOrEqual", other, dtype=bool)

    def __and__(self, other: Value | np.ndarray) -> Value:
        return self.op("And", other)

    def cast(self, dtype: Any) -> Value:
        """The same numbers in another type."""
        return self.op("Cast", to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), dtype=dtype)

    def transpose(self, *order: int) -> Value:
        """Dimensions in another order."""
        return self.op("Transpose", perm=list(order))

    def reshape(self, *shape: int) -> Value:
        """Another shape; 0 keeps a dimension, -1 is what is left."""
        return self.graph.op("Reshape", self, self.graph.constant(np.array(shape, np.int64)))

    def expand_dims(self, *axes: int) -> Value:
        """New dimensions of one element."""
        return self.graph.op("Unsqueeze", self, self.graph.constant(np.array(axes, np.int64)))

    def size(self, axis: int) -> Value:
        """Number of elements along `axis`, an int64 without dimensions."""
        return self.op("Shape", dtype=np.int64).take(self.graph.constant(np.int64(axis)))

    def take(self, index: Value, axis: int = 0) -> Value:
        """Elements by their places."""
        return self.graph.op("Gather", self, index, axis=axis)

    def sum(self, axis: int, keepdims: bool = False) -> Value:
        """Sum along an axis."""
        return self.graph.op("ReduceSum", self, self.graph.constant(np.array([axis], np.int64)), keepdims=int(keepdims))

    def mean(self, *axes: int, keepdims: bool = False) -> Value:
        """Mean along axes."""
        return self.op("ReduceMean", axes=list(axes), keepdims=int(keepdims))

    def where(self, yes: Value | Number, no: Value | Number) -> Value:
        """`yes` where this boolean value is true, else `no`."""
        like = yes.dtype if isinstance(yes, Value) else no.dtype if isinstance(no, Value) else None
        return self.graph.op("Where", self, self.graph.constant(yes, like), self.graph.constant(no, like), dtype=like)


class Graph:
    """Operators in the order in which they were asked for, and what they share."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._known: dict[tuple[str, tuple[int, ...], bytes], Value] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._count = 0

    def input(self, name: str, dtype: Any, shape: Shape) -> Value:
        """What the graph is given; a text in `shape` is a size that may vary."""
        self._inputs.append(_described(name, np.dtype(dtype), shape))
        return Value(self, name, np.dtype(dtype))

    def output(self, name: str, value: Value, shape: Shape) -> None:
        """What the graph gives."""
        self._nodes.append(helper.make_node("Identity", [value.name], [name]))
        self._outputs.append(_described(name, value.dtype, shape))

    def constant(self, value: Value | np.ndarray | Number, dtype: Any = None) -> Value:
        """An array or number as a value; a value as it is."""
        if isinstance(value, Value):
            return value
        array = np.ascontiguousarray(value, dtype).reshape(np.shape(value))
        if array.nbytes > DEDUPLICATED:
            return self._stored(array)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._known:
            self._known[key] = self._stored(array)
        return self._known[key]

    def _stored(self, array: np.ndarray) -> Value:
        result = Value(self, self._name("constant"), array.dtype)
        self._constants.append(numpy_helper.from_array(array, result.name))
        return result

    def op(self, kind: str, *inputs: Value | None, dtype: Any = None, **attributes: Any) -> Value:
        """The one output of an operator; its type is that of the first input unless `dtype` says otherwise."""
        return self.ops(kind, 1, *inputs, dtype=dtype, **attributes)[0]

    def ops(self, kind: str, num_outputs: int, *inputs: Value | None, dtype: Any = None, **attributes: Any) -> list[Value]:
        """All outputs of an operator; an input that is None is left out."""
        names = [self._name(kind) for _ in range(num_outputs)]
        self._nodes.append(helper.make_node(kind, [value.name if value is not None else "" for value in inputs], names, **attributes))
        own = np.dtype(dtype) if dtype is not None else next(value.dtype for value in inputs if value is not None)
        return [Value(self, name, own) for name in names]

    def split(self, value: Value, sizes: Sequence[int], axis: int) -> list[Value]:
        """Neighbouring parts along `axis`."""
        return self.ops("Split", len(sizes), value, self.constant(np.array(sizes, np.int64)), axis=axis)

    def concat(self, values: Sequence[Value], axis: int) -> Value:
        """Values side by side."""
        return self.op("Concat", *values, axis=axis)

    def arange(self, stop: Value) -> Value:
        """0, 1, ... below `stop`, int64."""
        return self.op("Range", self.constant(np.int64(0)), stop, self.constant(np.int64(1)))

    def zeros(self, *shape: Value | int) -> Value:
        """Float zeros; sizes are int64 without dimensions."""
        sizes = [self.constant(size, np.int64).reshape(1) for size in shape]
        return self.op("ConstantOfShape", self.concat(sizes, axis=0), dtype=np.float32)

    def scan(self, step: Callable[..., tuple[list[Value], Value]], states: list[Value], sequence: Value, shapes: list[Shape]) -> Value:
        """What `step` gives for every row of `sequence`, stacked.

        Args:
            step: takes the states and a row; gives the next states and a result.
            shapes: of the states, of a row, and of a result.
        """
        names = [self._name("state") for _ in states] + [self._name("row")]
        dtypes = [state.dtype for state in states] + [sequence.dtype]
        inputs = [_described(name, dtype, shape) for name, dtype, shape in zip(names, dtypes, shapes)]
        outer, self._nodes = self._nodes, []
        new, result = step(*(Value(self, name, dtype) for name, dtype in zip(names, dtypes)))
        outputs = [self._body_output(value, shape) for value, shape in zip([*new, result], [*shapes[:-2], shapes[-1]])]
        body, self._nodes = helper.make_graph(self._nodes, self._name("step"), inputs, outputs), outer
        return self.ops("Scan", len(states) + 1, *states, sequence, body=body, num_scan_inputs=1)[-1]

    def total(self, part: Callable[[Value], Value], count: Value, start: Value, shape: Shape) -> Value:
        """`start` plus `part(i)` for every int64 i below `count`; all of `shape`."""
        index, going, so_far = self._name("index"), self._name("going"), self._name("total")
        inputs = [_described(index, np.dtype(np.int64), []), _described(going, np.dtype(bool), []), _described(so_far, start.dtype, shape)]
        outer, self._nodes = self._nodes, []
        added = Value(self, so_far, start.dtype) + part(Value(self, index, np.dtype(np.int64)))
        outputs = [self._body_output(Value(self, going, np.dtype(bool)), []), self._body_output(added, shape)]
        body, self._nodes = helper.make_graph(self._nodes, self._name("part"), inputs, outputs), outer
        return self.op("Loop", count, self.constant(np.bool_(True)), start, body=body, dtype=start.dtype)

    def model(self, name: str, metadata: dict[str, str]) -> onnx.ModelProto:
        """The finished model."""
        graph = helper.make_graph(self._nodes, name, self._inputs, self._outputs, self._constants)
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(
            graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="sv_toolkit", producer_version=__version__
        )
        helper.set_model_props(model, metadata)
        return model

    def _body_output(self, value: Value, shape: Shape) -> onnx.ValueInfoProto:
        own = self.op("Identity", value)  # a body may give nothing that comes from outside, nor one value twice
        return _described(own.name, value.dtype, shape)

    def _name(self, kind: str) -> str:
        self._count += 1
        return f"{kind.lower()}_{self._count}"


def _described(name: str, dtype: np.dtype, shape: Shape) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(dtype), list(shape))
