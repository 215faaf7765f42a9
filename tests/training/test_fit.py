"""A stream from recipe to results: what is trained, saved, tested and written is what the recipe asks for."""

import itertools
import json

import numpy as np
import pytest
import torch
from tiny_runs import NETWORK, assert_same_weights, checkpoint, history, tiny_recipe, train, weights, write_recipe

from protogcn.data.store import ClipStore
from protogcn.evaluation.scores import load_scores
from protogcn.models import create_criterion, create_model
from protogcn.training.evaluate import build_model, load_weights, score_clips
from protogcn.training.loaders import ClipSampler, make_dataset, make_loader, open_store, split_names
from protogcn.training.recipe import parse_recipe


@pytest.fixture
def run(tmp_path, tiny_store):
    """Train by a recipe with some sections changed; returns the run folder."""

    def run(*words, name="net", **sections):
        recipe = write_recipe(tmp_path, tiny_store, **sections)
        assert train(recipe, tmp_path, "--name", name, *words) == 0
        return tmp_path / "tiny" / name / "j"

    return run


def parsed(store, **sections):
    return parse_recipe(tiny_recipe(store, **sections), "test")


def test_scores_metrics_and_checkpoint_tell_the_same_story(run, tiny_store, capsys):
    from protogcn.cli import main

    folder = run(optimizer={"lr": 0.1}, trainer={"epochs": 6})
    store = ClipStore.open(tiny_store)
    scores = load_scores(folder / "scores_test.npz")
    rows = store.split("xsub_test")
    assert scores.ids.tolist() == [store.ids[row] for row in rows]
    assert scores.labels.tolist() == store.labels[rows].tolist() and scores.class_names == tuple(store.class_names)
    assert scores.kind == "probabilities"
    meta = {"benchmark": "tiny", "split": "xsub_test", "stream": "j", "model": "protogcn", "seed": 0}
    assert meta.items() <= scores.meta.items()

    metrics = json.loads((folder / "metrics.json").read_text())
    guess = scores.scores.argmax(1)
    assert metrics["top1"] == pytest.approx((guess == scores.labels).mean())
    per_class = [(guess == scores.labels)[scores.labels == label].mean() for label in range(5)]
    assert metrics["mean_class"] == pytest.approx(np.mean(per_class)) and metrics["top5"] == 1
    assert metrics["top1_interval"][0] <= metrics["top1"] <= metrics["top1_interval"][1]
    assert metrics["clips"] == 15 and metrics["checkpoint"] == "last"

    rows = history(folder)
    assert [row["epoch"] for row in rows] == list("123456") and rows[-1]["lr"] == "0"
    assert float(rows[-1]["train_loss"]) < float(rows[0]["train_loss"])
    # Every epoch trains on 30 clips and validates on 15, so accuracies are whole numbers of clips.
    for row in rows:
        assert 30 * float(row["train_top1"]) == pytest.approx(round(30 * float(row["train_top1"])), abs=1e-3)
        assert 15 * float(row["val_top1"]) == pytest.approx(round(15 * float(row["val_top1"])), abs=1e-3)

    # What was learned beats the network of the first moment, on the clips it was learned from.
    recipe = parsed(tiny_store)
    training = make_dataset(recipe, open_store(recipe), "train")
    model = build_model(recipe, training, 5)
    losses = []
    for _ in range(2):
        model.train()
        clips, labels, _ = next(iter(torch.utils.data.DataLoader(training, 30)))
        logits = model.forward_train(clips.flatten(0, 1))[0]
        losses.append(torch.nn.functional.cross_entropy(logits, labels).item())
        load_weights(model, folder / "checkpoints" / "last.ckpt")
    assert losses[1] < losses[0] - 0.05

    # Tested again, the very same scores come out; the best weights are another choice.
    before, made = scores.scores, (folder / "scores_test.npz").stat().st_mtime_ns
    capsys.readouterr()
    assert main(["test", str(folder)]) == 0
    assert f"last epoch: top-1 {100 * metrics['top1']:.2f} %" in capsys.readouterr().out
    assert (load_scores(folder / "scores_test.npz").scores == before).all()
    assert (folder / "scores_test.npz").stat().st_mtime_ns > made
    assert json.loads((folder / "metrics.json").read_text()) == metrics
    assert main(["test", str(folder), "--checkpoint", "best"]) == 0
    tested = json.loads((folder / "metrics.json").read_text())
    assert tested["checkpoint"] == "best" and tested["training_seconds"] == metrics["training_seconds"]


def test_the_best_checkpoint_is_of_the_best_validation(run, tiny_store):
    folder = run(optimizer={"lr": 0.2}, trainer={"epochs": 5}, evaluation={"checkpoint": "best"})
    rows = history(folder)
    best = max(float(row["val_top1"]) for row in rows)
    first = next(index for index, row in enumerate(rows) if float(row["val_top1"]) == best)
    assert checkpoint(folder, "best")["epoch"] == first and checkpoint(folder)["epoch"] == 4
    recipe = parsed(tiny_store)
    validation = make_dataset(recipe, open_store(recipe), "val")
    model = build_model(recipe, validation, 5)
    load_weights(model, folder / "checkpoints" / "best.ckpt")
    places, scores = score_clips(model, parsed(tiny_store, pipeline={"test_clips": 1}), validation)
    assert (scores.argmax(1).numpy() == validation.labels[places]).mean() == pytest.approx(best, abs=1e-6)
    assert json.loads((folder / "metrics.json").read_text())["checkpoint"] == "best"


def steps_by_hand(recipe):
    """The training of a recipe in plain torch: the last weights, and their moving average."""
    store = open_store(recipe)
    dataset = make_dataset(recipe, store, "train")
    model = build_model(recipe, dataset, store.num_classes).train()
    criterion = create_criterion("protogcn", **recipe.loss)
    config = recipe.optimizer
    optimizer = torch.optim.SGD(model.parameters(), config.lr, 0.9, weight_decay=5e-4, nesterov=True)
    average: dict[str, torch.Tensor] = {}
    taken = 0
    loader = make_loader(recipe, dataset)
    every = recipe.trainer.accumulate
    for epoch in range(recipe.trainer.epochs):
        loader.sampler.set_epoch(epoch)
        dataset.set_epoch(epoch)
        # The same numbers for dropout as a run of the program draws.
        torch.manual_seed((recipe.seed * 100_003 + epoch) * 1_009)
        for index, (clips, labels, _) in enumerate(loader):
            logits, aux = model.forward_train(clips.flatten(0, 1).double())
            (criterion(logits, aux, labels)["loss"] / every).backward()
            if (index + 1) % every and index + 1 < len(loader):
                continue
            if recipe.trainer.gradient_clip:
                torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.trainer.gradient_clip)
            optimizer.step()
            optimizer.zero_grad()
            kept = min(recipe.trainer.ema, (1 + taken) / (10 + taken))
            for name, value in model.state_dict().items():
                if value.is_floating_point():
                    average[name] = kept * average.get(name, value) + (1 - kept) * value
            taken += 1
    return model.state_dict(), average


def assert_close_weights(state, expected):
    assert {name.removeprefix("model.") for name in state} >= expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(state[f"model.{name}"], value, rtol=1e-9, atol=1e-10, msg=name)


def exactly(**sections):
    """Sections that train in double precision, at a constant rate."""
    trainer = {"precision": "64-true", **sections.pop("trainer", {})}
    return {"schedule": {"name": "constant"}, "trainer": trainer, **sections}


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"loss": {"label_smoothing": 0.2, "contrastive_weight": 0.4, "momentum": 0.5}},
        {"trainer": {"accumulate": 4}},
        {"trainer": {"gradient_clip": 0.05}},
        {"data": {"repeat": 2}, "trainer": {"epochs": 1}},
    ],
    ids=["plain", "loss", "accumulate", "clip", "repeat"],
)
def test_weights_are_those_of_a_plain_loop(run, tiny_store, sections):
    sections = exactly(**sections)
    folder = run(**sections)
    expected, _ = steps_by_hand(parsed(tiny_store, **sections))
    assert_close_weights(weights(folder), expected)


def test_the_moving_average_is_saved_validated_and_tested(run, tiny_store):
    sections = exactly(trainer={"ema": 0.4, "epochs": 2})
    folder = run(**sections)
    current, average = steps_by_hand(parsed(tiny_store, **sections))
    saved = checkpoint(folder)
    assert_close_weights(saved["state_dict"], average)
    assert_close_weights(saved["current_model_state"], current)
    with pytest.raises(AssertionError):
        assert_close_weights(saved["state_dict"], current)

    recipe = parsed(tiny_store, **sections)
    store = open_store(recipe)
    model = build_model(recipe, test := make_dataset(recipe, store, "test"), 5)
    model.load_state_dict({**model.state_dict(), **average})
    _, scores = score_clips(model, recipe, test)
    np.testing.assert_allclose(load_scores(folder / "scores_test.npz").scores, scores.numpy(), atol=1e-6)
    single = parsed(tiny_store, **sections, pipeline={"test_clips": 1})
    validation = make_dataset(single, store, "val")
    places, scores = score_clips(model, single, validation)
    accuracy = (scores.argmax(1).numpy() == validation.labels[places]).mean()
    assert float(history(folder)[-1]["val_top1"]) == pytest.approx(accuracy, abs=1e-5)


def test_class_memory_learns_and_is_saved(run, tiny_store):
    folder = run(trainer={"epochs": 6}, optimizer={"lr": 0.2})
    recipe = parsed(tiny_store)
    start = build_model(recipe, make_dataset(recipe, open_store(recipe), "train"), 5).class_memory.memory
    memory = weights(folder)["model.class_memory.memory"]
    moved = (memory != start).any(0)
    assert moved.any() and memory.shape == (256, 5)


def test_the_recipe_decides_how_often_there_is_validation(run):
    rows = history(run(trainer={"epochs": 5, "validate_every": 2}, name="second"))
    assert [bool(row["val_top1"]) for row in rows] == [False, True, False, True, True]
    rows = history(run(trainer={"epochs": 3, "validate_every": 0}, name="last"))
    assert [bool(row["val_top1"]) for row in rows] == [False, False, True]


def stops_at(accuracies, patience):
    """Epoch after which a run stops: validations by epoch, and the epochs that may pass without a better one."""
    best, since = -1.0, 0
    for epoch, accuracy in accuracies.items():
        best, since = (accuracy, epoch) if accuracy > best else (best, since)
        if epoch - since >= patience:
            return epoch
    return None


@pytest.mark.parametrize(("patience", "every"), [(1, 1), (2, 1), (2, 2), (3, 2)])
def test_training_stops_when_validation_no_longer_improves(run, patience, every):
    # Without a learning rate only the running statistics move, and soon settle.
    folder = run(optimizer={"lr": 0}, trainer={"epochs": 40, "patience": patience, "validate_every": every})
    rows = history(folder)
    accuracies = {int(row["epoch"]): float(row["val_top1"]) for row in rows if row["val_top1"]}
    assert len(rows) == stops_at(accuracies, patience) < 40
    assert set(accuracies) == {epoch for epoch in range(1, len(rows) + 1) if epoch % every == 0}
    assert json.loads((folder / "metrics.json").read_text())["epochs"] == len(rows)


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
def test_other_precisions_train_test_and_repeat(run, precision):
    from protogcn.cli import main

    folder = run(trainer={"precision": precision, "epochs": 1})
    kind = torch.float64 if precision == "64-true" else torch.float32
    assert weights(folder)["model.classifier.weight"].dtype == kind
    before = load_scores(folder / "scores_test.npz").scores
    assert main(["test", str(folder)]) == 0
    assert (load_scores(folder / "scores_test.npz").scores == before).all()


def test_gradients_are_clipped_in_reduced_precision_too(run):
    folders = [
        run(name=name, trainer={"epochs": 1, "precision": "bf16-mixed", "gradient_clip": clip})
        for name, clip in (("free", 0.0), ("loose", 1e6), ("tight", 1e-3))
    ]
    free, loose, tight = (weights(folder) for folder in folders)
    for name, value in free.items():
        torch.testing.assert_close(loose[name], value)
    assert any(not torch.equal(free[name], tight[name]) for name in free)


@pytest.mark.parametrize(("clips", "average", "kind"), [(1, "probabilities", "logits"), (3, "logits", "logits")])
def test_scores_say_what_they_are(run, tiny_store, clips, average, kind):
    folder = run(pipeline={"test_clips": clips}, evaluation={"average": average}, trainer={"epochs": 1})
    scores = load_scores(folder / "scores_test.npz")
    assert scores.kind == kind
    recipe = parsed(tiny_store, pipeline={"test_clips": clips})
    store = open_store(recipe)
    dataset = make_dataset(recipe, store, "test")
    model = build_model(recipe, dataset, 5)
    load_weights(model, folder / "checkpoints" / "last.ckpt")
    model.eval()
    with torch.no_grad():
        views = torch.stack([model(dataset[i][0]).mean(0) for i in range(len(dataset))])
    np.testing.assert_allclose(scores.scores, views.numpy(), atol=1e-4)


def test_seed_decides_everything(run):
    first, second = run("--seed", 3, name="a"), run("--seed", 3, name="b")
    folders = [folder.with_name("j-s3") for folder in (first, second)]
    assert_same_weights(weights(folders[0]), weights(folders[1]))
    other = run("--seed", 4, name="a").with_name("j-s4")
    with pytest.raises(AssertionError):
        assert_same_weights(weights(folders[0]), weights(other))


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_every_epoch_deals_the_clips_fairly(processes):
    samplers = [ClipSampler(32, seed=1, batch_size=3, rank=rank, processes=processes) for rank in range(processes)]
    epochs = []
    for epoch in range(2):
        for sampler in samplers:
            sampler.set_epoch(epoch)
        shares = [list(sampler) for sampler in samplers]
        assert {len(share) for share in shares} == {len(samplers[0])} and len(samplers[0]) % 3 == 0
        dealt = sorted(itertools.chain.from_iterable(shares))
        assert len(set(dealt)) == len(dealt) == 32 // (3 * processes) * 3 * processes
        epochs.append(shares)
    assert epochs[0] != epochs[1]


@pytest.mark.parametrize(("size", "processes"), [(15, 2), (15, 4), (4, 4), (1, 1)])
def test_evaluation_sees_every_clip_exactly_once(size, processes):
    samplers = [ClipSampler(size, seed=None, batch_size=4, rank=rank, processes=processes) for rank in range(processes)]
    assert sorted(itertools.chain.from_iterable(samplers)) == list(range(size))
    assert [len(sampler) for sampler in samplers] == [len(list(sampler)) for sampler in samplers]


def test_too_few_clips_are_refused():
    with pytest.raises(ValueError, match=r"7 training clips .* batch of 8.*--trainer\.batch_size"):
        ClipSampler(7, seed=0, batch_size=8)
    with pytest.raises(ValueError, match=r"each of 2 processes.* or --devices"):
        ClipSampler(7, seed=0, batch_size=4, processes=2)
    with pytest.raises(ValueError, match="1 test clips are fewer than 2 processes"):
        ClipSampler(1, seed=None, batch_size=4, processes=2)


def test_splits_come_from_the_recipe_or_the_benchmark():
    assert split_names(parse_recipe({"benchmark": "ntu60_xsub"}, "t")) == ("xsub_train", "xsub_val")
    assert split_names(parse_recipe({"benchmark": "mine"}, "t")) == ("train", "test")
    chosen = parse_recipe({"benchmark": "ntu60_xsub", "data": {"train": "a", "test": "b"}}, "t")
    assert split_names(chosen) == ("a", "b")


def test_the_networks_weights_come_from_the_seed_alone(tiny_store):
    recipe = parsed(tiny_store)
    dataset = make_dataset(recipe, open_store(recipe), "train")
    torch.manual_seed(99)
    first = build_model(recipe, dataset, 5).state_dict()
    torch.manual_seed(0)
    expected = create_model("protogcn", skeleton="kinect15", num_classes=5, **NETWORK).state_dict()
    assert_same_weights(first, build_model(recipe, dataset, 5).state_dict())
    assert_same_weights(first, expected)
