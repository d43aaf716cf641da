"""Writes docs/cli.md from the command line's own help, and docs/api.md from the comments of proto/.

python tools/docs.py              # writes them anew
python tools/docs.py --check      # tells by its exit code whether they are as they would be written
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet

ROOT = Path(__file__).resolve().parent.parent
MADE = "<!-- Made by `make docs`: change {source}, not this file. -->\n"
WIDTH = 100
# The numbers of fields in descriptor.proto, by which a comment's place is told.
MESSAGES, ENUMS, SERVICES, FIELDS, NESTED, NESTED_ENUMS, VALUES, METHODS = 4, 5, 6, 2, 3, 4, 2, 2
Path_ = tuple[int, ...]


def main() -> int:
    """1 where `--check` finds a page that is stale."""
    pages = {ROOT / "docs" / "cli.md": cli(), ROOT / "docs" / "api.md": Api(compiled()).page()}
    if "--check" not in sys.argv[1:]:
        for path, text in pages.items():
            path.write_text(text)
        return 0
    stale = [path for path, text in pages.items() if not path.exists() or path.read_text() != text]
    for path in stale:
        sys.stderr.write(f"{path.relative_to(ROOT)} is not what it is made of says; remedy: make docs\n")
    return 1 if stale else 0


# ------------------------------------------------------------------------------------------------------- command line
def cli() -> str:
    """Every command's help as `--help` prints it, and the exit codes."""
    os.environ.pop("RUNCAST_SERVER", None)
    import typer

    from runcast.cli.app import build
    from runcast.cli.exits import OF_STATE, OF_STATUS, Exit

    program = typer.main.get_command(build())
    parts = [MADE.format(source="the commands in client/python/runcast/cli"), "# The command line\n"]
    parts.append(
        "What `--help` says of each command, in one place. [README](../README.md) shows them at work.\n"
    )
    for name, context in _commands(program, "runcast", None):
        text = "\n".join(line.rstrip() for line in context.get_help().splitlines())
        parts.append(f"## {name}\n\n```text\n{text}\n```\n")
    parts.append(
        "## Exit codes\n\n| code | | a run that is | a call that ends with |\n| --- | --- | --- | --- |"
    )
    for code in Exit:
        states = ", ".join(name for name, one in OF_STATE.items() if one is code)
        statuses = ", ".join(name for name, one in OF_STATUS.items() if one is code)
        parts.append(f"| {code.value} | {code.name.lower().replace('_', ' ')} | {states} | {statuses} |")
    return "\n".join(parts) + "\n"


def _commands(command: Any, name: str, above: Any) -> Iterator[tuple[str, Any]]:
    """A command and all below it, by name, each with a context that is as wide wherever this runs."""
    context = command.make_context(
        name.rpartition(" ")[2],
        [],
        parent=above,
        resilient_parsing=True,
        terminal_width=WIDTH,
        max_content_width=WIDTH,
    )
    yield name, context
    for each, below in getattr(command, "commands", {}).items():
        if not below.hidden:
            yield from _commands(below, f"{name} {each}", context)


# ----------------------------------------------------------------------------------------------------------- contract
def compiled() -> FileDescriptorSet:
    """The contract with its comments."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "contract"
        proto = [f"--proto_path={ROOT / 'proto'}", f"--proto_path={ROOT / 'proto' / 'third_party'}"]
        files = [str(path) for path in sorted((ROOT / "proto" / "runcast" / "v1").glob("*.proto"))]
        compile_ = [
            sys.executable,
            "-m",
            "grpc_tools.protoc",
            "--include_source_info",
            f"--descriptor_set_out={out}",
        ]
        subprocess.run([*compile_, *proto, *files], check=True)
        return FileDescriptorSet.FromString(out.read_bytes())


class Api:
    """The page about the contract: services with their calls first, then all messages and enums by name."""

    def __init__(self, contract: FileDescriptorSet) -> None:
        self.services: list[str] = []
        self.index: list[str] = []
        self.types: dict[str, str] = {}
        for file in contract.file:
            comments = {tuple(one.path): one.leading_comments for one in file.source_code_info.location}
            self._file(file, comments)

    def page(self) -> str:
        """As Markdown."""
        types = [self.types[name] for name in sorted(self.types)]
        head = [MADE.format(source="the comments in proto/runcast/v1"), "# The contract, runcast.v1\n"]
        head.append(
            "Which calls are on, a server tells itself: `GetServerInfo`, or `runcast info`. `google.longrunning.Operations`\n"
            "is served as well: each run is an operation, whose metadata is [RunOperationMetadata](#runoperationmetadata).\n"
        )
        return (
            "\n".join([*head, *self.index, "", *self.services, "## Messages and enums\n", *types]).rstrip()
            + "\n"
        )

    def _file(self, file: FileDescriptorProto, comments: dict[Path_, str]) -> None:
        for number, service in enumerate(file.service):
            at = (SERVICES, number)
            calls = [(call, f"[{call.name}](#{call.name.lower()})") for call in service.method]
            self.index.append(
                f"- [{service.name}](#{service.name.lower()}): {', '.join(link for _, link in calls)}"
            )
            self.services.append(f"## {service.name}\n\n{_text(comments[at])}")
            for index, (call, _) in enumerate(calls):
                asks = ("stream of " if call.client_streaming else "") + _link(call.input_type)
                answers = ("stream of " if call.server_streaming else "") + _link(call.output_type)
                said = _text(comments[(*at, METHODS, index)])
                self.services.append(f"### {call.name}\n\n{asks} → {answers}\n\n{said}")
        for number, message in enumerate(file.message_type):
            self._message(message, (MESSAGES, number), "", comments)
        for number, enum in enumerate(file.enum_type):
            self._enum(enum, (ENUMS, number), "", comments)

    def _message(self, message: Any, at: Path_, above: str, comments: dict[Path_, str]) -> None:
        name = above + message.name
        entries = {
            f".runcast.v1.{name}.{one.name}": one for one in message.nested_type if one.options.map_entry
        }
        rows = ["| field | type | |", "| --- | --- | --- |"] if message.field else []
        for number, field in enumerate(message.field):
            comment = comments.get((*at, FIELDS, number), "")
            if field.HasField("oneof_index") and not field.proto3_optional:
                comment = f"One of `{message.oneof_decl[field.oneof_index].name}`. {comment.strip()}"
            rows.append(f"| `{field.name}` | {_type(field, entries)} | {_cell(comment)} |")
        self.types[name] = "\n".join([f"### {name}\n\n{_text(comments[at])}", *rows]).rstrip("\n") + "\n"
        for number, below in enumerate(message.nested_type):
            if not below.options.map_entry:
                self._message(below, (*at, NESTED, number), f"{name}.", comments)
        for number, enum in enumerate(message.enum_type):
            self._enum(enum, (*at, NESTED_ENUMS, number), f"{name}.", comments)

    def _enum(self, enum: Any, at: Path_, above: str, comments: dict[Path_, str]) -> None:
        rows = ["| value | | |", "| --- | --- | --- |"]
        for number, value in enumerate(enum.value):
            rows.append(
                f"| `{value.name}` | {value.number} | {_cell(comments.get((*at, VALUES, number), ''))} |"
            )
        name = above + enum.name
        self.types[name] = "\n".join([f"### {name}\n\n{_text(comments[at])}", *rows, ""])


def _type(field: FieldDescriptorProto, entries: dict[str, Any]) -> str:
    if entry := entries.get(field.type_name):
        return f"map of {_type(entry.field[0], {})} to {_type(entry.field[1], {})}"
    kind = FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
    name = _link(field.type_name) if field.type_name else kind
    return f"repeated {name}" if field.label == FieldDescriptorProto.LABEL_REPEATED else name


def _link(name: str) -> str:
    """A type's name, with a link to where this page has it."""
    own = name.removeprefix(".runcast.v1.")
    return f"`{name.lstrip('.')}`" if own == name else f"[{own}](#{own.lower().replace('.', '')})"


def _text(comment: str) -> str:
    """A comment as paragraphs and lists; it is Markdown already."""
    return (
        "\n".join(line.removeprefix(" ").rstrip() for line in comment.strip("\n").splitlines()).strip() + "\n"
    )


def _cell(comment: str) -> str:
    lines = [line.strip() for line in comment.replace("|", "\\|").splitlines()]
    return " ".join(f"<br>• {line[2:]}" if line.startswith("- ") else line for line in lines).strip()


if __name__ == "__main__":
    sys.exit(main())
