"""Runs of networks that have not seen two of five classes, and the small text tower that one of them was given."""

import torch
from safetensors.torch import save_file
from tiny_runs import train, write_recipe

from protogcn.models.text.clip_text import ClipTextTransformer

UNSEEN = ["wave", "sit down"]
SEEN = ["walk", "clap", "kick"]
ONE_EPOCH = {"epochs": 1, "batch_size": 3, "eval_batch_size": 4}


def train_narrowed(folder, store):
    """Train a network with a linear head for an epoch; gives the run folder."""
    recipe = write_recipe(folder, store, trainer=ONE_EPOCH)
    assert train(recipe, folder / "runs", f"--data.unseen=[{', '.join(UNSEEN)}]") == 0
    return folder / "runs" / "tiny" / "protogcn" / "j"


def write_text_weights(folder):
    """A text tower of CLIP's form with fixed weights, which knows no language but tells names apart."""
    torch.manual_seed(0)
    tower = ClipTextTransformer(width=32, heads=2, layers=1, embed_dim=16)
    path = folder / "text.safetensors"
    save_file({name: value.contiguous() for name, value in tower.state_dict().items()}, path)
    return f"{path}:heads=2,activation=quick_gelu"


def train_with_text_head(folder, store, **options):
    """Train for an epoch; gives the run folder and what to say of the text encoder."""
    encoder = write_text_weights(folder)
    head = {"head": "clip", "text_encoder": encoder, "prompts": ["{}", "a person, {}"], **options}
    recipe = write_recipe(
        folder,
        store,
        data={"unseen": UNSEEN},
        model={"name": "stgcnpp", "options": {"base_channels": 8, **head}},
        trainer=ONE_EPOCH,
    )
    assert train(recipe, folder / "runs") == 0
    return folder / "runs" / "tiny" / "stgcnpp" / "j", encoder
