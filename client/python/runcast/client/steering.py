"""What becomes of a run that was started: waiting for it, ending it, letting it stand still and go on."""

import uuid

from runcast.client.backoff import Deadline
from runcast.client.connection import Connection
from runcast.client.errors import FailedPrecondition, NotFound, Unavailable
from runcast.client.opening import Opening
from runcast.client.payload import Parameters, to_payload
from runcast.client.starting import duration
from runcast.client.states import is_final
from runcast.v1 import run_pb2, run_service_pb2

ONE_WAIT = 30.0
"""Seconds for which one call waits for a run."""
_STILL = frozenset({run_pb2.Run.STATE_PAUSING, run_pb2.Run.STATE_PAUSED})
_GOING_ON = frozenset(
    {
        run_pb2.Run.STATE_SCHEDULED,
        run_pb2.Run.STATE_QUEUED,
        run_pb2.Run.STATE_RUNNING,
        run_pb2.Run.STATE_BACKING_OFF,
    }
)


class Steering(Opening):
    """What a client does to runs."""

    async def wait(
        self, run_id: str, timeout: float | None = None, *, observe_only: bool = False
    ) -> run_pb2.Run:
        """The run once it is final, or as it stands after `timeout` seconds: look at its state. Without a timeout, for
        as long as it takes. It resumes a run that waits for somebody's interest, unless `observe_only`."""
        deadline, connection = Deadline(timeout), self._connection
        patience = connection.patience()
        while True:
            wait = min(ONE_WAIT, deadline.left)
            request = run_service_pb2.WaitRunRequest(
                run_id=run_id, timeout=duration(wait), observe_only=observe_only
            )
            try:
                answer = await connection.once(
                    connection.runs.WaitRun, request, timeout=wait + connection.timeout
                )
            except Unavailable as error:
                await connection.pause(error, patience, left=deadline.left)
                continue
            patience.succeeded()
            if is_final(answer.run.state) or deadline.left <= 0:
                return answer.run

    async def cancel(
        self, run_id: str, reason: str = "", *, immediate: bool = False, grace: float | None = None
    ) -> run_pb2.Run:
        """Ask for a run's end, and answer at once with the run as it stands; a final run is answered unchanged. Its
        code has `grace` seconds to stop, or is killed where the end is to be `immediate`."""
        request = cancel_request(run_id, reason, immediate=immediate, grace=grace)
        return (await self._connection.unary(self._connection.runs.CancelRun, request)).run

    async def pause(self, run_id: str, reason: str = "", *, require_checkpoint: bool = False) -> run_pb2.Run:
        """Let a run stand still, and answer at once with the run as it stands: where its code runs, it is `PAUSING`
        until that has saved a checkpoint and stopped. FailedPrecondition where it is final, interrupted or paused
        already, where its provider cannot pause, or, with `require_checkpoint`, where it has saved none yet."""
        request = run_service_pb2.PauseRunRequest(
            run_id=run_id, reason=reason, require_checkpoint=require_checkpoint
        )
        try:
            return (await self._connection.unary(self._connection.runs.PauseRun, request)).run
        except FailedPrecondition as error:
            return await paused(self._connection, run_id, error)

    async def resume(self, run_id: str) -> run_pb2.Run:
        """Let a paused or interrupted run go on from its newest checkpoint, and answer at once with the run as it
        stands. FailedPrecondition where it is neither."""
        request = run_service_pb2.ResumeRunRequest(run_id=run_id)
        try:
            return (await self._connection.unary(self._connection.runs.ResumeRun, request)).run
        except FailedPrecondition as error:
            return await resumed(self._connection, run_id, error)

    async def retry(
        self,
        run_id: str,
        *,
        from_checkpoint: bool = False,
        failed_targets_only: bool = False,
        parameters: Parameters | None = None,
        request_id: str = "",
    ) -> run_pb2.Run:
        """Start a new run from a final one: the same provider, parameters, policies and labels.

        `from_checkpoint` goes on from its newest checkpoint, `failed_targets_only` works on the targets that failed in
        it, `parameters` take the place of its own as a whole. `request_id` makes it safe to repeat, also by a later
        program; by default only this call's own retries are covered.
        """
        request = run_service_pb2.RetryRunRequest(
            run_id=run_id,
            request_id=request_id or str(uuid.uuid4()),
            from_checkpoint=from_checkpoint,
            failed_targets_only=failed_targets_only,
            input=to_payload(parameters),
        )
        return (await self._connection.unary(self._connection.runs.RetryRun, request)).run

    async def delete(self, run_id: str) -> None:
        """Remove a final run with its events, attempts, checkpoint and artifacts. FailedPrecondition where it is not
        final: cancel it first."""
        request = run_service_pb2.DeleteRunRequest(run_id=run_id)
        try:
            await self._connection.unary(self._connection.runs.DeleteRun, request)
        except NotFound as error:
            if not error.repeated:
                raise


def cancel_request(
    run_id: str, reason: str, *, immediate: bool, grace: float | None
) -> run_service_pb2.CancelRunRequest:
    """What asks for a run's end."""
    mode = run_service_pb2.CancelRunRequest
    return run_service_pb2.CancelRunRequest(
        run_id=run_id,
        reason=reason,
        mode=mode.MODE_IMMEDIATE if immediate else mode.MODE_GRACEFUL,
        grace=duration(grace),
    )


async def paused(connection: Connection, run_id: str, error: FailedPrecondition) -> run_pb2.Run:
    """The run, where a pause was refused only since its own first try did it."""
    return await _in_state(connection, run_id, error, _STILL)


async def resumed(connection: Connection, run_id: str, error: FailedPrecondition) -> run_pb2.Run:
    """The run, where its going on was refused only since its own first try did it."""
    return await _in_state(connection, run_id, error, _GOING_ON)


async def _in_state(
    connection: Connection,
    run_id: str,
    error: FailedPrecondition,
    states: frozenset[run_pb2.Run.State.ValueType],
) -> run_pb2.Run:
    """The run, where the refused call was a repetition and the run is as it was to be; else raises the error."""
    if not error.repeated or error.reason != "RUN_STATE":
        raise error
    request = run_service_pb2.GetRunRequest(run_id=run_id)
    run = (await connection.unary(connection.runs.GetRun, request)).run
    if run.state not in states:
        raise error
    return run
