"""google.longrunning.Operations with less to write: the raw stub, and the futures of Google's own clients."""

from collections.abc import Iterator
from typing import Any

import grpc
from google.api_core import exceptions, operation_async, operations_v1, retry, retry_async
from google.api_core import operation as operation_sync
from google.api_core.future import async_future, polling
from google.longrunning import operations_pb2
from google.rpc import error_details_pb2

from runcast.v1 import operation_pb2
from tests.rpc.calls import PATIENCE, stub_of

SERVICE = "google.longrunning.Operations"
# These packages carry no types that are of use.
lro: Any = operations_pb2
kinds: Any = exceptions
_google: Any = operations_v1
_futures: Any = operation_sync
_async_futures: Any = operation_async
_EVERY: Any = {"initial": 0.02, "maximum": 0.05, "timeout": PATIENCE}
_SOON: Any = retry.Retry(predicate=polling.POLLING_PREDICATE, **_EVERY)
_SOON_ASYNC: Any = retry_async.AsyncRetry(predicate=async_future.RETRY_PREDICATE, **_EVERY)
_RESPONSE, _METADATA = operation_pb2.RunOperationResponse, operation_pb2.RunOperationMetadata


class Operations:
    """The raw stub, and Google's client with its futures."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.stub: Any = stub_of(lro.OperationsStub, channel)
        self.client = _google.OperationsClient(channel)

    def get(self, run_id: str) -> Any:
        """The operation as it stands."""
        return self.stub.GetOperation(lro.GetOperationRequest(name=f"operations/{run_id}"), timeout=PATIENCE)

    def wait(self, run_id: str, patience: float = PATIENCE, **timeout: int) -> Any:
        """What WaitOperation answers; without `timeout` the field is not set."""
        request = lro.WaitOperationRequest(name=f"operations/{run_id}", timeout=timeout or None)
        return self.stub.WaitOperation(request, timeout=patience)

    def page(self, **fields: Any) -> Any:
        """One page."""
        return self.stub.ListOperations(
            lro.ListOperationsRequest(**{"name": "operations"} | fields), timeout=PATIENCE
        )

    def pages(self, **fields: Any) -> "Iterator[list[str]]":
        """The names on all pages, page by page."""
        token = None
        while token != "":
            answer = self.page(page_token=token, **fields)
            token = answer.next_page_token
            yield [operation.name for operation in answer.operations]

    def names(self, **fields: Any) -> "list[str]":
        """All names."""
        return [name for page in self.pages(**fields) for name in page]

    def future(self, run_id: str) -> Any:
        """Google's future for a run, as it stands."""
        return _futures.from_gapic(
            self.get(run_id), self.client, _RESPONSE, metadata_type=_METADATA, polling=_SOON
        )


class AsyncOperations:
    """The same of Google's asynchronous client."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.client = _google.OperationsAsyncClient(channel)

    async def future(self, run_id: str) -> Any:
        """Google's future for a run, as it stands."""
        now = await self.client.get_operation(f"operations/{run_id}")
        return _async_futures.from_gapic(
            now, self.client, _RESPONSE, metadata_type=_METADATA, retry=_SOON_ASYNC
        )


def reason_of(error: Any) -> str:
    """The reason in the details of an operation's error."""
    (status,) = error.errors
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.domain == "runcast.v1"
    return str(info.reason)
