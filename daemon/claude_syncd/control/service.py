"""The port between the control server and the daemon: all that a user can ask of a running daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from claude_syncd.control.messages import (
        ApproveRequest,
        CheckRequest,
        ConflictDetail,
        ConflictDraft,
        ForgetAnswer,
        ForgetRequest,
        Keep,
        Kind,
        LogAnswer,
        LogRequest,
        MergedRequest,
        RemoveAnswer,
        RemoveRequest,
        RestoreAnswer,
        RestoreRequest,
        RunRequest,
    )
    from claude_syncd.core.status import (
        ApprovalInfo,
        CheckReport,
        ConflictInfo,
        DeviceInfo,
        DiffLine,
        Progress,
        ProjectInfo,
        RunResult,
        Status,
    )


class Service(Protocol):
    """What the daemon offers. Every method raises only errors of errors.py, and is called on the event loop."""

    async def status(self) -> Status:
        """How things are; answers at once, from what is known, without asking the store."""
        ...

    async def run(
        self, kind: Kind, request: RunRequest, progress: Callable[[Progress], None]
    ) -> RunResult | list[DiffLine]:
        """Push, pull or sync now, and return when it is done; a dry run changes nothing and gives the plan.

        `progress` is called on the event loop, often; it never blocks and never raises. Raises Held while an answer
        from the user is awaited. Calls at the same time are served one after the other or together, as it likes.
        """
        ...

    async def pause(self, seconds: int | None) -> None:
        """Stop syncing, for `seconds` or until resumed; survives a restart."""
        ...

    async def resume(self, *, accept: bool) -> None:
        """End a pause. Raises Held while a hold stands, unless `accept` answers it with yes."""
        ...

    async def diff(self) -> list[DiffLine]:
        """Local against vault, file by file."""
        ...

    async def conflicts(self) -> list[ConflictInfo]:
        """The conflicts that are kept, oldest first."""
        ...

    async def conflict(self, conflict: str) -> ConflictDetail:
        """One conflict, by its id or a beginning of it that is unique; else UsageError."""
        ...

    async def resolve(self, conflict: str | None, keep: Keep) -> int:
        """End one conflict (named as for `conflict`), or all with None; returns how many. UsageError: no such id."""
        ...

    async def approvals(self) -> list[ApprovalInfo]:
        """The settings of other devices that wait for an answer."""
        ...

    async def approve(self, request: ApproveRequest) -> int:
        """Put them into the files here at once, or leave them out until they change; returns how many. UsageError: no
        such id, and nothing was done.
        """
        ...

    async def log(self, request: LogRequest) -> LogAnswer:
        """The versions of a file. UsageError: nothing is known of it."""
        ...

    async def restore(self, request: RestoreRequest) -> RestoreAnswer:
        """Bring back a version, or the tree as of a time. UsageError: there is none, or its place is taken."""
        ...

    async def forget(self, request: ForgetRequest) -> ForgetAnswer:
        """Delete files for good, on every device. UsageError: nothing is known of one, or it is in use."""
        ...

    async def draft(self, conflict: str) -> ConflictDraft:
        """Both sides of one conflict as text. UsageError: it is no text, or there is no such id."""
        ...

    async def merged(self, conflict: str, request: MergedRequest) -> None:
        """End one conflict with another content. UsageError: the tree's side has changed meanwhile."""
        ...

    async def devices(self) -> list[DeviceInfo]:
        """The devices of the vault, this one first."""
        ...

    async def rename_device(self, name: str) -> None:
        """Name this device anew; others see it with its next push."""
        ...

    async def remove_device(self, request: RemoveRequest) -> RemoveAnswer:
        """Take another device out of the vault, when what only it held is published by this one. UsageError: no such
        device, or this one.
        """
        ...

    async def projects(self) -> list[ProjectInfo]:
        """Every project of the vault and how it is matched here, by name."""
        ...

    async def check(self, request: CheckRequest) -> CheckReport:
        """Verify the vault, object by object. Findings are no error."""
        ...

    async def poke(self) -> None:
        """Something changed just now: push what is there without waiting for quiet. Returns at once."""
        ...

    async def metrics(self) -> str:
        """The daemon's counters in the Prometheus text format."""
        ...

    def events(self) -> AsyncIterator[Progress | Status]:
        """Progress as it happens, and a Status whenever it changes; begins with a Status. Ends only by cancellation."""
        ...


class OneShot(Protocol):
    """The same without a daemon: each method works in this process and returns when it is done.

    What changes something takes the lock of the state folder for as long as it works, and raises AlreadyRunning where
    another process has it; what only looks needs no lock. Each method does what its namesake of `Service` says.
    """

    def status(self) -> Status:
        """How things are, from what is on this disk, quickly: the store isn't asked. `daemon` is False."""
        ...

    def run(self, kind: Kind, request: RunRequest, progress: Callable[[Progress], None]) -> RunResult | list[DiffLine]:
        """Push, pull or sync now; `progress` may be called from any thread."""
        ...

    def pause(self, seconds: int | None) -> None:
        """Stop syncing; a daemon that starts later obeys."""
        ...

    def resume(self, *, accept: bool) -> None:
        """End a pause, with `accept` also a hold."""
        ...

    def diff(self) -> list[DiffLine]:
        """Local against vault, file by file."""
        ...

    def conflicts(self) -> list[ConflictInfo]:
        """The conflicts that are kept, oldest first."""
        ...

    def conflict(self, conflict: str) -> ConflictDetail:
        """One conflict."""
        ...

    def resolve(self, conflict: str | None, keep: Keep) -> int:
        """End one conflict, or all."""
        ...

    def approvals(self) -> list[ApprovalInfo]:
        """The settings of other devices that wait for an answer."""
        ...

    def approve(self, request: ApproveRequest) -> int:
        """Answer some of them, or all."""
        ...

    def log(self, request: LogRequest) -> LogAnswer:
        """The versions of a file, as far as this device has heard of them."""
        ...

    def restore(self, request: RestoreRequest) -> RestoreAnswer:
        """Bring back a version, or the tree as of a time; the next push publishes it."""
        ...

    def forget(self, request: ForgetRequest) -> ForgetAnswer:
        """Delete files for good, on every device."""
        ...

    def draft(self, conflict: str) -> ConflictDraft:
        """Both sides of one conflict as text."""
        ...

    def merged(self, conflict: str, request: MergedRequest) -> None:
        """End one conflict with another content."""
        ...

    def devices(self) -> list[DeviceInfo]:
        """The devices of the vault, this one first."""
        ...

    def rename_device(self, name: str) -> None:
        """Name this device anew."""
        ...

    def remove_device(self, request: RemoveRequest) -> RemoveAnswer:
        """Take another device out of the vault."""
        ...

    def projects(self) -> list[ProjectInfo]:
        """Every project of the vault and how it is matched here, by name."""
        ...

    def check(self, request: CheckRequest) -> CheckReport:
        """Verify the vault."""
        ...
