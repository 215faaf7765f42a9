"""Class names in sentences."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protogcn.models.text import PROMPTS, fill

GOLDEN = Path(__file__).parents[2] / "goldens" / "vision" / "clip_tokenizer__prompts.json"


def test_the_templates_are_the_published_ones_in_their_order() -> None:
    assert list(PROMPTS) == json.loads(GOLDEN.read_text())["templates"]


def test_rows_go_template_by_template() -> None:
    assert fill(["run", "jump"], ["a {}", "{}!"]) == ["a run", "a jump", "run!", "jump!"]
    rows = fill([f"class {i}" for i in range(5)])
    assert len(rows) == 16 * 5
    assert rows[3 * 5 + 2] == "class 2, an action"


@given(names=st.lists(st.from_regex(r"[a-z{}]{1,8}", fullmatch=True), min_size=1, max_size=6, unique=True))
def test_names_stay_as_they_are_whatever_brackets_they_hold(names: list[str]) -> None:
    assert fill(names, ["{}"]) == names


@pytest.mark.parametrize(
    ("names", "prompts", "message"),
    [
        ([], PROMPTS, "no class names"),
        (["run"], [], "no prompts"),
        ("run", PROMPTS, r"pass a list, \['run'\]"),
        (["run"], "a {}", r"pass a list, \['a {}'\]"),
        (["run", " "], PROMPTS, "class 1 has the name ' '"),
        (["run", "\u200b"], PROMPTS, "class 1 has the name '\\\\u200b'"),
        (["run", None], PROMPTS, "class 1 has the name None"),
        (["run", "jump", "Run "], PROMPTS, "classes 0 and 2 have the same name, 'run' and 'Run '"),
        (["run"], ["a video"], "'a video' must hold {} exactly once.*there 0 times"),
        (["run"], ["{} {}"], "there 2 times"),
        (["run"], [3], "the prompt 3 must hold"),
    ],
)
def test_names_and_templates_that_make_no_sentences_are_refused(names: Any, prompts: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fill(names, prompts)
