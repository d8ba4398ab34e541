"""The training loop on a tiny module: repeatable, resumable, and it leaves torch as it was."""

import numpy as np
import pytest

from skltransfer._engine.training import (
    Checkpoint,
    TrainSettings,
    epoch_rows,
    parameter_groups,
    train,
    update_average,
)

torch = pytest.importorskip("torch", reason="training needs torch")

SETTINGS = TrainSettings(steps=8, learning_rate=0.01, weight_decay=0.1, average=0.9, max_grad_norm=1.0, seed=4)
RANDOM = np.random.default_rng(0)
X = torch.from_numpy(RANDOM.normal(size=(24, 5)).astype(np.float32))
Y = X[:, :2] * 3 - 1


def module() -> torch.nn.Module:
    """A module with all that a checkpoint must hold: weights, statistics, and random numbers in every step."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        layers = torch.nn.Linear(5, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.3), torch.nn.Linear(8, 2)
        return torch.nn.Sequential(*layers)


def batches(step: int):
    rows = epoch_rows(step, len(X), batch_size=6, seed=1)
    return X[rows], Y[rows]


def run(settings=SETTINGS, **options):
    return train(module(), batches, torch.nn.functional.mse_loss, settings, **options)


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_same_settings_give_the_same_weights():
    first, second = run(), run()
    assert same(first.module, second.module)
    assert same(first.average, second.average)


def test_another_seed_gives_other_weights():
    assert not same(run().module, run(TrainSettings(steps=8, seed=5)).module)


def test_interrupted_and_resumed_run_equals_an_uninterrupted_one(tmp_path):
    checkpoint = Checkpoint(tmp_path / "last.pt")
    part = run(checkpoint=checkpoint, on_step=lambda report: report.step == 3)
    rest = run(checkpoint=checkpoint)
    whole = run()
    assert (part.finished, part.step, rest.finished, rest.step, rest.samples) == (False, 3, True, 8, 48)
    assert same(rest.module, whole.module)
    assert same(rest.average, whole.average)


def test_finished_run_is_not_trained_again(tmp_path):
    checkpoint = Checkpoint(tmp_path / "last.pt")
    first = run(checkpoint=checkpoint)
    assert same(run(checkpoint=checkpoint, on_step=lambda report: pytest.fail("a step")).module, first.module)


def test_checkpoint_is_written_during_the_run_and_leaves_no_other_file(tmp_path):
    seen = []
    checkpoint = Checkpoint(tmp_path / "last.pt", seconds=0)
    run(checkpoint=checkpoint, on_step=lambda report: seen.append(checkpoint.path.exists()))
    assert seen == [False, *[True] * 7]
    assert list(tmp_path.iterdir()) == [checkpoint.path]


def test_checkpoint_of_another_format_is_refused(tmp_path):
    torch.save({"format": 9}, tmp_path / "last.pt")
    with pytest.raises(ValueError, match=r"last\.pt has format 9, and 1 can be read"):
        run(checkpoint=Checkpoint(tmp_path / "last.pt"))


def test_threads_and_random_numbers_are_restored():
    threads = torch.get_num_threads()
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    inside = []
    run(TrainSettings(steps=1, threads=threads + 1), on_step=lambda report: inside.append(torch.get_num_threads()))
    assert (inside, torch.get_num_threads()) == ([threads + 1], threads)
    assert torch.equal(torch.rand(1), expected)


def test_threads_are_restored_after_a_failure():
    threads = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError, match="division"):
        run(TrainSettings(threads=threads + 1), on_step=lambda report: 1 / 0)
    assert torch.get_num_threads() == threads


def test_report_counts_steps_samples_and_follows_the_schedule():
    reports = []
    run(on_step=reports.append)
    assert [report.step for report in reports] == list(range(1, 9))
    assert [report.samples for report in reports] == list(range(6, 54, 6))
    assert reports[1].learning_rate == pytest.approx(0.01 * 0.5 * (1 + np.cos(np.pi * 0.025 / 0.9)))
    assert reports[-1].progress == 1


def test_trained_module_fits_better_and_is_left_in_evaluation_mode():
    losses = []
    done = run(TrainSettings(steps=100, learning_rate=0.05), on_step=lambda report: losses.append(report.loss))
    assert losses[-1] < losses[0] / 4
    assert not done.module.training
    assert done.average is None


def test_loss_that_is_not_finite_ends_the_run():
    with pytest.raises(FloatingPointError, match=r"loss is nan at step 0\. Lower learning_rate=0.01"):
        train(module(), batches, lambda outputs, targets: outputs.sum() * float("nan"), SETTINGS)


def test_inputs_and_outputs_may_be_nested_and_outputs_are_float32():
    class Pair(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(5, 2)

        def forward(self, inputs):
            return {"rows": self.linear(inputs["x"] * inputs["mask"])}

    def loss(outputs, targets):
        assert outputs["rows"].dtype == torch.float32
        return ((outputs["rows"] - targets[0]) ** 2).mean()

    nested = {"x": X, "mask": torch.ones(len(X), 1)}, (Y,)
    assert train(Pair(), lambda step: nested, loss, TrainSettings(steps=2, autocast="bfloat16")).samples == 48


def test_only_parameters_with_two_axes_decay():
    groups = parameter_groups(module(), 0.1)
    found = [(group["weight_decay"], [one.ndim for one in group["params"]]) for group in groups]
    assert found == [(0.1, [2, 2]), (0.0, [1, 1, 1, 1])]


def test_longest_prefix_sets_the_factor_and_frozen_parameters_stay_out():
    model = module()
    model[1].requires_grad_(False)
    groups = parameter_groups(model, 0.1, {"3": 10.0, "3.bias": 2.0})
    found = [(group["factor"], group["weight_decay"], len(group["params"])) for group in groups]
    assert found == [(1.0, 0.1, 1), (1.0, 0.0, 1), (2.0, 0.0, 1), (10.0, 0.1, 1)]


def test_factor_zero_leaves_weights_as_they_are():
    done = run(TrainSettings(steps=3, factors={"3": 0.0}))
    assert torch.equal(done.module[3].weight, module()[3].weight)
    assert not torch.equal(done.module[0].weight, module()[0].weight)


def test_unknown_prefix_is_named():
    with pytest.raises(ValueError, match=r"starts with '3\.wieght'\. Did you mean '3\.weight'"):
        parameter_groups(module(), 0.1, {"3.wieght": 10.0})


def test_nothing_to_train_is_an_error():
    with pytest.raises(ValueError, match="Sequential has no parameter that requires a gradient"):
        parameter_groups(module().requires_grad_(False), 0.1)


def test_average_moves_by_hand():
    average, current = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    torch.nn.init.constant_(average.weight, 0.0)
    torch.nn.init.constant_(current.weight, 1.0)
    update_average(average, current, step=0, decay=0.5)
    assert average.weight.item() == pytest.approx(0.9)
    update_average(average, current, step=100, decay=0.5)
    assert average.weight.item() == pytest.approx(0.95)
