"""google.longrunning.Operations: runs as any Google client waits for, lists, cancels and deletes them. Never resumes one."""

import re

from google.longrunning import operations_proto_pb2 as pb
from google.protobuf.empty_pb2 import Empty
from google.rpc import code_pb2, status_pb2

from runcast.server.engine.engine import Engine
from runcast.server.model.errors import FeatureOff, InvalidArgument
from runcast.server.model.run import Page, Run, RunFilter, State
from runcast.server.rpc import pages
from runcast.server.rpc.handlers import Context
from runcast.server.rpc.messages import (
    cancellation_message,
    failure_message,
    payload_message,
    progress_message,
    timestamp,
)
from runcast.server.rpc.status import run_error
from runcast.server.rpc.units import micros
from runcast.v1.operation_pb2 import RunOperationMetadata, RunOperationResponse

COLLECTION = "operations"
LONGEST_WAIT = 60.0
_WAY_BACK = 0.2
"""Seconds before a caller's deadline at which a wait answers, so that the answer still arrives."""
_NAME = re.compile(rf"{COLLECTION}/([^/]+)")
_DONE = re.compile(r"\s*done\s*=\s*(true|false)\s*")
_SUCCEEDED = (State.SUCCEEDED, State.SUCCEEDED_WITH_ERRORS)
_CODES = {State.CANCELLED: code_pb2.CANCELLED, State.TIMED_OUT: code_pb2.DEADLINE_EXCEEDED}


class OperationServicer:
    """The RPCs of Operations; the operation of run R is `operations/R`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def GetOperation(self, request: pb.GetOperationRequest, context: Context) -> pb.Operation:  # noqa: N802
        """One run."""
        return operation_message(await self._engine.get(_run_id(request.name)))

    async def ListOperations(  # noqa: N802
        self, request: pb.ListOperationsRequest, context: Context
    ) -> pb.ListOperationsResponse:
        """A page of runs, newest first, cut by count and by bytes; of filters, only `done=true` and `done=false`."""
        if request.name != COLLECTION:
            raise InvalidArgument.of("name", f"{request.name!r}: {COLLECTION!r}, which all of them are in")
        if request.return_partial_success:
            raise FeatureOff("return_partial_success is not served: all operations are reachable here")
        limit = pages.size_of(request.page_size)
        position = pages.position_of(request, request.page_token, int, str)
        page = Page(limit, (position[0], position[1]) if position else None)
        runs, more = await self._engine.page(_filter(request.filter), page)
        response = pb.ListOperationsResponse()
        response.operations.extend(pages.fitting(operation_message(run) for run in runs))
        if more or len(response.operations) < len(runs):
            last = runs[len(response.operations) - 1]
            response.next_page_token = pages.token_for(request, last.create_time, last.id)
        return response

    async def WaitOperation(self, request: pb.WaitOperationRequest, context: Context) -> pb.Operation:  # noqa: N802
        """Answer at the end, or with the operation as it stands: after the time, before the caller's deadline, or when
        the server drains.
        """
        seconds = LONGEST_WAIT
        if request.HasField("timeout"):
            seconds = min(seconds, micros(request.timeout, "timeout") / 1_000_000)
        left = context.time_remaining()
        if left is not None:
            seconds = min(seconds, left - _WAY_BACK)
        return operation_message(await self._engine.wait(_run_id(request.name), seconds))

    async def CancelOperation(self, request: pb.CancelOperationRequest, context: Context) -> Empty:  # noqa: N802
        """As CancelRun: record the wish, and answer at once."""
        await self._engine.control.cancel(_run_id(request.name))
        return Empty()

    async def DeleteOperation(self, request: pb.DeleteOperationRequest, context: Context) -> Empty:  # noqa: N802
        """As DeleteRun: remove a run that is final."""
        await self._engine.control.delete(_run_id(request.name))
        return Empty()


def _run_id(name: str) -> str:
    found = _NAME.fullmatch(name)
    if found is None:
        raise InvalidArgument.of(
            "name", f"{name!r}: '{COLLECTION}/' and the id of a run, as StartRun answers it"
        )
    return found[1]


def _filter(text: str) -> RunFilter:
    if not text:
        return RunFilter()
    found = _DONE.fullmatch(text)
    if found is None:
        expected = f"{text!r}: 'done=true', 'done=false', or none; ListRuns filters by more"
        raise InvalidArgument.of("filter", expected)
    done = found[1] == "true"
    return RunFilter(states=frozenset(state for state in State if state.final == done))


def operation_message(run: Run) -> pb.Operation:
    """A run as an operation: metadata always, and once it is final either a response or an error."""
    operation = pb.Operation(name=f"{COLLECTION}/{run.id}", done=run.state.final)
    operation.metadata.Pack(_metadata(run))
    if run.state in _SUCCEEDED:
        operation.response.Pack(_response(run))
    elif run.state.final:
        operation.error.CopyFrom(_error(run))
    return operation


def _metadata(run: Run) -> RunOperationMetadata:
    return RunOperationMetadata(
        run=run.id,
        state=run.state,  # type: ignore[arg-type]  # the model's values are the wire's
        provider=run.definition.provider,
        task=run.definition.task,
        progress=progress_message(run.progress) if run.progress else None,
        cancellation=cancellation_message(run.cancellation) if run.cancellation else None,
        attempt=run.attempt,
        create_time=timestamp(run.create_time),
        start_time=timestamp(run.start_time),
        end_time=timestamp(run.end_time),
    )


def _response(run: Run) -> RunOperationResponse:
    outcome = run.outcome
    return RunOperationResponse(
        run=run.id,
        state=run.state,  # type: ignore[arg-type]  # the model's values are the wire's
        output=payload_message(outcome.output) if outcome.output else None,
        summary=outcome.summary,
        failure_count=run.failure_count,
        failures=[failure_message(failure) for failure in outcome.failures],
    )


def _error(run: Run) -> status_pb2.Status:
    """Why it did not succeed, by a code that a client takes for an error whatever the provider said."""
    error = run.outcome.error
    status = run_error(error) if error else status_pb2.Status(message=f"the run is {run.state.name}")
    status.code = _CODES.get(run.state) or status.code or code_pb2.UNKNOWN
    return status
