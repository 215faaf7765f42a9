"""The parts of a fusion from what is named on a command line: files, folders, matrices inside a file."""

import fnmatch
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from protogcn.evaluation.blocks import in_threads
from protogcn.evaluation.clip_list import ClipList, read_clip_list
from protogcn.evaluation.contents import Contents
from protogcn.evaluation.foreign import label_contents, open_scores, split_array
from protogcn.evaluation.scores import ScoreFile

__all__ = ["parse_weights", "read_parts"]

_SUFFIXES = (".npy", ".npz", ".pkl", ".pickle")
# The file that a run leaves of its test split: where a folder holds any, its other files are of no concern.
_OF_A_RUN = "scores_test.npz"


@dataclass(frozen=True, eq=False)
class _Part:
    """One stream of one file, before it is known where its labels come from."""

    name: str
    path: Path
    content: ScoreFile | Contents
    stream: str = ""

    def answers_to(self, pattern: str) -> bool:
        """Whether a pattern is or matches the name, its last word, or the end of the path."""
        words = self.path.with_suffix("").parts
        tails = ["/".join(words[start:]) for start in range(len(words))]
        names = [self.name, self.name.rpartition("/")[2], *tails, *(f"{tail}/{self.stream}" for tail in tails)]
        return any(fnmatch.fnmatchcase(name, pattern) for name in names)


def read_parts(
    files: Sequence[str | Path],
    *,
    patterns: Sequence[str] = (),
    names: Sequence[str] | None = None,
    labels: str | Path | None = None,
    split: str | None = None,
    kind: str | None = None,
) -> tuple[list[str], list[ScoreFile]]:
    """Names and scores of all parts of a fusion; each file is opened once.

    Args:
        files: score files of ours or of other projects (protogcn.evaluation.foreign), and folders of them. A file of
            several streams gives all of them, "file.npz:name" one.
        patterns: shell patterns that pick parts by name, by the end of the name, or by path; all where there are none.
            The parts come in the order of the patterns.
        names: of the parts, instead of their own. Parts whose own names agree are told apart by their paths.
        labels: file with the true classes (protogcn.evaluation.clip_list), for files that carry none; else those of the
            first file that does.
        split: inside `labels`, if that is a file of PYSKL annotations.
        kind: "logits" or "probabilities", for files that do not say; detected by default.

    Raises:
        ValueError: a file that cannot be read, a pattern without match, or labels that are missing or do not fit.
        OSError: a file is not there.
    """
    paths = [path for file in files for path in _files_below(file, labels)]
    opened = in_threads(open_scores, paths)
    clips = read_clip_list(labels, split) if labels else _first_clips(opened)
    parts = [part for path, content in zip(paths, opened, strict=True) for part in _parts_of(path, content)]
    parts = _pick(_told_apart(parts), patterns)
    if names and len(names) != len(parts):
        what = "files" if len(parts) == len(files) else f"parts ({', '.join(part.name for part in parts)})"
        raise ValueError(f"got {len(names)} names for {len(parts)} {what}")
    if names:
        parts = [replace(part, name=name) for part, name in zip(parts, names, strict=True)]
    return [part.name for part in parts], in_threads(lambda part: _labelled(part, clips, kind), parts)


def parse_weights(tokens: Sequence[str], names: Sequence[str]) -> list[float]:
    """Weights of parts from words: one number per part, or NAME=NUMBER for every part.

    NAME may be the last word of a name, or a pattern; the first that fits counts.

    Raises:
        ValueError: a word is no number, or a part has no weight or a name no part.
    """
    pairs = [token.rpartition("=") for token in tokens]
    try:
        values = [float(value) for _, _, value in pairs]
    except ValueError:
        raise ValueError(f"weights must be numbers, got {' '.join(tokens)}") from None
    patterns = [name for name, _, _ in pairs]
    if not any(patterns):
        if len(values) != len(names):
            raise ValueError(
                f"got {len(values)} weights for {len(names)} score files; give one per file, in the same order"
            )
        return values
    if not all(patterns):
        raise ValueError("either all weights have a name, as in j=2 b=2, or none")

    def fits(name: str, pattern: str) -> bool:
        return fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(name.rpartition("/")[2], pattern)

    for pattern in patterns:
        if not any(fits(name, pattern) for name in names):
            raise ValueError(f"there is a weight for {pattern!r}, but the parts are {', '.join(names)}")
    found = [next((i for i, pattern in enumerate(patterns) if fits(name, pattern)), None) for name in names]
    bare = [name for name, place in zip(names, found, strict=True) if place is None]
    if bare:
        raise ValueError(f"no weight for {', '.join(bare)}; write {bare[0]}=0 to leave one out")
    return [values[place] for place in found if place is not None]


def _files_below(file: str | Path, labels: str | Path | None) -> list[str]:
    folder = Path(file)
    if not folder.is_dir():
        return [str(file)]
    found = sorted(path for path in folder.rglob("*") if path.suffix in _SUFFIXES and path.is_file())
    found = [path for path in found if labels is None or not path.samefile(labels)]
    found = [path for path in found if path.name == _OF_A_RUN] or found
    if not found:
        raise ValueError(f"the folder {folder} holds no score files ({', '.join(_SUFFIXES)})")
    return [str(path) for path in found]


def _first_clips(opened: Sequence[ScoreFile | Contents]) -> ClipList | None:
    """Labels of the first file that has them, of those with names if there are any."""
    found = [
        ClipList(content.labels, content.ids, content.class_names) if isinstance(content, ScoreFile) else content.clips
        for content in opened
    ]
    known = [clips for clips in found if clips is not None]
    return next((clips for clips in known if clips.ids is not None), known[0] if known else None)


def _parts_of(path: str, content: ScoreFile | Contents) -> list[_Part]:
    file, array = split_array(path)
    if isinstance(content, ScoreFile):
        return [_Part(content.name, file, content)]
    if array and array not in content.matrices:
        raise ValueError(
            f"{file} holds no matrix {array!r}; write {file.name}:NAME with NAME one of {', '.join(content.matrices)}."
        )
    return [_Part(name, file, content, name) for name in ([array] if array else content.matrices)]


def _told_apart(parts: Sequence[_Part]) -> list[_Part]:
    """Parts under different names; where their own agree, the folders say which is which."""
    counts = Counter(part.name for part in parts)
    alike = [part for part in parts if counts[part.name] > 1]
    if not alike:
        return list(parts)
    words = [(*part.path.with_suffix("").parts, *([part.stream] if part.stream else [])) for part in alike]
    words = [tuple(word for place, word in enumerate(own) if place not in _shared(words, own)) for own in words]
    named = dict(zip(map(id, alike), ("/".join(own) for own in words), strict=True))
    result = [replace(part, name=named.get(id(part)) or part.name) for part in parts]
    twice = [name for name, count in Counter(part.name for part in result).items() if count > 1]
    return [
        replace(part, name=f"{part.name} ({place})") if part.name in twice else part
        for place, part in enumerate(result, start=1)
    ]


def _shared(words: Sequence[tuple[str, ...]], own: tuple[str, ...]) -> set[int]:
    """Places in `own` that say the same for all: at the front, and at the end."""
    shortest = min(map(len, words))
    front = next((i for i in range(shortest) if len({word[i] for word in words}) > 1), shortest)
    back = next((i for i in range(shortest) if len({word[-1 - i] for word in words}) > 1), shortest)
    return {*range(front), *range(len(own) - back, len(own))}


def _pick(parts: Sequence[_Part], patterns: Sequence[str]) -> list[_Part]:
    if not patterns:
        return list(parts)
    chosen: dict[int, _Part] = {}
    for pattern in patterns:
        matches = [part for part in parts if part.answers_to(pattern)]
        if not matches:
            raise ValueError(f"no part is called {pattern!r}; there are {', '.join(part.name for part in parts)}")
        chosen |= {id(part): part for part in matches if id(part) not in chosen}
    return list(chosen.values())


def _labelled(part: _Part, clips: ClipList | None, kind: str | None) -> ScoreFile:
    if isinstance(part.content, ScoreFile):
        return part.content
    single = len(part.content.matrices) == 1
    path = str(part.path) if single else f"{part.path}:{part.stream}"
    return label_contents(part.content, part.stream, path, clips=clips, kind=kind, name=part.name)
