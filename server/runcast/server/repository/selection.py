"""What every backend's `list` means by a filter."""

from runcast.server.model.errors import FeatureOff
from runcast.server.model.run import Run, RunFilter, State


def require_served(filter: RunFilter) -> None:
    """FeatureOff where the filter asks for what no backend answers yet: never a silently wider list."""
    if filter.ref is not None:
        raise FeatureOff("runs cannot be listed by a reference yet; filter by labels instead")
    if filter.text:
        raise FeatureOff("runs cannot be searched by text yet; filter by labels instead")


def selects(filter: RunFilter, run: Run) -> bool:
    """Whether the filter selects the run."""
    definition = run.definition
    return (
        (not filter.states or run.state in filter.states)
        and (not filter.interrupted_only or run.state is State.INTERRUPTED)
        and filter.provider in ("", definition.provider)
        and filter.task in ("", definition.task)
        and filter.schedule in ("", definition.schedule)
        and filter.parent_run in ("", definition.parent_run)
        and filter.queue in ("", definition.spec.queue)
        and (filter.created_after is None or run.create_time >= filter.created_after)
        and (filter.created_before is None or run.create_time < filter.created_before)
        and all(definition.labels.get(key) == value for key, value in filter.labels.items())
    )
