"""A provider as the server describes it; the code behind it is not known here."""

from msgspec import Struct

from runcast.server.model.run import Execution, Spec


class Provider(Struct, frozen=True):
    """What can be run. `input_schema` and `output_schema` are JSON Schema 2020-12 texts, `danger` a reason or empty."""

    name: str
    execution: Execution
    title: str = ""
    description: str = ""
    category: str = ""
    icon: str = ""
    tags: tuple[str, ...] = ()
    danger: str = ""
    expensive: bool = False
    input_schema: str = "{}"
    output_schema: str = ""
    ui_schema: str = ""
    idempotent: bool = False
    checkpointing: bool = False
    pausable: bool = False
    defaults: Spec = Spec()
    schema_digest: str = ""
