"""`distill`: the loss, what the student learns from, and what is left when it is over."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import kit
from kit.compression.distillation.distill import answers, soft_loss
from kit.errors import ArgumentError, ModelError


@pytest.fixture(scope="module")
def few(fashion):
    """So few images that an epoch takes a moment."""
    return fashion.subset(1000, 500, 500)


def student(seed=0):
    torch.manual_seed(seed)
    return kit.models.lenet_300_100()


def divergence(variant, teacher, split):
    """Mean KL(teacher ‖ student) over a split, in nats."""
    ours, theirs = (F.log_softmax(torch.from_numpy(v(split.inputs)), 1) for v in (variant, teacher))
    return float(F.kl_div(ours, theirs, reduction="batchmean", log_target=True))


def test_the_loss_is_the_formula_in_the_paper():
    generator = np.random.default_rng(0)
    ours, theirs = generator.normal(size=(2, 5, 10)).astype(np.float32) * 3
    for temperature in (1.0, 4.0):
        p, q = (np.exp(z / temperature) for z in (theirs, ours))
        p, q = (z / z.sum(1, keepdims=True) for z in (p, q))
        expected = temperature**2 * (p * np.log(p / q)).sum(1).mean()
        found = soft_loss(torch.from_numpy(ours), torch.from_numpy(theirs), temperature=temperature)
        assert float(found) == pytest.approx(expected, rel=1e-4)


def test_at_high_temperatures_its_gradient_is_that_of_matching_logits():
    torch.manual_seed(0)
    teacher = torch.randn(4, 10)
    teacher -= teacher.mean(1, keepdim=True)
    logits = torch.randn(4, 10)
    logits = (logits - logits.mean(1, keepdim=True)).requires_grad_()
    soft_loss(logits, teacher, temperature=1000).backward()
    torch.testing.assert_close(logits.grad, (logits.detach() - teacher) / 10 / 4, rtol=0.01, atol=1e-4)


def test_a_student_comes_closer_to_its_teacher_than_one_that_sees_only_labels(trained, few):
    plain = kit.train(student(), few, epochs=6)
    taught = kit.distill(student(), trained, few, epochs=6, weight=1.0, temperature=2.0)
    assert divergence(taught, trained, few.test) < 0.5 * divergence(plain, trained, few.test)


def test_with_no_weight_on_the_teacher_it_is_plain_training(trained, few):
    plain = kit.train(student(), few, epochs=1, seed=5)
    taught = kit.distill(student(), trained, few, epochs=1, seed=5, weight=0.0)
    for mine, other in zip(plain.module.parameters(), taught.module.parameters(), strict=True):
        torch.testing.assert_close(mine, other)


def test_neither_student_nor_teacher_is_changed(trained, few):
    begin = student()
    nets = (begin, trained.module)
    before = [copy.deepcopy(net.state_dict()) for net in nets]
    taught = kit.distill(begin, trained, few, epochs=1)
    for net, weights in zip(nets, before, strict=True):
        assert all(torch.equal(weights[key], value) for key, value in net.state_dict().items())
    assert taught.report.stopped == "finished"
    assert json.loads(json.dumps(dict(taught.recipe[-1].settings)))["teacher"] == trained.name


def test_a_teacher_may_be_anything_that_answers(few):
    """Here a nearest-mean classifier in numpy, as a model file would be."""
    inputs, targets = few.train.inputs.numpy().reshape(1000, -1), few.train.targets.numpy()
    means = np.stack([inputs[targets == label].mean(0) for label in range(10)])

    def nearest(batch):
        flat = batch.reshape(len(batch), -1)
        return -((flat[:, None] - means) ** 2).mean(2) * 10

    teacher = kit.Variant(nearest, "nearest mean", few.signature)
    taught = kit.distill(student(), teacher, few, epochs=3, weight=1.0, temperature=1.0)
    same = taught(few.test.inputs).argmax(1) == nearest(few.test.inputs.numpy()).argmax(1)
    assert same.mean() > 0.8
    with pytest.raises(ModelError, match="is a file"):
        kit.distill(student(), teacher, few, epochs=1, augment=lambda batch: batch)


def test_answers_are_looked_up_unless_the_inputs_change(trained, few):
    index = torch.tensor([5, 3, 999])
    own = trained.module(few.train.inputs[index])
    looked_up = answers(trained, few, {})
    torch.testing.assert_close(looked_up(torch.zeros(3, 1, 28, 28), index), own)
    asked = answers(trained, few, {"augment": lambda batch: batch})
    torch.testing.assert_close(asked(few.train.inputs[index], torch.tensor([0, 0, 0])), own)


def test_an_augmented_student_is_taught_on_what_it_sees(trained, few):
    taught = kit.distill(student(), trained, few, epochs=1, augment=lambda batch: batch.flip(-1), weight=1.0)
    split = few.test
    flipped = torch.from_numpy(taught(split.inputs.flip(-1)))
    teacher = torch.from_numpy(trained(split.inputs.flip(-1)))
    other = torch.from_numpy(trained(split.inputs))

    def distance(target):
        return float(
            F.kl_div(flipped.log_softmax(1), target.log_softmax(1), log_target=True, reduction="batchmean")
        )

    assert distance(teacher) < distance(other)


def test_regression_learns_the_teachers_values():
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(600, 8)).astype(np.float32)
    data = kit.data.from_arrays(inputs, np.sin(inputs @ generator.normal(size=(8, 2))).astype(np.float32))
    torch.manual_seed(0)
    teacher = nn.Linear(8, 2)
    taught = kit.distill(nn.Linear(8, 2), teacher, data, epochs=60, weight=1.0, lr=0.05, keep="last")
    torch.testing.assert_close(taught.module.weight, teacher.weight, atol=0.02, rtol=0)


def test_features_are_matched_through_adapters_that_are_not_kept(trained, few):
    torch.manual_seed(0)
    small = kit.models.convnet(widths=(4, 8, 16))
    taught = kit.distill(small, trained, few, epochs=2, features={"2": "2", "4": "4"}, feature_weight=5.0)
    assert set(taught.module.state_dict()) == set(small.state_dict())
    for net in (taught.module, trained.module, small):
        assert not any(layer._forward_hooks for layer in net.modules())
    assert kit.models.architecture_of(taught.module) == kit.models.architecture_of(small)
    assert taught.recipe[-1].settings["features"] == {"2": "2", "4": "4"}


def test_layers_of_one_width_come_closer_without_an_adapter(trained, few):
    torch.manual_seed(0)
    begin = kit.models.convnet(widths=(8, 16, 32))

    def distance(net):
        first, second = (torch.nn.Sequential(*list(m)[:3])(few.test.inputs) for m in (net, trained.module))
        return float(F.mse_loss(first, second).detach())

    matched = kit.distill(begin, trained, few, epochs=6, features={"2": "2"}, feature_weight=20.0)
    apart = kit.distill(begin, trained, few, epochs=6)
    assert distance(matched.module) < 0.5 * distance(apart.module)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": 0}, "temperature must be above 0"),
        ({"temperature": float("nan")}, "temperature must be above 0"),
        ({"weight": 1.1}, "weight must lie between 0"),
        ({"features": {"1": "2"}, "feature_weight": -1}, "feature_weight must be 0 or more"),
        ({"features": {"1": "2.boddy"}}, "unknown layer '2.boddy'; did you mean '2.body'"),
        ({"epochs": 0}, "epochs must be a whole number"),
        ({"batchsize": 1}, "unknown training setting 'batchsize'; did you mean 'batch_size'"),
    ],
)
def test_arguments_that_do_not_fit(settings, message, trained, few):
    with pytest.raises(ArgumentError, match=message):
        kit.distill(student(), trained, few, **settings)
    assert not any(layer._forward_hooks for layer in trained.module.modules())


def test_layers_of_different_kinds_cannot_be_matched(trained, few):
    with pytest.raises(
        ModelError, match=r"student layer '1' gives \(300,\) a sample, teacher layer '2' \(16, 14, 14\)"
    ):
        kit.distill(student(), trained, few, epochs=1, features={"1": "2"})


def test_a_teacher_of_other_classes(few):
    with pytest.raises(ModelError, match="gives 10 outputs, teacher 'sequential' gives 7"):
        kit.distill(student(), nn.Sequential(nn.Flatten(), nn.Linear(784, 7)), few)
