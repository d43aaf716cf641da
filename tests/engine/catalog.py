"""The providers of the tests."""

import json
from collections.abc import Sequence

from runcast.server.model.errors import InvalidArgument
from runcast.server.model.provider import Provider
from runcast.server.model.run import Execution, Recovery, Retry, Spec, Timeouts

_QUICK = Timeouts(attempt=60_000_000, cancel_grace=10_000_000)
RETRYING = Spec(
    _QUICK, Retry(max_attempts=3, initial_backoff=8_000_000, jitter=0.0), recovery=Recovery.RESUME
)

PROVIDERS = (
    Provider("failing", Execution.ASYNC, defaults=Spec(recovery=Recovery.FAIL)),
    Provider("holding", Execution.ASYNC, defaults=Spec(recovery=Recovery.HOLD)),
    Provider("pausing", Execution.ASYNC, pausable=True, checkpointing=True),
    Provider(
        "resuming",
        Execution.ASYNC,
        idempotent=True,
        checkpointing=True,
        defaults=Spec(recovery=Recovery.RESUME),
    ),
    Provider("resuming_on_watch", Execution.ASYNC, defaults=Spec(recovery=Recovery.RESUME_ON_WATCH)),
    Provider("retrying", Execution.ASYNC, idempotent=True, defaults=RETRYING),
    Provider("threaded", Execution.THREAD),
    Provider("unserved", Execution.SHELL),
    Provider("work", Execution.ASYNC, defaults=Spec(_QUICK)),
)


class FixedCatalog:
    """These providers; parameters are any object without the member `wrong`."""

    def __init__(self, providers: Sequence[Provider] = PROVIDERS) -> None:
        self._providers = providers

    def describe(self) -> Sequence[Provider]:
        return self._providers

    def validate(self, name: str, json_text: str) -> str:
        given = json.loads(json_text or "{}")
        if "wrong" in given:
            raise InvalidArgument.of("input.wrong", "not this")
        return json.dumps({"defaulted": True, **given}, sort_keys=True)

    def check_given(self, name: str, json_text: str) -> None:
        self.validate(name, json_text)
