"""What people read: times, sizes and the screens of `status`, `diff`, `conflicts` and `devices`, as lines of text."""

# Imports cost start-up time.
# ruff: noqa: PLC0415
from __future__ import annotations

from claude_syncd.ctl.terminal import line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from claude_syncd.control.messages import DiffAnswer
    from claude_syncd.core.status import ConflictInfo, DeviceInfo, FileVersions, Pending, RunResult, Status

    Paint = Callable[[str, str], str]

_STATES = {
    "idle": ("in sync", "green"),
    "syncing": ("syncing", "blue"),
    "paused": ("paused", "yellow"),
    "offline": ("offline: the store can't be reached", "yellow"),
    "held": ("held: it waits for your answer", "red"),
    "error": ("stopped by an error", "red"),
}

_CHANGES = {
    "upload": ("upload", "green"),
    "download": ("download", "blue"),
    "delete-remote": ("delete there", "red"),
    "delete-local": ("delete here", "red"),
    "conflict": ("conflict", "yellow"),
    "evict": ("evict", "dim"),
    "park": ("park", "dim"),
}


def count(number: int, what: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def size(number: int) -> str:
    """Bytes, as 999 B, 1.2 kB, 34 MB."""
    amount, unit = float(number), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if amount < 999.5 or unit == "TB":
            break
        amount /= 1000
    return f"{amount:.0f} {unit}" if unit == "B" or amount >= 9.95 else f"{amount:.1f} {unit}"


def seconds_since(moment: str, now: float) -> float | None:
    """How long ago the ISO 8601 time was; `now` in seconds since 1970. None when it is no time."""
    from datetime import datetime, timezone

    try:
        parsed = datetime.fromisoformat(moment)
    except ValueError:
        return None
    # `timezone.utc` has a younger name that is slower to get.
    return now - (parsed if parsed.tzinfo else parsed.replace(tzinfo=timezone.utc)).timestamp()  # noqa: UP017


def span(seconds: float) -> str:
    """`5 seconds`, `3 minutes`, `2 hours`, `12 days`."""
    for length, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= length:
            return count(int(seconds // length), unit)
    return count(int(seconds), "second")


def when(moment: str | None, now: float) -> str:
    """`3 minutes ago`; `in 2 hours`; `never` for None."""
    if moment is None:
        return "never"
    passed = seconds_since(moment, now)
    if passed is None:
        return line(moment)
    if passed < -1:
        return f"in {span(-passed)}"
    return "just now" if passed < 2 else f"{span(passed)} ago"


def until(moment: str | None, now: float) -> str:
    """When a pause ends, by the local clock: `, goes on at 14:05`; nothing for None."""
    ahead = None if moment is None else seconds_since(moment, now)
    if moment is None or ahead is None:
        return ""
    from datetime import datetime

    local = datetime.fromisoformat(moment).astimezone()
    return local.strftime(", goes on at %H:%M" if ahead > -12 * 3600 else ", goes on at %Y-%m-%d %H:%M")


def status_lines(status: Status, now: float, paint: Paint) -> list[str]:
    """One screen: how it is, then the facts, then the devices, and last what the user should do."""
    word, colour = _STATES.get(status.state, (str(status.state), "yellow"))
    if status.state == "idle" and (status.pending.upload or status.pending.download):
        word, colour = "changes are waiting", "blue"
    if status.state == "paused":
        word += until(status.paused_until, now)
    by = f"daemon {status.version}" if status.daemon else "no daemon is running"
    rows = [
        ("device", f"{line(status.device.name)} {paint(f'({status.device.id[:8]})', 'dim')}"),
        *_store_rows(status, paint),
        ("pushed", when(status.last_push, now)),
        ("pulled", when(status.last_pull, now)),
        ("pending", _pending(status.pending)),
    ]
    if status.conflicts:
        rows.append(("conflicts", f"{paint(str(status.conflicts), 'yellow')} (see `claude-syncctl conflicts`)"))
    if status.approvals:
        waiting = paint(count(status.approvals, "setting"), "yellow")
        rows.append(("approvals", f"{waiting} of other devices (see `claude-syncctl approve`)"))
    lines = [f"{paint(word, colour)} {paint(f'({by})', 'dim')}", ""]
    lines += [f"{paint(f'{label:<10}', 'dim')}{text}" for label, text in rows]
    if status.devices:
        lines += ["", *device_lines(status.devices, now, paint)]
    return lines + _problem_lines(status, paint)


_STORES = {
    "ok": ("", ""),
    "behind": ("behind", "blue"),
    "unreachable": ("out of reach", "yellow"),
    "disagrees": ("disagrees: see below", "red"),
}


def _store_rows(status: Status, paint: Paint) -> list[tuple[str, str]]:
    """A row for each store; how it is only where there are several."""
    if len(status.stores) < 2:
        return [("store", line(status.vault.store))]
    rows = []
    for number, store in enumerate(status.stores):
        word, colour = _STORES.get(store.state, (str(store.state), "yellow"))
        missing = f"lacks {count(store.behind, 'object')}" if store.behind else ""
        how = ", ".join(part for part in (word, missing) if part) or "up to date"
        rows.append(("also" if number else "store", f"{line(store.url)} {paint(f'({how})', colour or 'dim')}"))
    return rows


def _pending(pending: Pending) -> str:
    parts = [
        f"{number:,} to {what}"
        for number, what in ((pending.upload, "upload"), (pending.download, "download"))
        if number
    ]
    if pending.parked:
        parts.append(f"{pending.parked:,} parked until their sessions end")
    return ", ".join(parts) or "nothing"


def _problem_lines(status: Status, paint: Paint) -> list[str]:
    lines: list[str] = []
    told = {problem.message for problem in status.problems}
    if status.last_error and status.last_error not in told:
        lines += ["", f"{paint('error:', 'red')} {line(status.last_error)}"]
    for problem in status.problems:
        lines += ["", f"{paint('problem:', 'yellow')} {line(problem.message)}"]
        if problem.hint:
            lines.append(f"hint: {line(problem.hint)}")
    return lines


def device_lines(devices: list[DeviceInfo], now: float, paint: Paint) -> list[str]:
    """One line for each device: its name, its id's beginning, when it last pushed."""
    names = [line(device.name) for device in devices]
    width = max(map(len, [*names, "device"]))
    lines = [paint(f"{'device':<{width}}  {'id':<8}  last pushed", "dim")]
    for name, device in zip(names, devices, strict=True):
        this = paint("  (this device)", "dim") if device.this else ""
        lines.append(f"{name:<{width}}  {device.id[:8]}  {when(device.last_seen, now)}{this}")
    return lines


def diff_lines(answer: DiffAnswer, paint: Paint) -> list[str]:
    """One line for each file that differs, and how many there are."""
    if not answer.diff:
        return ["no differences"]
    width = max(len(_CHANGES.get(item.change, (str(item.change), ""))[0]) for item in answer.diff)
    lines = []
    for item in answer.diff:
        word, colour = _CHANGES.get(item.change, (str(item.change), "yellow"))
        bytes_here = item.remote_size if item.change == "download" else item.local_size
        amount = "" if bytes_here is None else size(bytes_here)
        origin = paint(f"  ({line(item.device)})", "dim") if item.device else ""
        lines.append(f"{paint(f'{word:<{width}}', colour)}  {amount:>7}  {line(item.path)}{origin}")
    return [*lines, "", count(len(answer.diff), "file")]


def conflict_lines(conflicts: list[ConflictInfo], now: float, paint: Paint) -> list[str]:
    """Two lines for each conflict: its id and path, then where the other side lies."""
    if not conflicts:
        return ["no conflicts"]
    lines: list[str] = []
    for item in conflicts:
        lines.append(f"{paint(line(item.id), 'bold')}  {line(item.path)}")
        origin = f"by {line(item.device)}, {size(item.size)}, {when(item.mtime, now)}"
        lines.append(f"    other side {origin}: {line(item.file)}")
    return [*lines, "", "hint: `claude-syncctl conflicts resolve ID --keep local|remote|both` ends one"]


def version_lines(files: list[FileVersions], now: float, paint: Paint) -> list[str]:
    """Of one file a line for each version, the newest first; of several a line for each file."""
    if len(files) != 1:
        return [*(_file_line(file, now, paint) for file in files), "", count(len(files), "file")]
    (file,) = files
    devices = [line(version.device) for version in file.versions]
    width = max(map(len, [*devices, "device"]))
    ids = max([len("id"), *(len(version.id) for version in file.versions)])
    lines = [paint(f"{'':>4}  {'time':<19}  {'device':<{width}}  {'size':>7}  {'id':<{ids}}", "dim")]
    for name, version in zip(devices, file.versions, strict=True):
        number = "" if version.number is None else str(version.number)
        amount = "" if version.size is None else size(version.size)
        note = _KINDS.get(version.kind, str(version.kind))
        if version.here:
            note = paint("here now", "green")
        row = (
            f"{number:>4}  {local_time(version.time)}  {name:<{width}}  {amount:>7}  {line(version.id):<{ids}}  {note}"
        )
        lines.append(row.rstrip())
    if file.changed_here:
        lines += ["", f"what is in {line(file.path)} now was not pushed yet"]
    return lines


_KINDS = {
    "file": "",
    "deleted": "deleted",
    "evicted": "evicted here, kept in the vault",
    "kept": "kept side of a conflict",
}


def _file_line(file: FileVersions, now: float, paint: Paint) -> str:
    newest = file.versions[0] if file.versions else None
    if newest is None:
        return line(file.path)
    gone = paint(f"  ({_KINDS[newest.kind]})", "dim") if newest.kind in ("deleted", "evicted") else ""
    return f"{count(len(file.versions), 'version'):>12}  {when(newest.time, now):<16}  {line(file.path)}{gone}"


def local_time(moment: str) -> str:
    """An ISO 8601 time by the local clock, to the second."""
    from datetime import datetime

    try:
        return datetime.fromisoformat(moment).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError):
        return line(moment)


def result_text(kind: str, result: RunResult) -> str:
    """What a run did, in one line."""
    parts = [
        f"{count(number, 'file')} {done}"
        for number, done in (
            (result.uploaded, "uploaded"),
            (result.downloaded, "downloaded"),
            (result.deleted, "deleted"),
            (result.parked, "parked until their sessions end"),
        )
        if number
    ]
    if result.conflicts:
        parts.append(f"{count(result.conflicts, 'conflict')} (see `claude-syncctl conflicts`)")
    if not parts:
        return {"push": "nothing to push", "pull": "nothing to pull"}.get(kind, "nothing to do: all is in sync")
    return ", ".join(parts)


def request_text(result: RunResult) -> str:
    """What a run cost at the store."""
    kinds = ("put", "get", "list", "delete", "head")
    asked = ", ".join(f"{getattr(result.requests, kind)} {kind}" for kind in kinds if getattr(result.requests, kind))
    return f"{size(result.bytes_up)} up, {size(result.bytes_down)} down; requests: {asked or 'none'}"
