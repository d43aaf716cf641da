"""A task in a person's editor: written to a file, and left there where it could not be stored."""

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from runcast.cli.commands.tasks.documents import document
from runcast.cli.exits import Exit
from runcast.cli.failures import Refused

if TYPE_CHECKING:
    from runcast.client import Task

_HEAD = """\
# The task {id}. Save and leave to change it; an unchanged file changes nothing.
# Lengths of time are written as 90s, 5m or 1h30m. What is empty is cleared. Leave the etag as it is.
"""


def edited(task: "Task") -> str | None:
    """The file that a person has changed in an editor; None where it was left unchanged, and is gone."""
    draft = Path(_written(task))
    before = draft.read_text(encoding="utf-8")
    _open_editor(str(draft))
    if draft.read_text(encoding="utf-8") != before:
        return str(draft)
    draft.unlink()
    return None


def discard(draft: str) -> None:
    """The draft is stored, and not needed any more."""
    Path(draft).unlink(missing_ok=True)


def _written(task: "Task") -> str:
    from runcast.cli.yaml import to_yaml

    with tempfile.NamedTemporaryFile(
        "w", prefix=f"runcast-{task.id}-", suffix=".yaml", delete=False, encoding="utf-8"
    ) as draft:
        draft.write(_HEAD.format(id=task.id) + to_yaml(document(task)))
    return draft.name


def _open_editor(file: str) -> None:
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    if not (sys.stdin.isatty() or "VISUAL" in os.environ or "EDITOR" in os.environ):
        raise Refused(
            "there is no terminal for an editor", remedy="Say what to change by options, or with -f FILE."
        )
    try:
        done = subprocess.run([*shlex.split(editor), file], check=False)
    except OSError as error:
        raise Refused(
            f"the editor {editor} cannot be started: {error.strerror}", remedy="Set EDITOR."
        ) from None
    if done.returncode:
        raise Refused(
            f"the editor {editor} ended with {done.returncode}; nothing was changed", code=Exit.FAILED
        )
