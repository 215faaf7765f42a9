"""What a user can get wrong, through the command line: one paragraph that says what was got and what to type."""

import pickle
import shutil

import numpy as np
import pytest
import torch
from tiny_runs import error_of, train, weights, write_recipe

from protogcn.cli import main
from protogcn.data.store import Clip, ClipStore, write_store
from protogcn.evaluation.scores import load_scores


class Bomb:
    """Creates a file when it is unpickled without care."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.fixture
def refused(capsys):
    """Run a command that must fail with one message that holds some words."""

    def refused(words, *expected):
        capsys.readouterr()
        assert main([str(word) for word in words]) == 2
        message = error_of(capsys)
        assert all(str(part) in message for part in expected), message
        return message

    return refused


@pytest.fixture
def copied(tmp_path, tiny_store):
    """A copy of the store to damage."""
    return shutil.copytree(tiny_store, tmp_path / "damaged")


def train_words(recipe, runs, *words):
    return ["train", recipe, "--runs", runs, "--accelerator", "cpu", *words]


@pytest.mark.parametrize("name", ["keypoints.npy", "index.npz", "store.json"])
@pytest.mark.parametrize("damage", ["half", "empty", "absent"])
def test_a_truncated_store(tmp_path, copied, tiny_yaml, refused, name, damage):
    path = copied / name
    content = path.read_bytes()
    path.unlink() if damage == "absent" else path.write_bytes(content[: len(content) // 2] if damage == "half" else b"")
    refused(["data", "show", copied], "damaged")
    refused(train_words(tiny_yaml, tmp_path / "runs", "--data.store", copied), "damaged", "protogcn data")


def test_altered_bytes_are_found_by_the_checksum(copied, refused):
    path = copied / "keypoints.npy"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    refused(["data", "show", copied], "checksum")


def test_a_malicious_pickle_is_not_run(tmp_path, tiny_yaml, refused):
    harm = tmp_path / "harm"
    bomb = tmp_path / "annotations.pkl"
    bomb.write_bytes(pickle.dumps({"split": {"xsub_train": ["a"]}, "annotations": [Bomb(harm)]}))
    refused(["data", "prepare", "ntu60_xsub", bomb, tmp_path / "store"], bomb, "open")
    scores = tmp_path / "scores.pkl"
    scores.write_bytes(pickle.dumps([np.ones(5), Bomb(harm)]))
    refused(["ensemble", scores, scores], scores, "open")
    arrays = tmp_path / "scores.npz"
    np.savez(arrays, scores=np.array([Bomb(harm)], dtype=object))
    refused(["ensemble", arrays, arrays], arrays)
    assert not harm.exists() and not (tmp_path / "store").exists()


def test_a_malicious_checkpoint_is_not_run(tmp_path, tiny_yaml, refused):
    assert train(tiny_yaml, tmp_path, "--trainer.epochs", 1) == 0
    folder, harm = tmp_path / "tiny" / "protogcn" / "j", tmp_path / "harm"
    torch.save({"state_dict": Bomb(harm), "history": []}, folder / "checkpoints" / "last.ckpt")
    refused(["test", folder], "last.ckpt", "--fresh")
    assert not harm.exists()


def odd_store(path, keypoints, name="odd"):
    """Twelve clips of two classes, of which the last of both splits is odd."""
    rng = np.random.default_rng(0)
    clips = [Clip(rng.normal(size=(1, 12, 15, 3)).astype(np.float32), i % 2, f"clip{i}") for i in range(10)]
    clips += [Clip(keypoints, 0, f"{name} train"), Clip(keypoints, 1, f"{name} test")]
    train_ids = [clip.id for clip in clips[:6]] + [f"{name} train"]
    test_ids = [clip.id for clip in clips[6:10]] + [f"{name} test"]
    splits = {"xsub_train": train_ids, "xsub_test": test_ids}
    return write_store(path, clips, skeleton="kinect15", class_names=["one", "two"], splits=splits)


def nan_joints():
    keypoints = np.random.default_rng(1).normal(size=(1, 9, 15, 3)).astype(np.float32)
    keypoints[0, 2:4, 5] = np.nan
    keypoints[0, 6, :, 1] = np.nan
    return keypoints


@pytest.mark.parametrize(
    ("keypoints", "kept"),
    [
        (np.ones((1, 1, 15, 3), np.float32) * np.arange(15, dtype=np.float32)[:, None], 5),
        (nan_joints(), 5),
        (np.zeros((1, 7, 15, 3), np.float32), 4),
    ],
    ids=["one frame", "NaN joints", "nobody"],
)
@pytest.mark.parametrize("protocol", ["protogcn_3d", "nw_ucla"])
def test_odd_clips_train_and_test(tmp_path, keypoints, kept, protocol):
    store = odd_store(tmp_path / "store", keypoints)
    recipe = write_recipe(tmp_path, tmp_path / "store", pipeline={"protocol": protocol}, trainer={"batch_size": 3})
    assert train(recipe, tmp_path / "runs", "--trainer.epochs", 1, "--stream", "bm") == 0
    folder = tmp_path / "runs" / "tiny" / "protogcn" / "bm"
    scores = load_scores(folder / "scores_test.npz")
    assert len(scores.ids) == kept == len(store.split("xsub_test")) and np.isfinite(scores.scores).all()
    assert all(torch.isfinite(value).all() for value in weights(folder).values())


def test_own_clips_with_nobody_and_nan(tmp_path, capsys):
    source = tmp_path / "clips"
    for label, name in enumerate(("wave", "kick")):
        (source / name).mkdir(parents=True)
        for index in range(2):
            np.save(source / name / f"{index}.npy", np.random.default_rng(label).normal(size=(6, 15, 3)))
    np.save(source / "wave" / "nobody.npy", np.zeros((5, 15, 3)))
    np.save(source / "kick" / "lost.npy", np.where(np.arange(15)[:, None] == 4, np.nan, np.ones((5, 15, 3))))
    assert main(["data", "prepare", "own", str(source), str(tmp_path / "store"), "--skeleton", "kinect15"]) == 0
    out = capsys.readouterr().out
    assert "nobody" in out and "5 clips" in out
    store = ClipStore.open(tmp_path / "store")
    lost = store[next(i for i, name in enumerate(store.ids) if "lost" in name)].keypoints
    assert not lost[:, :, 4].any() and (lost[:, :, 3] == 1).all()


def test_classes_that_do_not_fit(tmp_path, tiny_yaml, tiny_store, refused):
    words = train_words(tiny_yaml, tmp_path, "--benchmark", "nw_ucla")
    refused(words, "5 classes", "nw_ucla has 10", "--data.store", "--benchmark")
    assert not list(tmp_path.rglob("*.ckpt"))
    assert train(tiny_yaml, tmp_path, "--trainer.epochs", 1) == 0
    odd_store(tmp_path / "two", nan_joints())
    folder = tmp_path / "tiny" / "protogcn" / "j"
    refused(["test", folder, "--store", tmp_path / "two"], "last.ckpt", "(5, ", "(2, ", "--store")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--stream", "bn"], ["unknown stream 'bn'", "'b'"]),
        (["--streams", "j,mb"], ["unknown stream 'mb'", "did you mean", "bm, km"]),
        (["--streams", "j,j"], ["j,b,k,jm,bm,km"]),
        (["--streams", ","], ["j,b,k,jm,bm,km"]),
        (["--optimizer.learning_rate=1"], ["--optimizer.learning_rate", "--optimizer.lr"]),
        (["--trainer.epochs", "ten"], ["trainer.epochs", "ten"]),
        (["--seed", "-4"], ["seed"]),
        (["--devices", "0"], ["--devices"]),
        (["--num-nodes", "0"], ["--num-nodes"]),
        (["--name", "../elsewhere"], ["--name"]),
        (["--model.name", "protogc"], ["'protogc'", "'protogcn'"]),
        (["--model.options.base_chanels", "8"], ["base_chanels", "base_channels"]),
        (["--model.options.base_channels", "10"], ["base_channels", "10", "4"]),
        (["--loss.contrastive_wait", "8"], ["contrastive_wait", "contrastive_weight"]),
        (["--data.store", ""], ["names no store", "protogcn data prepare", "--data.store"]),
        (["--data.store", "nowhere"], ["nowhere", "protogcn data"]),
        (["--data.train", "xsub_trian"], ["xsub_trian", "'xsub_train'"]),
        (["--data.test", "val"], ["split 'val'", "xsub_test"]),
        (["--trainer.batch_size", "31"], ["30 training clips", "--trainer.batch_size"]),
        (["--pipeline.protocol", "protogcn_2d"], ["protogcn_2d", "kinect15"]),
        (["--pipeline.kbone", "grandfather"], ["grandfather", "grandparent"]),
        (["surplus"], ["surplus"]),
    ],
    ids=lambda value: " ".join(value) if value and value[0].startswith("--") else None,
)
def test_options_of_train(tmp_path, tiny_yaml, refused, words, expected):
    refused(train_words(tiny_yaml, tmp_path, *words), *expected)
    assert not list(tmp_path.rglob("*.ckpt"))


def test_a_config_typo(tmp_path, tiny_store, refused):
    path = write_recipe(tmp_path, tiny_store, optimiser={"lr": 1})
    refused(train_words(path, tmp_path), "tiny.yaml", "'optimiser'", "'optimizer'")
    path = write_recipe(tmp_path, tiny_store, trainer={"batchsize": 1})
    refused(train_words(path, tmp_path), "'batchsize'", "'batch_size'")
    path.write_text("benchmark: [")
    refused(train_words(path, tmp_path), "tiny.yaml", "YAML")


def test_what_is_missing(tmp_path, tiny_yaml, refused):
    refused(["train", tmp_path / "none.yaml"], "none.yaml", "configs/")
    refused(["train", "configs/nw_ucla/proto.yaml"], "configs/nw_ucla/protogcn.yaml")
    refused(["data", "show", tmp_path / "none"], tmp_path / "none")
    refused(["data", "prepare", "nw_ucla", tmp_path / "none.zip", tmp_path / "store"], "none.zip")
    refused(["data", "prepare", "nwucla", tiny_yaml, tmp_path / "store"], "'nw_ucla'")
    refused(["data", "prepare", "own", tiny_yaml, tmp_path / "store"], "--skeleton")
    refused(["data", "synthetic", tmp_path / "store", "--skeleton", "coc17"], "coco17")
    refused(["ensemble", tmp_path / "none.npz", tmp_path / "none.npz"], "none.npz")
    refused(["test", tmp_path], tmp_path, "no run folder", "protogcn train")
    assert train(tiny_yaml, tmp_path, "--trainer.epochs", 1) == 0
    folder = tmp_path / "tiny" / "protogcn" / "j"
    refused(["test", folder.with_name("b")], "no run folder", folder)
    refused(["test", folder, "--checkpoint", "bets"], "'bets'", "'best'")
    refused(["test", folder, "--device", "cuda:99"], "cuda:99", "cpu")
    refused(["test", folder, "--device", "gpu"], "gpu", "cpu")
    for damage in ("", "[]", "{"):
        (folder / "metrics.json").write_text(damage)
        refused(["test", folder], "metrics.json is damaged", f"protogcn test {folder}")
    (folder / "metrics.json").unlink()
    (folder / "checkpoints" / "last.ckpt").unlink()
    refused(["test", folder], "'last'", "best")
    shutil.rmtree(folder / "checkpoints")
    # What is left is a saved model, which can be tested on any store.
    refused(["test", folder], "--store")
    (folder / "model.safetensors").unlink()
    refused(["test", folder], "none has been written yet")


def test_a_store_is_not_overwritten(tiny_store, refused, monkeypatch):
    # Before any clip is made.
    monkeypatch.setattr("protogcn.data.synthetic.generate", None)
    refused(["data", "synthetic", tiny_store], tiny_store, "--overwrite")
    assert len(ClipStore.open(tiny_store)) == 45


def test_score_files_of_different_clips(tmp_path, tiny_yaml, refused):
    assert train(tiny_yaml, tmp_path, "--trainer.epochs", 1) == 0
    words = ("--trainer.epochs", 1, "--data.test", "xview_test", "--name", "other")
    assert train(tiny_yaml, tmp_path, *words) == 0
    files = [tmp_path / "tiny" / name / "j" / "scores_test.npz" for name in ("protogcn", "other")]
    refused(["ensemble", *files], "30")
    files[1].write_bytes(files[1].read_bytes()[:300])
    refused(["ensemble", *files], files[1])
