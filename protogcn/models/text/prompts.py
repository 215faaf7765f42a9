"""Sentences around class names: the templates of ActionCLIP (Wang et al., 2021), and how names fill them."""

from collections.abc import Sequence

SLOT = "{}"
# The order matters: trained weights and score tables refer to templates by their place.
PROMPTS: tuple[str, ...] = (
    "a photo of action {}",
    "a picture of action {}",
    "Human action of {}",
    "{}, an action",
    "{} this is an action",
    "{}, a video of action",
    "Playing action of {}",
    "{}",
    "Playing a kind of action, {}",
    "Doing a kind of action, {}",
    "Look, the human is {}",
    "Can you recognize the action of {}?",
    "Video classification of {}",
    "A video of {}",
    "The man is {}",
    "The woman is {}",
)


def fill(class_names: Sequence[str], prompts: Sequence[str] = PROMPTS) -> list[str]:
    """Every class name in every template, template by template: row = template * classes + class.

    Raises:
        ValueError: no names or no templates, an empty name, a name twice, or a template without exactly one ``{}``.
    """
    names, templates = _listed("class names", class_names), _listed("prompts", prompts)
    _check_names(names)
    for template in templates:
        if not isinstance(template, str) or template.count(SLOT) != 1:
            raise ValueError(
                f"the prompt {template!r} must hold {SLOT} exactly once, where the class name goes, "
                f"like {PROMPTS[0]!r}; it is there {str(template).count(SLOT)} times"
            )
    return [template.replace(SLOT, name) for template in templates for name in names]


def says_something(text: object) -> bool:
    """Whether it is text that can be seen, without halves of characters that no tokeniser takes."""
    if not isinstance(text, str) or any("\ud800" <= character <= "\udfff" for character in text):
        return False
    return any(character.isprintable() and not character.isspace() for character in text)


def _listed(what: str, given: Sequence[str]) -> list[str]:
    if isinstance(given, str):
        raise ValueError(f"the {what} are one string, {given!r}; pass a list, [{given!r}]")
    if not len(given):
        raise ValueError(f"there are no {what}; pass at least one")
    return list(given)


def _check_names(names: Sequence[str]) -> None:
    seen: dict[str, int] = {}
    for index, name in enumerate(names):
        if not says_something(name):
            raise ValueError(
                f"class {index} has the name {name!r}: a text encoder needs a word or two that say what is done, "
                "like 'drink water'"
            )
        # Text encoders see neither capitals nor spaces, so such names would get the same vector.
        key = " ".join(name.lower().split())
        if key in seen:
            raise ValueError(
                f"classes {seen[key]} and {index} have the same name, {names[seen[key]]!r} and {name!r}, and text "
                "cannot tell them apart: give each class a name of its own"
            )
        seen[key] = index
