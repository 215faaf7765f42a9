"""CLIP text towers from weights on this machine: OpenAI's, open_clip's and Hugging Face's names and folders."""

import json
import re
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from protogcn.models.checkpoints import read_state_dict
from protogcn.models.text.clip_config import TowerSettings, read_settings
from protogcn.models.text.clip_text import ClipTextTransformer
from protogcn.models.text.transformer import Activation

# What to look for in a folder, in this order: several of them hold the same weights.
FILES = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
# Beside the weights in the state dicts of OpenAI's archives, and of no use here.
BOOKKEEPING = ("input_resolution", "context_length", "vocab_size")
HEAD_WIDTH = 64

_HUGGING_FACE = (
    (r"text_model\.embeddings\.token_embedding\.weight", "token_embedding.weight"),
    (r"text_model\.embeddings\.position_embedding\.weight", "positional_embedding"),
    (r"text_model\.final_layer_norm\.", "ln_final."),
    (r"text_model\.encoder\.layers\.(\d+)\.", r"transformer.resblocks.\1."),
    (r"\.self_attn\.out_proj\.", ".attn.out_proj."),
    (r"\.layer_norm([12])\.", r".ln_\1."),
    (r"\.mlp\.fc1\.", ".mlp.c_fc."),
    (r"\.mlp\.fc2\.", ".mlp.c_proj."),
)


def load_clip_text(
    path: str | Path, *, activation: Activation | None = None, heads: int | None = None
) -> ClipTextTransformer:
    """Build a text tower with the weights of a file or folder; sizes are told from the weights.

    Known are the state dicts of OpenAI, of open_clip (``CLIP`` and ``CustomTextCLIP``) and of Hugging Face
    (``CLIPModel`` and ``CLIPTextModelWithProjection``), as safetensors or PyTorch files, in pieces with an index too.
    Half precision becomes single. A ``config.json`` or ``open_clip_config.json`` in the folder is heeded.

    Args:
        path: a file, or a folder with one.
        activation: None: what the configuration says; without one ``"quick_gelu"``, as OpenAI trained.
        heads: attention heads; None: what the configuration says, without one width / 64.

    Raises:
        FileNotFoundError: no such file, or a folder without weights.
        ValueError: no text tower in it, one of another kind, or a file that would run code when loaded.
    """
    file, state = read_clip(path)
    settings = read_settings(file.parent)
    bookkept = set(BOOKKEEPING) <= set(state)
    tower, family = _text_half(file, state)
    if activation is None and settings.activation is None and not (family == "OpenAI" and bookkept):
        warnings.warn(
            f"{file} does not say its activation; OpenAI's quick_gelu is assumed. Weights that open_clip trained "
            f"without '-quickgelu' in their name need '{path}:activation=gelu'",
            UserWarning,
            stacklevel=2,
        )
    return _build(file, tower, settings, activation, heads)


def read_clip(path: str | Path) -> tuple[Path, dict[str, Tensor]]:
    """The file of weights that a path means, and the weights in it by the names they have there.

    Args:
        path: a file, or a folder with one.

    Raises:
        FileNotFoundError: no such file, or a folder without weights.
        ValueError: a damaged file, or one that would run code when loaded.
    """
    path = Path(path).expanduser()
    file = _find(path) if path.is_dir() else path
    return file, _read(file)


def _find(folder: Path) -> Path:
    for name in FILES:
        if (folder / name).is_file():
            return folder / name
    found = sorted(file for file in folder.iterdir() if file.suffix in SUFFIXES and file.is_file())
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(f"{folder} holds several weights; pass one of them: {', '.join(map(str, found[:8]))}")
    raise FileNotFoundError(
        f"{folder} holds no weights: none of {', '.join(FILES)}, nor one file *{', *'.join(SUFFIXES)}"
    )


def _read(file: Path) -> dict[str, Tensor]:
    if file.name.endswith(".index.json"):
        return _read_pieces(file)
    if _is_program(file):
        plain = file.with_name(f"{file.stem}_state.pt").name
        raise ValueError(
            f"{file} is a TorchScript archive: a program beside its weights, as OpenAI publishes CLIP, and loading it "
            "runs that program, so it was not loaded. If you trust where it comes from, turn it into a plain state "
            'dict: python -c "import torch; '
            f"torch.save(torch.jit.load('{file.name}', map_location='cpu').state_dict(), "
            f"'{plain}')\", and pass {plain}"
        )
    return read_state_dict(file)


def _is_program(file: Path) -> bool:
    if not zipfile.is_zipfile(file):
        return False
    try:
        with zipfile.ZipFile(file) as archive:
            return any(re.fullmatch(r"[^/]+/(code/.*|constants\.pkl)", name) for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise ValueError(f"{file} is a damaged archive ({error}): copy it again") from error


def _read_pieces(index: Path) -> dict[str, Tensor]:
    try:
        places = json.loads(index.read_text()).get("weight_map")
        names = sorted(set(places.values()))
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise ValueError(f"{index} is no index of weights (names to files under weight_map): copy it again") from error
    state: dict[str, Tensor] = {}
    for name in names:
        if not isinstance(name, str) or Path(name).name != name:
            raise ValueError(f"{index} names the file {name!r}, which does not lie beside it")
        state |= read_state_dict(index.with_name(name))
    return state


def _text_half(file: Path, state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """The entries of the text tower under OpenAI's names, and whose names they had."""
    if any(name.startswith("text_model.") for name in state):
        return _from_hugging_face(file, state), "Hugging Face"
    prefix, family = ("text.", "open_clip") if "text.token_embedding.weight" in state else ("", "OpenAI")
    if f"{prefix}token_embedding.weight" not in state:
        bare = "embeddings.token_embedding.weight" in state
        hint = " (a CLIPTextModel without its projection? save CLIPTextModelWithProjection)" if bare else ""
        raise ValueError(
            f"{file} holds no text tower of CLIP{hint}: none of token_embedding.weight (OpenAI, open_clip), "
            "text.token_embedding.weight (open_clip), text_model.embeddings.token_embedding.weight (Hugging Face) is "
            f"in it; it starts with {', '.join(list(state)[:3])}"
        )
    half = ("positional_embedding", "text_projection", "token_embedding.", "transformer.", "ln_final.")
    # Of the names without prefix the image tower has its own, and so have a few scalars.
    wanted = prefix or half
    names = [name for name in state if name.startswith(wanted)]
    tower = {name.removeprefix(prefix): state[name] for name in names}
    # A mask that is computed, where a version saved it.
    tower.pop("attn_mask", None)
    return tower, family


def _from_hugging_face(file: Path, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    named = {
        name: value
        for name, value in state.items()
        if name.startswith("text_model.") and not name.endswith(".position_ids")
    }
    tower: dict[str, Tensor] = {}
    for name, value in named.items():
        if thirds := re.fullmatch(r"text_model\.encoder\.layers\.(\d+)\.self_attn\.([qkv])_proj\.(weight|bias)", name):
            layer, _, kind = thirds.groups()
            sources = [f"text_model.encoder.layers.{layer}.self_attn.{word}_proj.{kind}" for word in "qkv"]
            if all(source in named and named[source].shape == value.shape for source in sources):
                own = f"transformer.resblocks.{layer}.attn.in_proj_{kind}"
                tower[own] = torch.cat([named[source] for source in sources])
            continue
        own = name
        for pattern, replacement in _HUGGING_FACE:
            own = re.sub(pattern, replacement, own)
        tower[own] = value
    projection = state.get("text_projection.weight")
    if projection is None or projection.ndim != 2:
        raise ValueError(
            f"{file} has no text_projection.weight, so its texts cannot be compared with images: save a CLIPModel or a "
            "CLIPTextModelWithProjection, not a CLIPTextModel"
        )
    tower["text_projection"] = projection.T.contiguous()
    return tower


def _build(
    file: Path, state: dict[str, Tensor], settings: TowerSettings, activation: Activation | None, heads: int | None
) -> ClipTextTransformer:
    sizes = _sizes(file, state)
    width = sizes["width"]
    heads = heads if heads is not None else settings.heads
    if heads is None and width % HEAD_WIDTH == 0:
        heads = width // HEAD_WIDTH
    if heads is None or heads < 1 or width % heads:
        got = "" if heads is None else f" for {heads} heads"
        raise ValueError(
            f"{file} has a width of {width}{got}; CLIP has width / {HEAD_WIDTH} heads. Say which divisor of {width} it "
            f"was trained with: '{file}:heads=4'"
        )
    # Weights are put in place, so no numbers need drawing first.
    with torch.device("meta"):
        tower = ClipTextTransformer(
            **sizes,
            heads=heads,
            activation=activation or settings.activation or "quick_gelu",
            norm_eps=settings.norm_eps,
        )
    expected = {name: value.shape for name, value in tower.state_dict().items()}
    check_fit(f"the text tower in {file} is not CLIP's, whole and in one of its published forms", expected, state)
    tower.load_state_dict({name: value.float() for name, value in state.items()}, assign=True)
    return tower.eval()


def _sizes(file: Path, state: Mapping[str, Tensor]) -> dict[str, int]:
    shapes = {}
    for name in ("token_embedding.weight", "positional_embedding", "text_projection"):
        if name not in state or state[name].ndim != 2:
            raise ValueError(f"{file} has no matrix {name}, so it holds no whole text tower of CLIP")
        shapes[name] = state[name].shape
    numbers = {int(found[1]) for name in state if (found := re.match(r"transformer\.resblocks\.(\d{1,4})\.", name))}
    if not numbers:
        raise ValueError(f"{file} has no transformer.resblocks, so its text tower is of another kind than CLIP's")
    vocab_size, width = shapes["token_embedding.weight"]
    return {
        "context_length": shapes["positional_embedding"][0],
        "vocab_size": vocab_size,
        "width": width,
        "layers": len(numbers),
        "embed_dim": shapes["text_projection"][1],
    }


def check_fit(complaint: str, expected: Mapping[str, torch.Size], state: Mapping[str, Tensor]) -> None:
    """Refuse weights whose names, shapes or values are not those of a network.

    Args:
        complaint: how the message begins.
        expected: every name and its shape.
        state: the weights.

    Raises:
        ValueError: naming the first problems.
    """
    problems = [f"missing: {name}" for name in sorted(set(expected) - set(state))]
    problems += [f"not known: {name}" for name in sorted(set(state) - set(expected))]
    for name in sorted(set(state) & set(expected)):
        value = state[name]
        if value.shape != expected[name]:
            problems.append(f"{name} has shape {tuple(value.shape)}, expected {tuple(expected[name])}")
        elif not value.is_floating_point() or not bool(value.isfinite().all()):
            problems.append(f"{name} holds values that are no finite numbers")
    if problems:
        raise ValueError(f"{complaint}; nothing was loaded:\n  {_shortened(problems)}")


def _shortened(lines: Iterable[str], most: int = 8) -> str:
    lines = list(lines)
    more = [f"and {len(lines) - most} more"] if len(lines) > most else []
    return "\n  ".join(lines[:most] + more)
