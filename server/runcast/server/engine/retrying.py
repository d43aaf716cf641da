"""Makes a new run from one that has ended."""

from msgspec import Struct
from msgspec.structs import replace

from runcast.server.engine.catalog import Catalog
from runcast.server.engine.journal import Journal
from runcast.server.engine.request import Start, wrong_input, wrong_request_id
from runcast.server.engine.starting import Started, Starter
from runcast.server.model.errors import FailedPrecondition, InvalidArgument, WrongState
from runcast.server.model.run import Checkpoint, Definition, ParentClose, Payload, Run
from runcast.server.repository.abc import Repository


class Again(Struct, frozen=True, kw_only=True):
    """A request to start a final run again; `input` replaces its parameters as a whole."""

    run_id: str
    from_checkpoint: bool = False
    failed_targets_only: bool = False
    input: Payload | None = None
    request_id: str = ""
    digest: bytes = b""
    principal: str = ""


class Retrier:
    """Starts final runs again, as new ones."""

    def __init__(self, repository: Repository, journal: Journal, catalog: Catalog, starter: Starter) -> None:
        self._repository = repository
        self._journal = journal
        self._catalog = catalog
        self._starter = starter

    async def retry(self, again: Again) -> Started:
        """The new run. NotFound (run or provider), InvalidArgument, AlreadyExists (request id), Unavailable,
        FailedPrecondition: RUN_STATE, NO_CHECKPOINT, NO_FAILED_TARGETS."""
        start = Start(request_id=again.request_id, digest=again.digest, principal=again.principal)
        return await self._starter.start_defined(start, lambda: self._defined(again))

    async def _defined(self, again: Again) -> tuple[Definition, Checkpoint | None]:
        wrong = wrong_request_id(again.request_id)
        if again.input is not None:
            wrong += wrong_input(again.input)
        if wrong:
            raise InvalidArgument(wrong)
        old = await self._journal.get(again.run_id)
        if not old.state.final:
            raise WrongState(old.id, old.state.name, "be retried before it has ended")
        targets = _failed_targets(old) if again.failed_targets_only else old.definition.targets
        checkpoint = await self._checkpoint(old) if again.from_checkpoint else None
        provider = self._starter.served(old.definition.provider)
        given = again.input or old.definition.input
        definition = replace(
            old.definition,
            input=Payload(json=self._catalog.validate(provider.name, given.json or "")),
            execution=provider.execution,
            idempotent=provider.idempotent,
            checkpointing=provider.checkpointing,
            pausable=provider.pausable,
            retry_of=old.id,
            targets=targets,
            parent_run="",
            parent_close=ParentClose.CANCEL,
            schedule="",
            principal=again.principal,
            trace_parent="",
        )
        return definition, checkpoint

    async def _checkpoint(self, old: Run) -> Checkpoint:
        saved = await self._repository.checkpoint(old.id) if old.checkpoint_number else None
        if saved is None:
            message = f"run {old.id} has saved no checkpoint: retry it from the start"
            raise FailedPrecondition(old.id, message, reason="NO_CHECKPOINT")
        return saved


def _failed_targets(old: Run) -> tuple[str, ...]:
    kept = old.outcome.failures
    if not old.failure_count:
        message = f"no target of run {old.id} failed: retry it as a whole"
    elif old.failure_count > len(kept):
        message = f"{old.failure_count:,} targets of run {old.id} failed, and only the first {len(kept):,} are known: retry it as a whole"
    else:
        return tuple(dict.fromkeys(failure.target for failure in kept))
    raise FailedPrecondition(old.id, message, reason="NO_FAILED_TARGETS")
