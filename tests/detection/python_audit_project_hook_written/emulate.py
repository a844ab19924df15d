"""Files of such names in a working copy of its own."""

from pathlib import Path

HOOKS, EDITOR = Path("copy", ".git", "hooks"), Path("copy", ".vscode")


def match() -> None:
    for place in (HOOKS, EDITOR):
        place.mkdir(parents=True)
    (HOOKS / "post-checkout").write_text("# nothing\n")
    (EDITOR / "tasks.json").write_text("{}\n")


def nomatch() -> None:
    for place in (HOOKS, EDITOR):
        place.mkdir(parents=True)
    (HOOKS / "post-checkout.sample").write_text("# nothing\n")
    (EDITOR / "launch.json").write_text("{}\n")
