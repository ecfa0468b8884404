"""What the command palette offers: the keys of the screen below it, the instances, the projects."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.types import IgnoreReturnCallbackType

from nightingale_tui.widgets import words

if TYPE_CHECKING:
    from nightingale_tui.app import NightingaleApp

Row = tuple[str, str, IgnoreReturnCallbackType]


class _Rows(Provider):
    """A provider of rows of (text, help, callback); shows them all before a word is typed when `is_short`."""

    is_short = True

    def rows(self) -> Iterator[Row]:
        """Yield what can be done."""
        raise NotImplementedError

    @property
    def night(self) -> NightingaleApp:
        """The app."""
        return cast("NightingaleApp", self.app)

    async def discover(self) -> Hits:
        """Yield every row, before anything is typed."""
        if self.is_short:
            for text, about, callback in self.rows():
                yield DiscoveryHit(text, callback, help=about)

    async def search(self, query: str) -> AsyncIterator[Hit]:
        """Yield the rows that match."""
        matcher = self.matcher(query)
        for text, about, callback in self.rows():
            score = matcher.match(text)
            if score > 0:
                yield Hit(score, matcher.highlight(text), callback, help=about)


class KeyCommands(_Rows):
    """Everything that has a key and is offered now."""

    def rows(self) -> Iterator[Row]:
        """Yield each binding with an id, with its key."""
        screen = self.screen
        for key, active in screen.active_bindings.items():
            binding = active.binding
            if active.enabled and binding.id and binding.description and not binding.id.startswith(("table.", "log.")):

                async def run(action: str = binding.action, node: object = active.node) -> None:
                    await self.app.run_action(action, node)  # type: ignore[arg-type] # the node a binding came from

                about = f"{self.app.get_key_display(binding) or key}: {binding.tooltip}"
                yield f"{binding.description}{self._whose(binding.id)}", about, run

    def _whose(self, binding_id: str) -> str:
        selected = getattr(self.screen, "selected", None)
        return f" {selected.name}" if selected is not None and binding_id.startswith("instance.") else ""


class InstanceCommands(_Rows):
    """Go to an instance by name."""

    is_short = False

    def rows(self) -> Iterator[Row]:
        """Yield each instance that is known."""
        for one in self.night.controller.feed.instances:
            label = words.status_label(one)
            yield (
                f"Go to {one.name}",
                f"{label.sign} {label.word}, {one.owner}, {words.price(one.cost)} so far",
                lambda one=one: self.night.go_to(one.id),
            )


class ProjectCommands(_Rows):
    """Switch to another project of this person."""

    def rows(self) -> Iterator[Row]:
        """Yield each other membership."""
        control = self.night.controller
        for member in control.me.memberships if control.me else ():
            if member.project != control.project:
                yield (
                    f"Switch to project {member.project}",
                    f"{member.title or member.project}, as {member.role.value}",
                    lambda name=member.project: control.switch_project(name),
                )
