"""One map from the tree of errors to gRPC statuses with their details."""

from string import printable
from urllib.parse import quote

import grpc
from google.protobuf import any_pb2, duration_pb2, message
from google.rpc import error_details_pb2 as details
from google.rpc import status_pb2

from runcast.server.model import errors
from runcast.server.model.run import Error

DOMAIN = "runcast.v1"
DETAILS_KEY = "grpc-status-details-bin"
# The message travels twice, once with each byte that is not plain ASCII as three, and the details in base64. Trailers
# of more than 8 KiB are refused at random by whoever reads them.
_MESSAGE = 1_200
_DETAILS = 3_000
_PLAIN = printable[:95].replace("%", "")

CODES: dict[type[errors.RuncastError], grpc.StatusCode] = {
    errors.RuncastError: grpc.StatusCode.INTERNAL,
    errors.InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    errors.WrongState: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Aborted: grpc.StatusCode.ABORTED,
    errors.ResourceExhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.OutOfRange: grpc.StatusCode.OUT_OF_RANGE,
    errors.FeatureOff: grpc.StatusCode.UNIMPLEMENTED,
    errors.DataLoss: grpc.StatusCode.DATA_LOSS,
    errors.StorageError: grpc.StatusCode.UNAVAILABLE,
    errors.Fenced: grpc.StatusCode.ABORTED,
}


def code_of(error: errors.RuncastError) -> grpc.StatusCode:
    """The status of an error, by the nearest class of the tree."""
    for kind in type(error).__mro__:
        if kind in CODES:
            return CODES[kind]
    return grpc.StatusCode.INTERNAL


def status_of(error: errors.RuncastError) -> status_pb2.Status:
    """The status with an ErrorInfo and what belongs to its code; cut so that it fits into trailers (6 KB)."""
    status = status_pb2.Status(code=code_of(error).value[0], message=_message(error.message))
    metadata = {key: _cut(value, 200) for key, value in error.metadata.items()}
    _add(status, details.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata))
    for detail in _particulars(error):
        _add(status, detail)
    return status


def _particulars(error: errors.RuncastError) -> list[message.Message]:
    if isinstance(error, errors.InvalidArgument):
        return [_bad_request(error)]
    if isinstance(error, errors.NotFound | errors.AlreadyExists):
        return [details.ResourceInfo(resource_type=error.kind, resource_name=_cut(error.name, 200))]
    if isinstance(error, errors.FailedPrecondition):
        violation = details.PreconditionFailure.Violation(
            type=error.kind, subject=_cut(error.subject, 200), description=_cut(error.message, 300)
        )
        return [details.PreconditionFailure(violations=[violation])]
    if isinstance(error, errors.ResourceExhausted):
        violation_ = details.QuotaFailure.Violation(
            subject=_cut(error.subject, 200), description=error.message[:300]
        )
        return [details.QuotaFailure(violations=[violation_]), _retry(error.retry_after)]
    return [_retry(error.retry_after)] if isinstance(error, errors.Unavailable) else []


def _bad_request(error: errors.InvalidArgument) -> details.BadRequest:
    request, room = details.BadRequest(), _DETAILS
    for violation in error.violations:
        field, description = _cut(violation.field, 200), _cut(violation.description, 500)
        room -= len(field.encode()) + len(description.encode()) + 10
        if room < 0:
            break
        request.field_violations.add(field=field, description=description)
    return request


def _retry(after: int) -> details.RetryInfo:
    seconds, micros = divmod(after, 1_000_000)
    return details.RetryInfo(retry_delay=duration_pb2.Duration(seconds=seconds, nanos=micros * 1_000))


def run_error(error: Error) -> status_pb2.Status:
    """Why a run or an attempt failed, as a status with an ErrorInfo."""
    status = status_pb2.Status(code=error.code, message=error.message)
    _add(status, details.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata))
    return status


def _add(status: status_pb2.Status, detail: message.Message) -> None:
    packed = any_pb2.Any()
    packed.Pack(detail)
    status.details.append(packed)


def _message(text: str) -> str:
    """As much of the text as takes no more than its room in a trailer."""
    text = _cut(text, _MESSAGE)
    while len(text) > 1 and len(quote(text, safe=_PLAIN)) > _MESSAGE:
        text = text[: len(text) * 3 // 4] + "…"
    return text


def _cut(text: str, limit: int) -> str:
    raw = text.encode(errors="replace")
    return raw.decode() if len(raw) <= limit else raw[: limit - 3].decode(errors="ignore") + "…"
