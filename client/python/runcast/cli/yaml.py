"""YAML as it is written here: in the order of the keys, long texts as blocks, and harmless for a terminal."""

from typing import Any

import yaml

from runcast.cli import text


class _Dumper(yaml.SafeDumper):
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        # Items are indented below their key, as people write them.
        super().increase_indent(flow, False)


def _as_written(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = None
    if text.escape_json(value) != value:
        style = '"'  # there alone an escape means what it says
    elif "\n" in value:
        style = "|"
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _as_written)


class _Loader(yaml.SafeLoader):
    pass


# A date stays the text that it was written as: JSON has none.
_Loader.yaml_implicit_resolvers = {
    first: [each for each in resolvers if each[0] != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def from_yaml(written: str) -> Any:
    """What a document says; ValueError with the place of a mistake."""
    try:
        return yaml.load(written, Loader=_Loader)  # noqa: S506 - it is a safe one
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None


def to_yaml(value: Any) -> str:
    """The value as a YAML document."""
    written: str = yaml.dump(value, Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=110)
    return text.escape_json(written.removesuffix("...\n"))
