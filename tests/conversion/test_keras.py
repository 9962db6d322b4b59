"""Reference program 3: a Keras net, trained with TensorFlow, brought here and measured; and the way back."""

import os
import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer
from torch import nn

import kit
from kit.conversion.parity import softmax
from kit.errors import ModelError
from kit.runtime.formats import find

PROGRAM = """
import keras, numpy as np
keras.utils.set_random_seed(0)
table = np.load("table.npz")
net = keras.Sequential([
    keras.Input((8,)),
    keras.layers.Dense(10, activation="relu"),
    keras.layers.Dense(1, activation="sigmoid"),
])
net.compile(loss="binary_crossentropy", optimizer="adam", metrics=["accuracy"])
net.fit(table["x"], table["y"], epochs=10, batch_size=32, verbose=0)
net.save("net.keras")
net.export("net_saved", format="tf_saved_model", verbose=False)
images = keras.Sequential([
    keras.Input((28, 28, 1)),
    keras.layers.Conv2D(4, 3, strides=2, padding="same", activation="relu"),
    keras.layers.BatchNormalization(),
    keras.layers.MaxPooling2D(),
    keras.layers.Flatten(),
    keras.layers.Dense(10, activation="softmax"),
])
images.save("images.keras")
print(keras.backend.backend())
"""


@pytest.fixture(scope="module")
def table():
    x, y = load_breast_cancer(return_X_y=True)
    x = ((x - x.mean(0)) / x.std(0)).astype(np.float32)[:, :8]
    return kit.data.from_arrays(x, y)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, table):
    """What TensorFlow, in a process of its own, trained and saved."""
    home = tmp_path_factory.mktemp("keras")
    np.savez(home / "table.npz", x=table.train.inputs.numpy(), y=table.train.targets.numpy())
    environment = os.environ | {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=home,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines()[-1:] == ["tensorflow"], done.stderr[-2000:]
    return home


def test_a_net_of_tensorflow_comes_in_and_is_measured(folder, table):
    net = kit.convert(folder / "net.keras", "onnx", data=table, name="keras net")
    assert net.report.agreed
    assert "sigmoid" in str(net.recipe[-1])
    rows = table.test.inputs.numpy()
    probability = kit.open(folder / "net.keras")(rows)[:, 0]
    logits = net(rows)
    assert logits.shape == (len(rows), 2)
    assert np.allclose(1 / (1 + np.exp(logits[:, 0] - logits[:, 1])), probability, atol=1e-5)
    assert kit.evaluate(net, table).accuracy.value > 0.7
    other = nn.Sequential(nn.Linear(8, 10), nn.ReLU(), nn.Linear(10, 2))
    other = kit.train(other, table, epochs=2, progress=None).renamed("torch net")
    rows = kit.compare([net, other], table, split="valid").rows
    assert [row.name for row in rows] == ["keras net", "torch net"]


def test_a_saved_model_comes_in(folder, table):
    net = kit.convert(folder / "net_saved", "onnx", data=table)
    file = kit.convert(folder / "net.keras", "onnx", data=table)
    rows = table.test.inputs.numpy()
    assert np.allclose(net(rows), file(rows), atol=1e-5)


def test_images_of_keras_come_in_with_a_transpose_and_logits(folder, fashion):
    few = fashion.subset(100, 100, 20)
    net = kit.convert(folder / "images.keras", "onnx", data=few)
    assert "transpose" in str(net.recipe[-1])
    images = few.test.inputs.numpy()
    said = kit.open(folder / "images.keras")(np.moveaxis(images, 1, -1))
    logits = net(images)
    assert np.allclose(softmax(logits), said, atol=1e-5)


@pytest.mark.parametrize("form", ["tflite", "saved_model"])
def test_a_net_of_pytorch_goes_out_to_tensorflow_and_comes_back(trained, fashion, tmp_path, form):
    few = fashion.subset(100, 100, 20)
    path = tmp_path / f"net{find(form).suffix}"
    made = kit.convert(trained, form, data=few, path=path)
    images = few.test.inputs.numpy()
    assert made.report.agreed
    assert np.allclose(made(images), trained(images), atol=1e-4)
    assert kit.open(path).runtime == {"tflite": "litert", "saved_model": "tensorflow"}[form]
    if form == "saved_model":
        back = kit.convert(path, "onnx", data=few)
        assert np.allclose(back(images), trained(images), atol=1e-4)


def test_one_probability_is_not_enough_for_three_classes(folder, table):
    three = kit.data.from_arrays(table.train.inputs.numpy(), np.arange(len(table.train)) % 3)
    with pytest.raises(ModelError, match="tells 2 classes apart"):
        kit.convert(folder / "net.keras", "onnx", data=three)
