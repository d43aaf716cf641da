"""What an owner's stream does to the run that depends on it; what its absence does is in `lifecycle.expire`."""

from msgspec.structs import force_setattr, replace

from runcast.server.model.change import Change
from runcast.server.model.lifecycle import next_version
from runcast.server.model.run import Attachment, Run
from runcast.server.model.timers import wake_time


def owned_from_start(created: Change, attachment: Attachment) -> Change:
    """The creation of a run that depends on its owner before anybody can lose sight of it."""
    run = replace(created.run, attachment=attachment)
    force_setattr(run, "wake_time", wake_time(run))
    return replace(created, run=run)


def attach(run: Run, attachment: Attachment, now: int) -> Change | None:
    """The run depends on this owner from now on, whoever it depended on before; None for a final run."""
    return None if run.state.final else next_version(run, now, (), attachment=attachment)


def hold(run: Run, attachment_id: str, now: int, until: int) -> Change | None:
    """The owner's stream is still open; None where the run does not depend on this owner (any more)."""
    attachment = run.attachment
    if attachment is None or attachment.id != attachment_id:
        return None
    return next_version(run, now, (), attachment=replace(attachment, held_until=until, gone_time=None))


def leave(run: Run, attachment: Attachment, now: int) -> Change | None:
    """The owner's stream is gone, perhaps before it was known: its grace begins, unless another owner has come."""
    known = run.attachment
    if run.state.final or (known is not None and (known.id != attachment.id or known.gone_time is not None)):
        return None
    return next_version(run, now, (), attachment=replace(attachment, gone_time=now))


def detach(run: Run, attachment_id: str, now: int) -> Change | None:
    """The owner gives up its interest: the run goes on by itself."""
    attachment = run.attachment
    return (
        None
        if attachment is None or attachment.id != attachment_id
        else next_version(run, now, (), attachment=None)
    )
