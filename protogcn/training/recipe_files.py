"""Where recipes lie."""

import difflib
from pathlib import Path


def find_recipe(path: str | Path) -> Path:
    """The file of a recipe, in the working directory or among the installed recipes."""
    path = Path(path)
    if path.is_file():
        return path
    import protogcn.configs

    installed = Path(protogcn.configs.__file__).parent
    inside = Path(*path.parts[1:]) if path.parts[:1] == ("configs",) else path
    if (installed / inside).is_file():
        return installed / inside
    known = sorted(f"configs/{file.relative_to(installed).as_posix()}" for file in installed.glob("*/*.yaml"))
    near = difflib.get_close_matches(path.as_posix(), known, n=3, cutoff=0.6)
    if near:
        raise FileNotFoundError(f"there is no recipe {path}. Did you mean: {', '.join(near)}")
    folders = ", ".join(sorted({Path(name).parts[1] for name in known}))
    raise FileNotFoundError(f"there is no recipe {path}. There are configs/<benchmark>/<model>.yaml for {folders}")
