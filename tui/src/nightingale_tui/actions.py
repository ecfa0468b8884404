"""What a person may ask of an instance: keys, words and the call behind each, as one table.

Screens make their bindings from it, the palette its entries, the controller its calls. Nothing is offered that the
platform did not list in `allowed_actions`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from textual.binding import Binding

from nightingale.contract.schemas import ExtendIn, InstanceOut, QuarantineIn, ResizeIn
from nightingale.contract.vocabulary import Action
from nightingale_tui.api.client import Api


@dataclass(frozen=True)
class Ask:
    """One thing asked of one instance, with what a dialog added to it."""

    action: Action
    instance: InstanceOut
    resize: ResizeIn | None = None
    extend: ExtendIn | None = None
    quarantine: QuarantineIn | None = None


@dataclass(frozen=True)
class InstanceAction:
    """One row: `key` asks for it, `done` says that the platform accepted it."""

    action: Action
    key: str
    label: str
    tooltip: str
    done: str
    call: Callable[[Api, str, Ask], InstanceOut] | None = None
    """None where there is more to it than one call (open)."""


INSTANCE_ACTIONS: tuple[InstanceAction, ...] = (
    InstanceAction(Action.OPEN, "o", "Jupyter", "Open its Jupyter server through a tunnel", "opens"),
    InstanceAction(
        Action.STOP,
        "s",
        "Stop",
        "Stop it; the home folder stays, compute is no longer billed",
        "stops",
        lambda api, project, ask: api.stop_instance(project, ask.instance.id),
    ),
    InstanceAction(
        Action.START,
        "S",
        "Start",
        "Start it again with its home folder",
        "starts",
        lambda api, project, ask: api.start_instance(project, ask.instance.id),
    ),
    InstanceAction(
        Action.RETRY,
        "r",
        "Retry",
        "Try the action that failed again",
        "tries again",
        lambda api, project, ask: api.retry_instance(project, ask.instance.id),
    ),
    InstanceAction(
        Action.RESIZE,
        "z",
        "Resize",
        "Change its size; shows the old and the new price first",
        "is being resized",
        lambda api, project, ask: api.resize_instance(project, ask.instance.id, ask.resize or ResizeIn()),
    ),
    InstanceAction(
        Action.EXTEND,
        "e",
        "Extend",
        "Move the time at which it stops by itself",
        "stops later",
        lambda api, project, ask: api.extend_instance(project, ask.instance.id, ask.extend or ExtendIn(seconds=3600)),
    ),
    InstanceAction(
        Action.DELETE,
        "d",
        "Delete",
        "Delete it and its home folder, for good",
        "is being deleted",
        lambda api, project, ask: api.delete_instance(
            # Its name was typed, under words that say what is lost.
            project,
            ask.instance.id,
            destroy_evidence=ask.instance.is_quarantined,
        ),
    ),
    InstanceAction(
        Action.QUARANTINE,
        "Q",
        "Quarantine",
        "Cut it off and freeze it, for administrators",
        "is in quarantine",
        lambda api, project, ask: api.quarantine_instance(project, ask.instance.id, _why(ask)),
    ),
    InstanceAction(
        Action.RELEASE,
        "R",
        "Release",
        "Let it go on where it was, for administrators",
        "is released",
        lambda api, project, ask: api.release_instance(project, ask.instance.id, _why(ask)),
    ),
)

BY_ACTION: dict[Action, InstanceAction] = {row.action: row for row in INSTANCE_ACTIONS}


def _why(ask: Ask) -> QuarantineIn:
    return ask.quarantine or QuarantineIn(why="")


def instance_bindings() -> list[Binding]:
    """Return a binding per action, with an id for people who remap keys and a tooltip for the footer and help."""
    rows = [
        Binding(
            row.key, f"ask('{row.action.value}')", row.label, id=f"instance.{row.action.value}", tooltip=row.tooltip
        )
        for row in INSTANCE_ACTIONS
    ]
    copy = "Copy the command that opens the tunnel from a shell"
    return [*rows, Binding("y", "copy_ssh", "Copy ssh", id="instance.copy_ssh", tooltip=copy, show=False)]


def may(instance: InstanceOut | None, action: str) -> bool:
    """Return whether the platform offers this action on this instance now."""
    return instance is not None and Action(action) in instance.allowed_actions


def perform(api: Api, project: str, ask: Ask) -> InstanceOut:
    """Carry it out and return the instance as the platform then sees it. Raises ClientError when refused."""
    call = BY_ACTION[ask.action].call
    if call is None:
        raise ValueError(f"{ask.action} is no single call")
    return call(api, project, ask)
