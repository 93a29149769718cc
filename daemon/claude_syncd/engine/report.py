"""What is told to the user: status, devices, metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from claude_syncd import __version__
from claude_syncd.core.instant import timestamp
from claude_syncd.core.status import DeviceInfo, Pending, Problem, State, Status, StoreInfo, VaultInfo
from claude_syncd.engine.conflicts import kept
from claude_syncd.engine.forget import outlived

if TYPE_CHECKING:
    from claude_syncd.core.safety import Hold
    from claude_syncd.engine.site import Site
    from claude_syncd.errors import SyncError

LAST_PUSH = "last_push"
LAST_PULL = "last_pull"
PAUSED_UNTIL = "paused_until"
FOREVER = "forever"
_PROBLEMS_SHOWN = 20


def paused_until(site: Site) -> str | None:
    """None while not paused; the time at which it ends, or "forever"."""
    until = site.state.meta(PAUSED_UNTIL)
    if until is not None and until != FOREVER and until <= timestamp(site.now_ns()):
        site.state.set_meta(PAUSED_UNTIL, None)
        return None
    return until


def devices(site: Site) -> list[DeviceInfo]:
    """The devices of the vault, this one first, then by name."""
    infos = [
        DeviceInfo(
            id=p.device,
            name=site.name if p.device == site.me else p.name,
            last_seen=timestamp(p.time_ns) if p.time_ns else None,
            this=p.device == site.me,
        )
        for p in site.state.positions().values()
    ]
    if not any(i.this for i in infos):
        infos.append(DeviceInfo(id=site.me, name=site.name, this=True))
    return sorted(infos, key=lambda i: (not i.this, i.name, i.id))


def status(
    site: Site,
    *,
    pending: Pending,
    approvals: int = 0,
    hold: Hold | None = None,
    error: SyncError | None = None,
    syncing: bool = False,
    daemon: bool = True,
) -> Status:
    """How things are, from what this device knows. Synchronous."""
    until = paused_until(site)
    problems = [Problem(message=message) for message in list(site.problems.values())[:_PROBLEMS_SHOWN]]
    if site.mirror is not None:
        found = [Problem(message=one.problem, hint=one.hint) for one in site.mirror.standing() if one.problem]
        problems = [*found, *problems]
    problems += outlived(site)
    if error is not None:
        problems.insert(0, Problem(message=str(error), hint=error.hint))
    if hold is not None:
        problems.insert(0, Problem(message=hold.message, hint=hold.hint))
    known = devices(site)
    return Status(
        state=_state(hold=hold, until=until, error=error, syncing=syncing),
        version=__version__,
        device=known[0],
        vault=VaultInfo(id=site.vault_id, store=site.store.address),
        pending=pending,
        conflicts=len(kept(site)),
        approvals=approvals,
        last_push=site.state.meta(LAST_PUSH),
        last_pull=site.state.meta(LAST_PULL),
        last_error=str(error) if error is not None else None,
        devices=known,
        stores=_stores(site, error),
        problems=problems,
        paused_until=until,
        daemon=daemon,
    )


def _each_store(site: Site) -> list[str]:
    """How each of several stores is; the other counters are for all together."""
    name = "claude_syncd_store_requests_total"
    lines = [f"# HELP {name} Requests that left for each store.", f"# TYPE {name} counter"]
    for store, traffic in site.counter.each().items():
        lines += [f'{name}{{store="{store}",kind="{kind}"}} {count}' for kind, count in traffic.requests.items()]
    name = "claude_syncd_store_behind"
    lines += [f"# HELP {name} Objects that each store lacks.", f"# TYPE {name} gauge"]
    return lines + [f'{name}{{store="{one.url}"}} {one.behind}' for one in _stores(site, None)]


def _stores(site: Site, error: SyncError | None) -> list[StoreInfo]:
    if site.mirror is None:
        reached = error is None or not error.offline
        return [StoreInfo(url=site.store.address, state="ok" if reached else "unreachable")]
    return [StoreInfo(url=one.url, state=one.state, behind=one.behind) for one in site.mirror.standing()]


def _state(*, hold: Hold | None, until: str | None, error: SyncError | None, syncing: bool) -> State:
    if hold is not None:
        return State.HELD
    if until is not None:
        return State.PAUSED
    if error is not None:
        return State.OFFLINE if error.offline else State.ERROR
    return State.SYNCING if syncing else State.IDLE


def metrics(site: Site, now: Status, *, rounds: int, loop_lag_seconds: float) -> str:
    """Counters in the Prometheus text format."""
    traffic = site.counter.snapshot()
    lines = [
        "# HELP claude_syncd_requests_total Requests that left for the store.",
        "# TYPE claude_syncd_requests_total counter",
        *(f'claude_syncd_requests_total{{kind="{kind}"}} {count}' for kind, count in traffic.requests.items()),
    ]
    if site.mirror is not None:
        lines += _each_store(site)
    for name, kind, text, value in (
        ("sent_bytes_total", "counter", "Bytes of objects sent.", traffic.bytes_up),
        ("received_bytes_total", "counter", "Bytes of objects received.", traffic.bytes_down),
        ("rounds_total", "counter", "Rounds that were run.", rounds),
        ("loop_lag_seconds_max", "gauge", "The longest that the event loop was late.", loop_lag_seconds),
        ("pending_uploads", "gauge", "Files that wait to be uploaded.", now.pending.upload),
        ("pending_downloads", "gauge", "Files that wait to be downloaded.", now.pending.download),
        ("parked", "gauge", "Incoming files that wait for a running Claude Code.", now.pending.parked),
        ("conflicts", "gauge", "Kept sides of conflicts.", now.conflicts),
        ("approvals", "gauge", "Settings that wait for approval.", now.approvals),
        ("up", "gauge", "Whether the last round went well.", int(now.last_error is None)),
    ):
        lines += [
            f"# HELP claude_syncd_{name} {text}",
            f"# TYPE claude_syncd_{name} {kind}",
            f"claude_syncd_{name} {value}",
        ]
    return "\n".join(lines) + "\n"
