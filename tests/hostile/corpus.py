"""Files that a model file must not be: each case writes one and returns its path. Nothing in them does harm."""

# ruff: noqa: E501 -- a case a line reads like the table that it is

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
import pickle
import shutil
import struct
import tarfile
import zipfile
import zlib

import h5py
import numpy as np
import torch
from onnx import TensorProto, helper, numpy_helper

import kit
from kit.variant import Signature, Variant

CASES = {}


class Harm:
    """What a pickle would call."""

    def __reduce__(self):
        return os.system, ("echo harm",)


def case(function):
    """Add a case under its function's name."""
    CASES[function.__name__] = function
    return function


def several(**contents):
    """Add a case for each name: a function of (folder, value)."""

    def add(function):
        for name, value in contents.items():
            CASES[f"{function.__name__}_{name}"] = lambda folder, value=value: function(folder, value)
        return function

    return add


def written(folder, name, content):
    (folder / name).write_bytes(content)
    return folder / name


def zipped(path, entries, **how):
    with zipfile.ZipFile(path, "w", **how) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return path


# ---- pickles in any wrapper ----------------------------------------------------------------------------


@several(pt=("w.pt", 2), pkl=("w.pkl", 5), as_onnx=("net.onnx", 4), as_tflite=("net.tflite", 0), as_keras=("net.keras", 1),
         as_xml=("net.xml", 3), as_pt2=("net.pt2", 5))  # fmt: skip
def pickled(folder, value):
    return written(folder, value[0], pickle.dumps({"a": Harm()}, value[1]))


@several(gzip=gzip.compress, bzip2=bz2.compress, xz=lzma.compress, zlib=zlib.compress)
def pickled_in(folder, squeeze):
    return written(folder, "net.onnx", squeeze(pickle.dumps(Harm())))


@several(plain="w", gzip="w:gz")
def pickled_in_tar(folder, mode):
    inner = written(folder, "data.pkl", pickle.dumps(Harm()))
    with tarfile.open(folder / "net.pt", mode) as archive:
        archive.add(inner, "data.pkl")
    return folder / "net.pt"


@case
def pickled_in_zip(folder):
    return zipped(folder / "net.onnx", [("weights", pickle.dumps(Harm()))])


@case
def pickled_in_npy(folder):
    np.save(folder / "w.npy", np.array([Harm()], object), allow_pickle=True)
    return (folder / "w.npy").rename(folder / "net.onnx")


@case
def pickled_in_npz(folder):
    np.savez(folder / "w.npz", a=np.array([Harm()], object))
    return folder / "w.npz"


@several(call=Harm(), module=torch.nn.Linear(2, 2))
def state_dict_with(folder, value):
    torch.save({"weight": value}, folder / "w.pt")
    return folder / "w.pt"


@case
def state_dict_with_stack_global(folder):
    return zipped(folder / "w.pt", [("w/data.pkl", pickle.dumps(Harm(), 4))])


@case
def state_dict_with_two_pickles(folder):
    torch.save({"weight": torch.ones(2)}, folder / "w.pt")
    with zipfile.ZipFile(folder / "w.pt", "a") as archive:
        archive.writestr("w/code.pkl", pickle.dumps(Harm()))
    return folder / "w.pt"


# ---- zip archives --------------------------------------------------------------------------------------


@case
def zip_bomb(folder):
    return zipped(folder / "w.pt", [("w/data.pkl", bytes(60 * 2**20))], compression=zipfile.ZIP_DEFLATED)


@case
def zip_bomb_of_many(folder):
    entries = [(f"w/data/{k}", bytes(4 * 2**20 - 1)) for k in range(12)]
    return zipped(folder / "w.pt", [("w/data.pkl", b"."), *entries], compression=zipfile.ZIP_DEFLATED)


@several(parent="../../evil.pkl", absolute="/tmp/evil", backslash="..\\evil", drive="C:/evil")
def zip_path(folder, name):
    return zipped(folder / "net.keras", [("config.json", b"{}"), (name, b"")])


@case
def zip_link(folder):
    entry = zipfile.ZipInfo("w/data.pkl")
    entry.external_attr = 0o120777 << 16
    return zipped(folder / "w.pt", [(entry, b"/etc/passwd")])


@case
def zip_twice(folder):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return zipped(
            folder / "w.pt", [("w/data.pkl", pickle.dumps({})), ("w/data.pkl", pickle.dumps(Harm()))]
        )


@case
def zip_encrypted(folder):
    path = zipped(folder / "w.pt", [("w/data.pkl", b".")])
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return written(folder, "w.pt", content)


@case
def zip_overlap(folder):
    path = zipped(folder / "w.pt", [("w/aaaa.pkl", b"x" * 500), ("w/data.pkl", b"y" * 500)])
    content = bytearray(path.read_bytes())
    second = content.index(b"PK\x01\x02", content.index(b"PK\x01\x02") + 4)
    struct.pack_into("<I", content, second + 42, 0)  # both begin at the first
    return written(folder, "w.pt", content)


@case
def zip_other_name(folder):
    path = zipped(folder / "w.pt", [("w/data.pkl", b".")])
    return written(folder, "w.pt", path.read_bytes().replace(b"w/data.pkl", b"w/evil.pkl", 1))


@case
def zip_of_a_million(folder):
    path = zipped(folder / "w.pt", [("w/data.pkl", b".")])
    content = path.read_bytes()
    end = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, 10**6, 10**6, 46, 0)
    return written(folder, "w.pt", content[:-22] + end + content[-22:])


# ---- ONNX: weights elsewhere ---------------------------------------------------------------------------


def onnx_file(path, weight=None, nodes=None, **model):
    """Write a net of one product, with what a case changes in it."""
    weight = weight or numpy_helper.from_array(np.ones((3, 3), np.float32), "weight")
    nodes = nodes or [helper.make_node("MatMul", ["input", "weight"], ["output"])]
    sides = model.pop("sides", ["batch", 3])
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, sides) for n in ("input", "output")]
    graph = helper.make_graph(nodes, "net", values[:1], values[1:], [weight, *model.pop("more", [])])
    opsets = [helper.make_opsetid("", 20), *(helper.make_opsetid(d, 1) for d in model.pop("domains", []))]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=10, **model)
    path.write_bytes(proto.SerializeToString())
    return path


def outside(*entries, dims=(3, 3)):
    """Return a weight that lies in a side file."""
    tensor = TensorProto(
        name="weight", data_type=TensorProto.FLOAT, dims=dims, data_location=TensorProto.EXTERNAL
    )
    for key, value in entries:
        tensor.external_data.add(key=key, value=value)
    return tensor


@several(absolute="/etc/passwd", parent="../../../etc/passwd", hidden_parent="a/../../b", backslash="..\\b", nothing="",
         nul="a\0b", drive="C:\\b", memory="*/_ORT_MEM_ADDR_/*", wide_memory="*\\_ORT_MEM_ADDR_\\*", folder="inner")  # fmt: skip
def onnx_weights_at(folder, place):
    (folder / "inner").mkdir()
    return onnx_file(folder / "net.onnx", outside(("location", place), ("length", "36")))


@several(offset=("offset", "40"), length=("length", "9999999999"), negative=("offset", "-1"), letters=("length", "36x"),
         unknown=("path", "/etc/passwd"), twice=("location", "other.bin"), less=("length", "8"))  # fmt: skip
def onnx_weights_with(folder, entry):
    written(folder, "w.bin", bytes(36))
    return onnx_file(folder / "net.onnx", outside(("location", "w.bin"), entry))


@several(file=False, folder=True)
def onnx_weights_through_link(folder, whole):
    home = folder / "model"
    home.mkdir()
    written(folder, "w.bin", bytes(36))
    (home / ("sub" if whole else "w.bin")).symlink_to(folder if whole else folder / "w.bin")
    return onnx_file(home / "net.onnx", outside(("location", "sub/w.bin" if whole else "w.bin")))


@case
def onnx_weights_through_hard_link(folder):
    (folder / "model").mkdir()
    os.link(written(folder, "w.bin", bytes(36)), folder / "model" / "w.bin")
    return onnx_file(folder / "model" / "net.onnx", outside(("location", "w.bin")))


@case
def onnx_weights_in_a_pipe(folder):
    os.mkfifo(folder / "w.bin")
    return onnx_file(folder / "net.onnx", outside(("location", "w.bin")))


@case
def onnx_weights_hidden_in_a_branch(folder):
    inner = helper.make_graph([helper.make_node("Identity", ["weight"], ["y"])], "inner", [],
                              [helper.make_tensor_value_info("y", 1, [3, 3])], [outside(("location", "/etc/passwd"))])  # fmt: skip
    flag = numpy_helper.from_array(np.array(True), "flag")
    node = helper.make_node("If", ["flag"], ["output"], then_branch=inner, else_branch=inner)
    return onnx_file(folder / "net.onnx", flag, [node])


@case
def onnx_weights_hidden_in_a_function(folder):
    made = helper.make_node("Constant", [], ["y"], value=outside(("location", "/etc/passwd")))
    function = helper.make_function("own", "F", ["x"], ["y"], [made], [helper.make_opsetid("", 20)])
    return onnx_file(folder / "net.onnx", nodes=[helper.make_node("F", ["input"], ["output"], domain="own")],
                     functions=[function], domains=["own"])  # fmt: skip


# ---- ONNX: shapes, operators, functions, bombs ---------------------------------------------------------


@several(overflow=(2**33, 2**33), huge=(2**20, 2**20), negative=(-3, -3), other=(3, 4))
def onnx_shape(folder, dims):
    weight = TensorProto(name="weight", data_type=TensorProto.FLOAT, dims=dims, raw_data=bytes(36))
    return onnx_file(folder / "net.onnx", weight)


@case
def onnx_shape_without_data(folder):
    return onnx_file(
        folder / "net.onnx", TensorProto(name="weight", data_type=TensorProto.FLOAT, dims=(10**9,))
    )


@case
def onnx_type_unknown(folder):
    return onnx_file(
        folder / "net.onnx", TensorProto(name="weight", data_type=99, dims=(3,), raw_data=bytes(12))
    )


@several(overflow=["batch", 2**40, 2**40], negative=["batch", -5])
def onnx_input(folder, sides):
    return onnx_file(folder / "net.onnx", sides=sides)


def numbers(*values, name="shape"):
    return numpy_helper.from_array(np.array(values, np.int64), name)


@several(
    fill=[helper.make_node("ConstantOfShape", ["shape"], ["output"])],
    expand=[helper.make_node("Expand", ["input", "shape"], ["output"])],
    tile=[helper.make_node("Tile", ["input", "shape"], ["output"])],
    reshape=[helper.make_node("Reshape", ["input", "shape"], ["output"])],
    pad=[helper.make_node("Pad", ["input", "shape"], ["output"])],
    random=[helper.make_node("RandomNormal", [], ["output"], shape=[10**6, 10**6])],
)
def onnx_makes(folder, nodes):
    return onnx_file(folder / "net.onnx", numbers(10**6, 10**6), nodes)


@case
def onnx_makes_a_range(folder):
    ends = [numpy_helper.from_array(np.array(v, np.int64), n) for n, v in (("a", 0), ("b", 10**12), ("c", 1))]
    return onnx_file(
        folder / "net.onnx", ends[0], [helper.make_node("Range", ["a", "b", "c"], ["output"])], more=ends[1:]
    )


@case
def onnx_sparse(folder):
    sparse = helper.make_sparse_tensor(
        numpy_helper.from_array(np.ones(1, np.float32), "v"), numbers(0), [2**40]
    )
    return onnx_file(
        folder / "net.onnx", nodes=[helper.make_node("Constant", [], ["output"], sparse_value=sparse)]
    )


@several(
    unknown=("Evil", "evil.so"), python=("PyOp", "com.microsoft"), compiled=("EPContext", "com.microsoft")
)
def onnx_operator(folder, operator):
    kind, domain = operator
    node = helper.make_node(kind, ["input"], ["output"], domain=domain)
    return onnx_file(folder / "net.onnx", nodes=[node], domains=[domain])


def calls(name, *called):
    inner = [
        helper.make_node(one, ["x"], ["y" if k == len(called) - 1 else f"t{k}"], domain="own")
        for k, one in enumerate(called)
    ]
    return helper.make_function(
        "own", name, ["x"], ["y"], inner, [helper.make_opsetid("own", 1), helper.make_opsetid("", 20)]
    )


@several(itself=[calls("F", "F")], each_other=[calls("F", "G"), calls("G", "F")], twice=[calls("F", "G"), calls("F", "H")],
         without_end=[calls("F" if k == 0 else f"F{k}", f"F{k + 1}", f"F{k + 1}") for k in range(40)])  # fmt: skip
def onnx_function_calls(folder, functions):
    more = [
        helper.make_function(
            "own",
            "F40",
            ["x"],
            ["y"],
            [helper.make_node("Relu", ["x"], ["y"])],
            [helper.make_opsetid("", 20)],
        )
    ]
    node = helper.make_node("F", ["input"], ["output"], domain="own")
    return onnx_file(folder / "net.onnx", nodes=[node], functions=[*functions, *more], domains=["own"])


def field(number, content):
    """Return a field of bytes as protobuf writes it."""
    size, length = b"", len(content)
    while length > 127:
        size, length = size + bytes([length & 127 | 128]), length >> 7
    return bytes([number << 3 | 2]) + size + bytes([length]) + content


@several(nodes=field(1, b""), values=field(11, b""), tensors=field(5, b""))
def protobuf_bomb_of(folder, item):
    return written(folder, "net.onnx", field(7, item * 6_000_000))


@case
def protobuf_bomb_of_names(folder):
    return written(folder, "net.onnx", field(7, field(1, field(1, b"") * 6_000_000)))


@case
def protobuf_bomb_packed(folder):
    return written(folder, "net.onnx", field(7, field(5, field(7, b"\1" * 20_000_000))))


@case
def protobuf_deep(folder):
    graph = b""
    for _ in range(150):
        graph = field(1, field(5, field(6, graph)))
    return written(folder, "net.onnx", field(7, graph))


# ---- model folders: safetensors and cards --------------------------------------------------------------


def model_folder(folder, header=None, weights=bytes(36), content=None, **card):
    """Write a model folder whose checksums are right unless a case says otherwise."""
    target = folder / "model"
    signature = Signature("classification", (784,), tuple("0123456789"), 10)
    kit.save(Variant(kit.models.lenet_300_100(), "net", signature), target)
    file, written_card = target / "model.safetensors", json.loads((target / "card.json").read_text())
    if header is not None:
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        content = struct.pack("<Q", len(text)) + text + weights
    if content is not None:
        file.write_bytes(content)
        entry = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        written_card["files"]["model.safetensors"] = entry
    written_card["files"].update(card)
    (target / "card.json").write_text(json.dumps(written_card))
    return target


def entry(begin, end, shape=(3, 3), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


@several(overlap={"a": entry(0, 36), "b": entry(18, 36, (18,), "U8")}, hole={"a": entry(4, 40)}, beyond={"a": entry(0, 3600, (30, 30))},
         shape={"a": entry(0, 36, (300, 300))}, overflow={"a": entry(0, 36, (2**40, 2**40))}, negative={"a": entry(-36, 0)},
         type={"a": entry(0, 36, dtype="PYOBJ")}, missing={"a": {"dtype": "F32"}}, rest={"a": entry(0, 4, (1,))},
         long={"__metadata__": {"a": "x" * 2**21}}, twice=b'{"a":{"dtype":"U8","shape":[36],"data_offsets":[0,36]},"a":{"dtype":"I8","shape":[36],"data_offsets":[0,36]}}')  # fmt: skip
def safetensors(folder, header):
    return model_folder(folder, header)


@case
def safetensors_endless_header(folder):
    return model_folder(folder, content=struct.pack("<Q", 2**62) + b"{}")


@case
def safetensors_is_a_pickle(folder):
    return model_folder(folder, content=pickle.dumps(Harm()))


@case
def card_other_hash(folder):
    target = model_folder(folder)
    content = bytearray((target / "model.safetensors").read_bytes())
    content[-1] ^= 1
    written(target, "model.safetensors", content)
    return target


@case
def card_other_size(folder):
    target = model_folder(folder)
    with (target / "model.safetensors").open("ab") as file:
        file.write(b"more")
    return target


@case
def card_path_outside(folder):
    return model_folder(folder, **{"../../etc/passwd": {"sha256": "0" * 64, "bytes": 1}})


@case
def card_link(folder):
    target = model_folder(folder)
    (target / "model.safetensors").rename(folder / "elsewhere")
    (target / "model.safetensors").symlink_to(folder / "elsewhere")
    return target


# ---- .pt2 ----------------------------------------------------------------------------------------------


def program(folder, change=None, **entries):
    """Write a program, with `change(model.json)` applied and entries replaced or added."""
    exported = torch.export.export(torch.nn.Linear(3, 2).eval(), (torch.ones(2, 3),))
    torch.export.save(exported, folder / "good.pt2")
    with zipfile.ZipFile(folder / "good.pt2") as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    root = next(iter(content)).split("/")[0]
    if change:
        graph = json.loads(content[f"{root}/models/model.json"])
        change(graph)
        content[f"{root}/models/model.json"] = json.dumps(graph).encode()
    content.update({f"{root}/{name}": value for name, value in entries.items()})
    return zipped(folder / "net.pt2", list(content.items()))


def first_node(graph):
    return next(n for n in graph["graph_module"]["graph"]["nodes"])


@several(system="torch.os.system", load="torch.load", hub="torch.hub.load", file="torch.ops.aten.from_file.default",
         attribute="_operator.attrgetter", other="#extension:evil", library="torch.ops.load_library")  # fmt: skip
def program_calls(folder, target):
    return program(folder, lambda graph: first_node(graph).update(target=target))


@several(
    code="__import__('os').system('echo harm')",
    attribute="Symbol.__class__",
    power="9**9**9",
    text="Symbol('x y')",
)
def program_shape(folder, text):
    def change(graph):
        graph["graph_module"]["graph"]["sym_int_values"] = {
            "s": {"as_expr": {"expr_str": text, "hint": None}}
        }

    return program(folder, change)


@case
def program_guard(folder):
    return program(folder, lambda graph: graph.update(guards_code=["__import__('os').system('echo harm')"]))


@case
def program_sample_inputs(folder):
    return program(folder, **{"data/sample_inputs/model.pt": pickle.dumps(Harm())})


@case
def program_sample_inputs_in_zip(folder):
    inner = io.BytesIO()
    torch.save(Harm(), inner)
    return program(folder, **{"data/sample_inputs/model.pt": inner.getvalue()})


@several(opaque="opaque_obj_0", custom="custom_obj_0")
def program_object(folder, name):
    return program(folder, **{f"data/constants/{name}": pickle.dumps(Harm())})


@case
def program_compiled(folder):
    return program(folder, **{"data/aotinductor/model/model.so": b"\x7fELF"})


def weights_config(**change):
    meta = {"dtype": 7, "sizes": [{"as_int": 2}, {"as_int": 3}], "strides": [{"as_int": 3}, {"as_int": 1}],
            "storage_offset": {"as_int": 0}, "requires_grad": False, "device": {"type": "cpu", "index": None}, "layout": 7}  # fmt: skip
    meta.update({k: v for k, v in change.items() if k in meta})
    value = {
        "path_name": "weight_0",
        "is_param": True,
        "use_pickle": change.get("use_pickle", False),
        "tensor_meta": meta,
    }
    return json.dumps({"config": {"weight": value}}).encode()


@several(pickle={"use_pickle": True}, large={"sizes": [{"as_int": 2**30}, {"as_int": 3}]},
         repeated={"sizes": [{"as_int": 2**40}, {"as_int": 3}], "strides": [{"as_int": 0}, {"as_int": 1}]},
         before={"storage_offset": {"as_int": -4}})  # fmt: skip
def program_weights(folder, change):
    return program(folder, **{"data/weights/model_weights_config.json": weights_config(**change)})


# ---- Keras, LiteRT, SavedModel, OpenVINO ---------------------------------------------------------------


def keras_file(folder, config, change=None, **entries):
    inner = io.BytesIO()
    with h5py.File(inner, "w") as weights:
        weights["kernel"] = np.ones(3, np.float32)
        if change:
            change(weights)
    names = {
        "metadata.json": b"{}",
        "config.json": json.dumps(config).encode(),
        "model.weights.h5": inner.getvalue(),
    }
    return zipped(folder / "net.keras", [*names.items(), *entries.items()])


LAYER = {"module": "keras.layers", "class_name": "Dense", "config": {"units": 1}}


@several(lambda_=LAYER | {"class_name": "Lambda"}, other=LAYER | {"module": "os", "class_name": "system"},
         python=LAYER | {"module": "builtins", "class_name": "eval"}, download=LAYER | {"module": "keras.utils", "class_name": "get_file"},
         file=LAYER | {"class_name": "TFSMLayer"})  # fmt: skip
def keras_layer(folder, layer):
    return keras_file(folder, {"module": "keras", "class_name": "Sequential", "config": {"layers": [layer]}})


@case
def keras_with_code(folder):
    return keras_file(folder, LAYER, **{"code.py": b"import os"})


@several(link=lambda w: w.update({"a": h5py.ExternalLink("/etc/passwd", "/")}),
         soft=lambda w: w.update({"a": h5py.SoftLink("/kernel")}),
         file=lambda w: w.create_dataset("a", (9,), "u1", external=[("/etc/passwd", 0, 9)]),
         huge=lambda w: w.create_dataset("a", (10**6, 10**6), "f4", chunks=(100, 100)))  # fmt: skip
def keras_weights(folder, change):
    def apply(weights):
        change(_Setter(weights))

    return keras_file(folder, LAYER, apply)


class _Setter:
    def __init__(self, weights):
        self.create_dataset, self.weights = weights.create_dataset, weights

    def update(self, entries):
        for key, value in entries.items():
            self.weights[key] = value


def lite(codes=(), tensors=(), buffers=(0,)):
    """Return a TFLite file by hand: a model with operators (name), tensors (shape, buffer), buffers (bytes)."""
    out = bytearray(struct.pack("<I4s", 0, b"TFL3"))

    def table(fields):
        """Add a table of 32-bit fields; return its place."""
        layout = struct.pack("<HH", 4 + 2 * len(fields), 4 + 4 * len(fields))
        layout += b"".join(struct.pack("<H", 0 if f is None else 4 + 4 * k) for k, f in enumerate(fields))
        out.extend(layout)
        place = len(out)
        out.extend(struct.pack("<i", len(layout)) + bytes(4 * len(fields)))
        return place

    def point(place, target):
        struct.pack_into("<I", out, place, target - place)

    def listed(count, content=b""):
        out.extend(struct.pack("<I", count) + content)
        return len(out) - 4 - len(content)

    model = table([None, 1, 1, None, 1])
    struct.pack_into("<I", out, 0, model)
    starts = []
    for field_number, size in ((1, len(codes)), (2, 1), (4, len(buffers))):
        starts.append(listed(size, bytes(4 * size)))
        point(model + 4 + 4 * field_number, starts[-1])
    for k, name in enumerate(codes):
        code = table([1, 1, None, 1])
        point(starts[0] + 4 + 4 * k, code)
        struct.pack_into("<i", out, code + 4, 32)
        point(code + 8, listed(len(name), name))
    graph = table([1])
    point(starts[1] + 4, graph)
    some = listed(len(tensors), bytes(4 * len(tensors)))
    point(graph + 4, some)
    for k, (shape, buffer) in enumerate(tensors):
        tensor = table([1, None, 1])
        point(some + 4 + 4 * k, tensor)
        point(tensor + 4, listed(len(shape), struct.pack(f"<{len(shape)}i", *shape)))
        struct.pack_into("<I", out, tensor + 12, buffer)
    for k, size in enumerate(buffers):
        buffer = table([1])
        point(starts[2] + 4 + 4 * k, buffer)
        point(buffer + 4, listed(size, bytes(size)))
    return bytes(out)


@several(library={"codes": [b"FlexWriteFile"]}, shape={"tensors": [((1000, 1000), 1)], "buffers": (0, 4)},
         buffer={"tensors": [((3,), 9)]}, huge={"tensors": [((2**30, 2**30), 0)]}, negative={"tensors": [((-7,), 0)]})  # fmt: skip
def lite_with(folder, parts):
    return written(folder, "net.tflite", lite(**parts))


@several(start=(0, 2**31), layout=(-1, 0), count=(8, 2**31))
def lite_outside(folder, change):
    content = bytearray(lite(tensors=[((3,), 0)]))
    place = change[0] if change[0] >= 0 else struct.unpack_from("<I", content)[0]
    if change[0] == 8:
        model = struct.unpack_from("<I", content)[0]
        place = model + 8 + struct.unpack_from("<I", content, model + 8)[0]
    struct.pack_into("<I", content, place, change[1] or 2**30)
    return written(folder, "net.tflite", content)


def graph_of(*nodes, functions=()):
    """Return a SavedModel's protobuf by hand; a node is (name, operator, inputs, called)."""

    def node(name, kind, inputs=(), called=""):
        text = (
            field(1, name.encode()) + field(2, kind.encode()) + b"".join(field(3, i.encode()) for i in inputs)
        )
        return text + (
            field(5, field(1, b"f") + field(2, field(10, field(1, called.encode())))) if called else b""
        )

    library = b"".join(field(1, field(1, field(1, name.encode())) + b"".join(field(3, node(*n)) for n in body))
                       for name, body in functions)  # fmt: skip
    return field(2, field(2, b"".join(field(1, node(*n)) for n in nodes) + field(2, library)))


SAVES = ("save", [("s", "SaveV2", ["prefix"])])


@several(writes=graph_of(("w", "WriteFile")), reads=graph_of(("r", "ReadFile")), python=graph_of(("p", "EagerPyFunc")),
         hidden=graph_of(("c", "PartitionedCall", (), "f"), functions=[("f", [("w", "PrintV2")])]),
         saves=graph_of(("name", "Const"), ("c", "PartitionedCall", ("name",), "save"), functions=[SAVES]),
         saves_inside=graph_of(("c", "PartitionedCall", (), "f"), functions=[("f", [("d", "PartitionedCall", ("x",), "save")]), SAVES]))  # fmt: skip
def saved_model(folder, content):
    (folder / "net").mkdir()
    written(folder / "net", "saved_model.pb", content)
    return folder / "net"


@case
def saved_model_link(folder):
    target = saved_model(folder, graph_of(("r", "Relu")))
    (target / "variables").symlink_to("/etc")
    return target


@case
def saved_model_bomb(folder):
    return saved_model(folder, field(2, field(2, field(1, b"") * 6_000_000)))


IR = (
    '<net name="n" version="11"><layers><layer id="0" name="a" type="Const" version="{library}">'
    '<data element_type="f32" shape="{shape}" offset="{offset}" size="{size}"/></layer></layers></net>'
)
GOOD = {"library": "opset1", "shape": "3, 3", "offset": "0", "size": "36"}


@several(library=GOOD | {"library": "evil.so"}, beyond=GOOD | {"offset": "36"}, shape=GOOD | {"shape": "3000,3000"},
         negative=GOOD | {"offset": "-36"}, words=GOOD | {"size": "all"})  # fmt: skip
def openvino(folder, values):
    written(folder, "net.bin", bytes(36))
    return written(folder, "net.xml", IR.format(**values).encode())


@several(
    grows='<!DOCTYPE a [<!ENTITY b "&c;&c;">]>',
    reads='<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>',
)
def openvino_entity(folder, text):
    written(folder, "net.bin", bytes(36))
    return written(folder, "net.xml", (text + IR.format(**GOOD)).encode())


@case
def openvino_entity_in_wide_characters(folder):
    written(folder, "net.bin", bytes(36))
    text = '<!DOCTYPE a [<!ENTITY b "&c;&c;">]>' + IR.format(**GOOD)
    return written(folder, "net.xml", text.encode("utf-16-le"))


@several(soft=os.symlink, hard=os.link)
def openvino_weights_through_link(folder, link):
    (folder / "model").mkdir()
    link(written(folder, "w.bin", bytes(36)), folder / "model" / "net.bin")
    return written(folder / "model", "net.xml", IR.format(**GOOD).encode())


def write(folder):
    """Write every case into a folder of its own and return the paths by name."""
    paths = {}
    for name, make in CASES.items():
        home = folder / name
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        paths[name] = make(home)
    return paths
