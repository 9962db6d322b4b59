"""The table of routes: every model by every way from format to format, with what parity found.

`python tests/benchmarks/routes.py docs/routes.md` writes it; without a path it is printed. Names of nets after the path
leave the others out.
"""

# ruff: noqa: E501 -- a page of Markdown has long lines

from __future__ import annotations

import platform
import sys
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

import kit
from kit.runtime.formats import find

OUT = ("onnx", "pt2", "state_dict", "safetensors", "openvino", "keras", "tflite", "saved_model")
BACK = ("pt2", "keras", "saved_model", "tflite", "openvino")  # from these to ONNX
NETS = ("convnet", "mobilenet", "lenet5", "lenet_300_100")
LIBRARIES = (
    "torch",
    "onnx",
    "onnxruntime",
    "openvino",
    "keras",
    "tensorflow-cpu",
    "ai-edge-litert",
    "scikit-learn",
    "skl2onnx",
)


def cell(model, form, data, samples, path=None):
    """Return what one conversion came to."""
    try:
        report = kit.convert(model, form, data=data, samples=samples, path=path).report
    except kit.errors.KitError as error:
        return type(error).__name__
    return f"{report.max_abs:.0e}{'' if report.fresh else ' ¹'}"


def nets(folder, samples, names):
    """Yield the rows of PyTorch nets: to every format, and back to ONNX."""
    data = kit.data.fashion_mnist().subset(2000, samples, 100)
    for name in names:
        net = kit.train(getattr(kit.models, name)(), data, epochs=1, progress=None)
        paths = {form: folder / f"{net.name}_{form}{find(form).suffix}" for form in OUT}
        yield [
            net.name,
            *(cell(net, form, data, samples, paths[form]) for form in OUT),
            *(cell(paths[form], "onnx", data, samples) for form in BACK),
            cell(paths["onnx"], "torch", data, samples),
        ]


def tables(samples):
    """Yield the rows of scikit-learn's estimators: to ONNX, and from there on."""
    for load in (load_breast_cancer, load_digits):
        x, y = load(return_X_y=True)
        data = kit.data.from_arrays(x.astype(np.float32), y)
        rows, targets = data.train.inputs.numpy().astype(np.float64), data.train.targets.numpy()
        for estimator in (
            DecisionTreeClassifier(random_state=0),
            make_pipeline(StandardScaler(), RandomForestClassifier(50, random_state=0)),
            make_pipeline(StandardScaler(), SVC()),
        ):
            estimator.fit(rows, targets)
            names = [type(step).__name__ for _, step in getattr(estimator, "steps", [("", estimator)])]
            name = f"{load.__name__.removeprefix('load_')}: {' + '.join(names)}"
            yield [name, *(cell(estimator, form, data, samples) for form in ("onnx", "openvino", "keras"))]


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def page(names, samples=500):
    """Return the page."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        out = table(
            ["from a PyTorch module to", *OUT, *(f"{b} → onnx" for b in BACK), "onnx → torch"],
            nets(Path(folder), samples, names),
        )
        rows = table(["from scikit-learn to", "onnx", "openvino", "keras"], tables(samples))
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return f"""# Tested routes

Written by `python tests/benchmarks/routes.py docs/routes.md`. A number is the largest absolute difference between the
original's outputs and those of the file, opened in a fresh process on up to {samples} real inputs in batches of 1, 2 and 17;
all are within the tolerance that rounding explains, or the file would not have been written. A name of an error means
that there is no such route, and that `kit.convert` says so. ¹ compared in the same process: a module is no file.

{out}

{rows}

Images take their channels last in keras, tflite and saved_model. {libraries}; Python {platform.python_version()}.
"""


if __name__ == "__main__":
    text = page(sys.argv[2:] or NETS)
    if len(sys.argv) > 1:
        target = Path(sys.argv[1])
        target.parent.mkdir(exist_ok=True)
        target.write_text(text)
    else:
        print(text)
