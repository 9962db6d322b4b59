import numpy as np
import pytest
import torch

import kit
from kit.errors import ModelError
from kit.measurement.predict import logits


def test_logits_keep_the_order_whatever_the_batch(trained, fashion):
    whole = logits(trained, fashion.test, batch_size=2000)
    parts = logits(trained, fashion.test, batch_size=333)
    assert whole.shape == (2000, 10)
    assert whole.dtype == np.float32
    np.testing.assert_allclose(whole, parts, atol=1e-4)
    np.testing.assert_allclose(whole[17:20], trained(fashion.test.inputs[17:20]), atol=1e-4)


def test_a_module_in_training_mode_is_run_in_eval_mode_and_left_as_it_was(fashion):
    net = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Flatten(), torch.nn.Linear(784, 10)).train()
    assert (logits(net, fashion.valid) == logits(net, fashion.valid)).all()
    assert net.training
    assert net[0].training


def test_nan_names_the_first_sample(fashion):
    class Half(torch.nn.Module):
        def forward(self, x):
            out = x.flatten(1)[:, :10].clone()
            out[x.flatten(1).mean(1) > 0.5] = float("nan")
            return out

    first = int((fashion.valid.inputs.flatten(1).mean(1) > 0.5).nonzero()[0])
    with pytest.raises(ModelError, match=f"NaN, first for sample {first} of 'valid'"):
        logits(Half(), fashion.valid)


def test_a_model_that_cannot_take_the_samples_is_named_with_the_reason(fashion):
    net = kit.models.lenet5()
    net[0] = torch.nn.Conv2d(3, 20, 5)
    coloured = kit.Variant(net, "lenet5", fashion.signature)
    with pytest.raises(ModelError, match=r"'lenet5' cannot run on inputs of shape \(500, 1, 28, 28\)"):
        logits(coloured, fashion.valid)


def test_outputs_that_are_no_tensor_or_too_few_are_refused(fashion):
    class Two(torch.nn.Module):
        def forward(self, x):
            return x, x

    class One(torch.nn.Module):
        def forward(self, x):
            return x.flatten(1)[:1]

    with pytest.raises(ModelError, match="returns one tensor, got tuple"):
        logits(Two(), fashion.valid)
    with pytest.raises(ModelError, match=r"outputs of shape \(1, 784\) for 500 samples"):
        logits(One(), fashion.valid)
