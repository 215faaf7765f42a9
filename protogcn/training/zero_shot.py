"""Recognition of actions by their names alone, or by a few examples, with a saved model."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from graphs.messages import unknown
from protogcn.data.class_split import unseen_classes
from protogcn.evaluation.zero_shot import Episodes, few_shot
from protogcn.evaluation.zero_shot_report import Found, judge, probabilities
from protogcn.models.text_bank import TextBank
from protogcn.training.evaluate import kind_of_scores
from protogcn.training.loaders import split_names
from protogcn.training.zero_shot_model import Subject, embed, outputs, score_names, set_names


def choose_unseen(subject: Subject, spec: str | Sequence[str] | None = None) -> tuple[str, ...]:
    """The unseen classes of a comparison: those that are named, else what of the store the model was not trained on.

    Raises:
        FileNotFoundError: no such split file.
        ValueError: an unknown class, or nothing is named and nothing can be told from the model.
    """
    names = subject.store.class_names
    if spec is not None:
        return unseen_classes(spec, names, subject.recipe.benchmark)
    if not subject.trained:
        raise ValueError(
            f"{subject.path} does not say which classes it was trained on: name the unseen ones by --unseen a,b or "
            "--classes <split file>"
        )
    unseen = tuple(name for name in names if name not in subject.trained)
    if not unseen:
        raise ValueError(
            f"{subject.path} was trained on all {len(names)} classes of {subject.store.path}: train without some by "
            "--data.unseen=<split file>, or name those to set apart by --unseen a,b"
        )
    return unseen


def compare(
    subject: Subject,
    unseen: Sequence[str],
    *,
    text_encoder: str = "",
    prompts: Sequence[str] | None = None,
    gamma: float | None = None,
    shots: int | None = None,
    episodes: int = 100,
    seed: int = 0,
) -> Found:
    """Recognise clips of unseen classes among their names, and all clips among all names.

    Unseen clips are compared with the names of unseen classes where there are two or more of these, and clips of all
    classes with all names where there are seen ones. Clips of classes that are neither unseen nor of the training are
    left out. With ``shots``, clips of unseen classes are recognised by examples too; then no text head is needed.

    Args:
        subject: the model and the clips.
        unseen: classes of the store.
        text_encoder, prompts: see :func:`set_names`.
        gamma: of calibrated stacking: a probability taken from the seen classes.
        shots: examples of each class in few-shot recognition; None leaves it out.
        episodes, seed: of few-shot recognition.

    Raises:
        FileNotFoundError: no such text weights.
        ValueError: no text head, no clips, too few examples, or what :func:`set_names` says.
    """
    names = subject.store.class_names
    seen = [name for name in names if name not in unseen and (not subject.trained or name in subject.trained)]
    both = [name for name in names if name in unseen or name in seen]
    rows = rows_of(subject, unseen, unseen=True)
    if not len(rows):
        split = split_names(subject.recipe)[1]
        raise ValueError(f"the split {split} of {subject.store.path} holds no clip of {', '.join(unseen)}")
    drawn = None
    if shots is not None:
        found, queries = few_shot_episodes(subject, unseen, shots, episodes, seed)
        drawn = (found, shots, queries)
        if not isinstance(subject.model.classifier, TextBank):
            return judge(unseen, None, None, episodes=drawn)
    among_unseen = among_all = None
    if len(unseen) > 1:
        set_names(subject, list(unseen), text_encoder, prompts)
        among_unseen = score_names(subject, rows, list(unseen), "zero-shot")
    others = rows_of(subject, seen, unseen=False)
    if len(others):
        set_names(subject, both, text_encoder, prompts)
        among_all = score_names(subject, np.sort(np.concatenate([rows, others])), both, "generalised zero-shot")
    if among_unseen is None and among_all is None:
        raise ValueError(f"one unseen class and no clip of a seen one: every answer is {unseen[0]!r}")
    return judge(unseen, among_unseen, among_all, gamma, drawn)


def few_shot_episodes(
    subject: Subject, unseen: Sequence[str], shots: int, episodes: int, seed: int = 0
) -> tuple[Episodes, int]:
    """Recognise clips of unseen classes by the nearest mean of a few examples, over seeded episodes.

    Examples are drawn from the clips of these classes outside the tested split, and all clips inside it are recognised;
    where clips count wherever they lie, they are drawn from all, and the others recognised.

    Returns:
        The accuracies, and how many clips are recognised.

    Raises:
        ValueError: too few clips of a class; the message names it.
    """
    everywhere = dataclasses.replace(subject, everything=True)
    rows = rows_of(everywhere, unseen, unseen=True)
    tested = np.isin(rows, rows_of(subject, unseen, unseen=True))
    support = np.ones(len(rows), dtype=bool) if subject.everything else ~tested
    for name in unseen:
        own = subject.store.labels[rows] == subject.store.class_names.index(name)
        there = np.count_nonzero(own & support)
        if there < shots or (subject.everything and there <= shots):
            where = "" if subject.everything else " outside the tested split"
            raise ValueError(
                f"{subject.store.path} has {there} clips of {name!r}{where}, too few for {shots} examples: lower "
                "--shots" + ("" if subject.everything else ", or take --split all")
            )
    features = embed(subject, rows).astype(np.float64)
    labels = subject.store.labels[rows]
    found = few_shot(features, labels, support, tested, shots=shots, episodes=episodes, seed=seed)
    return found, int(tested.sum())


def name_clips(
    subject: Subject, ids: Sequence[str], names: Sequence[str], top: int = 5
) -> list[tuple[str, list[tuple[str, float]]]]:
    """The most probable of any names, which the model has at present, for clips of the store.

    Args:
        subject: the model and the clips.
        ids: of the clips; none for all of the tested split.
        names: see :func:`set_names`.
        top: how many names to give.

    Returns:
        (id, [(name, probability), ...]) of each clip, the most probable name first.

    Raises:
        ValueError: no such clip; the message lists near matches.
    """
    place = {name: row for row, name in enumerate(subject.store.ids)}
    for name in ids:
        if name not in place:
            raise ValueError(f"{subject.store.path}: {unknown('clip', name, place)}")
    rows = np.array([place[name] for name in ids], dtype=np.int64) if ids else subject.tested
    scores = outputs(subject, rows)
    chances = probabilities(scores, kind_of_scores(subject.recipe))
    answers = np.argsort(-chances, axis=1, kind="stable")[:, :top]
    return [
        (subject.store.ids[row], [(names[answer], float(chance[answer])) for answer in best])
        for row, best, chance in zip(rows, answers, chances, strict=True)
    ]


def rows_of(subject: Subject, names: Sequence[str], *, unseen: bool) -> NDArray[np.int64]:
    """Rows of the clips of some classes that count: of the tested split, of unseen classes perhaps of all splits."""
    chosen = [index for index, name in enumerate(subject.store.class_names) if name in names]
    rows = np.arange(len(subject.store)) if unseen and subject.everything else subject.tested
    return rows[np.isin(subject.store.labels[rows], chosen)]
