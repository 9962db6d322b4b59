"""A TensorFlow SavedModel: a folder with a graph. Only operators that compute may stand in it."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kit.errors import ModelError, UnsafeModelError
from kit.runtime.gate.wire import varint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MOST = 150_000  # fields looked at; a node has about ten
_FILES = ("saved_model.pb", "fingerprint.pb", "variables", "assets", "keras_metadata.pb")
# Fields by number, as in saved_model.proto, meta_graph.proto, graph.proto, function.proto, attr_value.proto.
_META, _GRAPH, _NODE, _LIBRARY, _FUNCTION, _SIGNATURE, _BODY = 2, 2, 1, 2, 1, 1, 3
_NAME, _OP, _INPUT, _ATTRIBUTE, _VALUE, _CALLED = 1, 2, 3, 5, 2, 10
_COMPUTE = frozenset(
    """
    Abs Add AddN AddV2 All Any ArgMax ArgMin AssignVariableOp AvgPool AvgPool3D BatchMatMul
    BatchMatMulV2 BatchMatMulV3 BatchToSpaceND BiasAdd BroadcastTo Cast Ceil ClipByValue Concat ConcatV2
    Const Conv2D Conv2DBackpropInput Conv3D Cos Cumsum DepthToSpace DepthwiseConv2dNative
    DisableCopyOnRead Div DivNoNan Einsum Elu Equal Erf Erfc Exp ExpandDims Expm1 Fill Floor FloorDiv
    FloorMod FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 Gather GatherNd GatherV2 Gelu Greater
    GreaterEqual Identity IdentityN If LeakyRelu Less LessEqual Log Log1p LogSoftmax LogicalAnd
    LogicalNot LogicalOr MatMul Max MaxPool MaxPool3D MaxPoolV2 Maximum Mean Min Minimum MirrorPad Mul
    Neg NoOp NotEqual OneHot OnesLike Pack Pad PadV2 PartitionedCall Placeholder Pow PreventGradient
    Prod Range Rank ReadVariableOp RealDiv Reciprocal Relu Relu6 Reshape ResizeBilinear
    ResizeNearestNeighbor ResourceGather Reverse ReverseV2 Round Rsqrt SegmentSum Select SelectV2 Selu
    Shape ShardedFilename Sigmoid Sign Sin Size Slice Softmax Softplus Softsign SpaceToBatchND
    SpaceToDepth Split SplitV Sqrt Square SquaredDifference Squeeze StatefulPartitionedCall StatelessIf
    StatelessWhile StaticRegexFullMatch StopGradient StridedSlice StringJoin Sub Sum Tanh
    TensorListFromTensor TensorListGetItem TensorListReserve TensorListSetItem TensorListStack Tile TopK
    TopKV2 Transpose Unpack VarHandleOp VarIsInitializedOp Where While ZerosLike
    """.split()  # noqa: SIM905 -- a list to read
)
_SAVING = {"SaveV2", "MergeV2Checkpoints", "RestoreV2"}  # in functions that need a file name from outside


def check(folder: Path) -> None:
    """Accept a SavedModel whose graph only computes.

    Its own saving and restoring of variables is part of every SavedModel and is let through.

    Raises:
        ModelError: when it is damaged.
        UnsafeModelError: when it runs Python, reads or writes files, or holds links or other files.
    """
    for path in folder.rglob("*"):
        if path.is_symlink() or path.relative_to(folder).parts[0] not in _FILES:
            raise UnsafeModelError(
                f"{folder} holds {path.name!r:.60}, a link or a file that no SavedModel has"
            )
    graph = folder / "saved_model.pb"
    if not graph.stat().st_size or graph.stat().st_size > 2**31:
        raise ModelError(f"{graph} is damaged; save the model again")
    with graph.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        places = _Places(graph, data)
        found = 0
        for meta in places.inside((0, len(data)), _META):
            for span in places.inside(meta, _GRAPH):
                found += _check_graph(folder, places, span)
        if not found:
            raise ModelError(f"{graph} holds no graph; save the model again")


def _check_graph(folder: Path, places: _Places, graph: tuple[int, int]) -> int:
    """Check the nodes of a graph and of its functions; return how many there are."""
    bodies = {"": [_node(places, span) for span in places.inside(graph, _NODE)]}
    for library in places.inside(graph, _LIBRARY):
        for function in places.inside(library, _FUNCTION):
            signature = next(places.inside(function, _SIGNATURE), (0, 0))
            name = places.text(signature, _NAME) or "?"
            bodies[name] = [_node(places, span) for span in places.inside(function, _BODY)]
    saving = {name for name, body in bodies.items() if any(node.kind in _SAVING for node in body)}
    asked = {node.name for node in bodies[""] if node.kind == "Placeholder"}
    for owner, body in bodies.items():
        for node in body:
            writes = bool(node.called & saving) or (not owner and node.kind in _SAVING)
            if writes and (owner or not asked.issuperset(node.inputs[:1] or ["nothing"])):
                raise UnsafeModelError(
                    f"{folder} reads or writes a file of its own choice in {owner or 'its graph'!r:.60}"
                )
    return sum(map(len, bodies.values()))


@dataclass(frozen=True)
class _Node:
    name: str
    kind: str
    inputs: list[str]
    called: frozenset[str]


def _node(places: _Places, span: tuple[int, int]) -> _Node:
    texts: dict[int, list[str]] = {_NAME: [""], _OP: [""], _INPUT: []}
    attributes = []
    for number, place in places.fields(span):
        if number in texts:
            texts[number].append(places.decode(place))
        elif number == _ATTRIBUTE:
            attributes.append(place)
    kind = texts[_OP][-1]
    if kind not in _COMPUTE and kind not in _SAVING:
        raise UnsafeModelError(f"{places.path} calls the operator {kind!r:.60}, which does more than compute")
    called = [
        places.text(function, _NAME)
        for attribute in attributes
        if kind.endswith(("Call", "If", "While")) or kind in _SAVING
        for value in places.inside(attribute, _VALUE)
        for function in places.inside(value, _CALLED)
    ]
    return _Node(texts[_NAME][-1], kind, texts[_INPUT], frozenset(called))


class _Places:
    """Finds fields in a message without building it."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path, self.data, self.budget = path, data, _MOST

    def decode(self, span: tuple[int, int]) -> str:
        """Return the text that stands there."""
        return self.data[span[0] : span[1]].decode("utf-8", "replace")

    def text(self, span: tuple[int, int], wanted: int) -> str:
        """Return the text of a field, empty if it is left out."""
        return self.decode(next(self.inside(span, wanted), (0, 0)))

    def inside(self, span: tuple[int, int], wanted: int) -> Iterator[tuple[int, int]]:
        """Yield where the fields of one number stand in a message."""
        return (place for number, place in self.fields(span) if number == wanted)

    def fields(self, span: tuple[int, int]) -> Iterator[tuple[int, tuple[int, int]]]:
        """Yield number and place of each field of a message that has a length."""
        place, end = span
        while place < end:
            self.budget -= 1
            if self.budget < 0:
                raise UnsafeModelError(
                    f"{self.path} holds more than {_MOST:,} parts: it would fill the memory"
                )
            tag, place = varint(self.path, self.data, place, end)
            form = tag & 7
            if form == 0:
                _, place = varint(self.path, self.data, place, end)
            elif form in {1, 5}:
                place += 8 if form == 1 else 4
            elif form == 2:
                length, place = varint(self.path, self.data, place, end)
                if place + length > end:
                    raise ModelError(f"{self.path} is cut short; save the model again")
                yield tag >> 3, (place, place + length)
                place += length
            else:
                raise ModelError(f"{self.path} is no SavedModel; save the model again")
