"""The table of what can be asked, and who answers."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from claude_syncd.control import events
from claude_syncd.control.messages import (
    ApprovalsAnswer,
    ApprovedAnswer,
    ApproveRequest,
    CheckRequest,
    ConflictDetail,
    ConflictDraft,
    ConflictsAnswer,
    DevicesAnswer,
    DiffAnswer,
    ForgetAnswer,
    ForgetRequest,
    LogAnswer,
    LogRequest,
    MergedRequest,
    PauseRequest,
    ProjectsAnswer,
    RemoveAnswer,
    RemoveRequest,
    RenameRequest,
    ResolvedAnswer,
    ResolveRequest,
    RestoreAnswer,
    RestoreRequest,
    ResumeRequest,
    RunRequest,
)
from claude_syncd.control.openapi import document
from claude_syncd.control.route import EVENT_STREAM, Ask, Route
from claude_syncd.core.status import CheckReport, RunResult, Status
from claude_syncd.errors import SyncError

if TYPE_CHECKING:
    from claude_syncd.control.messages import Kind
    from claude_syncd.core.status import Progress

PROMETHEUS = "text/plain"

_run_decoder = msgspec.json.Decoder(RunRequest)
_pause_decoder = msgspec.json.Decoder(PauseRequest)
_resume_decoder = msgspec.json.Decoder(ResumeRequest)
_resolve_decoder = msgspec.json.Decoder(ResolveRequest)
_approve_decoder = msgspec.json.Decoder(ApproveRequest)
_log_decoder = msgspec.json.Decoder(LogRequest)
_restore_decoder = msgspec.json.Decoder(RestoreRequest)
_forget_decoder = msgspec.json.Decoder(ForgetRequest)
_merged_decoder = msgspec.json.Decoder(MergedRequest)
_rename_decoder = msgspec.json.Decoder(RenameRequest)
_remove_decoder = msgspec.json.Decoder(RemoveRequest)
_check_decoder = msgspec.json.Decoder(CheckRequest)


async def _status(ask: Ask) -> Status:
    return await ask.service.status()


async def _run(kind: Kind, ask: Ask) -> msgspec.Struct | web.StreamResponse:
    request = await ask.body(_run_decoder)
    if EVENT_STREAM not in ask.http.headers.get("Accept", ""):
        outcome = await ask.runs.run(kind, request, _ignore)
        if isinstance(outcome, SyncError):
            raise outcome
        return outcome
    feed = events.Feed()
    ask.runs.follow(kind, request, feed)
    return await events.send(feed, ask.http)


def _ignore(_progress: Progress) -> None:
    """For a client that waits for the result only."""


async def _pause(ask: Ask) -> Status:
    await ask.service.pause((await ask.body(_pause_decoder)).seconds)
    return await ask.service.status()


async def _resume(ask: Ask) -> Status:
    await ask.service.resume(accept=(await ask.body(_resume_decoder)).accept)
    return await ask.service.status()


async def _diff(ask: Ask) -> DiffAnswer:
    return DiffAnswer(diff=await ask.service.diff())


async def _conflicts(ask: Ask) -> ConflictsAnswer:
    return ConflictsAnswer(conflicts=await ask.service.conflicts())


async def _conflict(ask: Ask) -> ConflictDetail:
    return await ask.service.conflict(ask.http.match_info["id"])


async def _resolve(ask: Ask) -> ResolvedAnswer:
    request = await ask.body(_resolve_decoder)
    return ResolvedAnswer(resolved=await ask.service.resolve(ask.http.match_info.get("id"), request.keep))


async def _approvals(ask: Ask) -> ApprovalsAnswer:
    return ApprovalsAnswer(approvals=await ask.service.approvals())


async def _approve(ask: Ask) -> ApprovedAnswer:
    request = await ask.body(_approve_decoder)
    return ApprovedAnswer(answered=await ask.service.approve(request))


async def _log(ask: Ask) -> LogAnswer:
    return await ask.service.log(await ask.body(_log_decoder))


async def _restore(ask: Ask) -> RestoreAnswer:
    return await ask.service.restore(await ask.body(_restore_decoder))


async def _forget(ask: Ask) -> ForgetAnswer:
    return await ask.service.forget(await ask.body(_forget_decoder))


async def _draft(ask: Ask) -> ConflictDraft:
    return await ask.service.draft(ask.http.match_info["id"])


async def _merged(ask: Ask) -> ResolvedAnswer:
    request = await ask.body(_merged_decoder)
    await ask.service.merged(ask.http.match_info["id"], request)
    return ResolvedAnswer(resolved=1)


async def _devices(ask: Ask) -> DevicesAnswer:
    return DevicesAnswer(devices=await ask.service.devices())


async def _rename(ask: Ask) -> DevicesAnswer:
    await ask.service.rename_device((await ask.body(_rename_decoder)).name)
    return DevicesAnswer(devices=await ask.service.devices())


async def _remove(ask: Ask) -> RemoveAnswer:
    return await ask.service.remove_device(await ask.body(_remove_decoder))


async def _projects(ask: Ask) -> ProjectsAnswer:
    return ProjectsAnswer(projects=await ask.service.projects())


async def _check(ask: Ask) -> CheckReport:
    return await ask.service.check(await ask.body(_check_decoder))


async def _poke(ask: Ask) -> None:
    await ask.service.poke()


async def _metrics(ask: Ask) -> web.Response:
    text = await ask.service.metrics()
    return web.Response(body=text.encode(), headers={"Content-Type": f"{PROMETHEUS}; version=0.0.4; charset=utf-8"})


async def _events(ask: Ask) -> web.StreamResponse:
    feed = events.Feed()
    with ask.runs.telling(feed):
        return await events.send(feed, ask.http)


async def _openapi(_ask: Ask) -> web.Response:
    return web.Response(body=document(ROUTES), content_type="application/json")


_RUN_EVENTS = ("progress", "result", "error")
_RUN_ANSWERS = (RunResult, DiffAnswer)

ROUTES: tuple[Route, ...] = (
    Route("status", "GET", "/v1/status", "How things are", _status, answers=(Status,)),
    Route(
        "push",
        "POST",
        "/v1/push",
        "Upload what changed here, and wait",
        partial(_run, "push"),
        body=RunRequest,
        answers=_RUN_ANSWERS,
        events=_RUN_EVENTS,
    ),
    Route(
        "pull",
        "POST",
        "/v1/pull",
        "Download what other devices pushed, and wait",
        partial(_run, "pull"),
        body=RunRequest,
        answers=_RUN_ANSWERS,
        events=_RUN_EVENTS,
    ),
    Route(
        "sync",
        "POST",
        "/v1/sync",
        "Pull and push, and wait",
        partial(_run, "sync"),
        body=RunRequest,
        answers=_RUN_ANSWERS,
        events=_RUN_EVENTS,
    ),
    Route("pause", "POST", "/v1/pause", "Stop syncing", _pause, body=PauseRequest, answers=(Status,)),
    Route("resume", "POST", "/v1/resume", "Sync again", _resume, body=ResumeRequest, answers=(Status,)),
    Route("diff", "GET", "/v1/diff", "Local against vault, file by file", _diff, answers=(DiffAnswer,)),
    Route("conflicts", "GET", "/v1/conflicts", "The kept sides", _conflicts, answers=(ConflictsAnswer,)),
    Route(
        "resolveAll",
        "POST",
        "/v1/conflicts/resolve",
        "End every conflict",
        _resolve,
        body=ResolveRequest,
        answers=(ResolvedAnswer,),
    ),
    Route(
        "conflict",
        "GET",
        "/v1/conflicts/{id}",
        "One conflict, with what differs",
        _conflict,
        answers=(ConflictDetail,),
    ),
    Route(
        "resolve",
        "POST",
        "/v1/conflicts/{id}/resolve",
        "End one conflict",
        _resolve,
        body=ResolveRequest,
        answers=(ResolvedAnswer,),
    ),
    Route(
        "approvals",
        "GET",
        "/v1/approvals",
        "Settings of other devices that wait for an answer",
        _approvals,
        answers=(ApprovalsAnswer,),
    ),
    Route(
        "approve",
        "POST",
        "/v1/approvals",
        "Put waiting settings into the file here, or leave them out",
        _approve,
        body=ApproveRequest,
        answers=(ApprovedAnswer,),
    ),
    Route("log", "POST", "/v1/log", "The versions of a file", _log, body=LogRequest, answers=(LogAnswer,)),
    Route(
        "restore",
        "POST",
        "/v1/restore",
        "Bring back a version of a file, or the tree as of a time",
        _restore,
        body=RestoreRequest,
        answers=(RestoreAnswer,),
    ),
    Route(
        "forget",
        "POST",
        "/v1/forget",
        "Delete files for good, on every device",
        _forget,
        body=ForgetRequest,
        answers=(ForgetAnswer,),
    ),
    Route(
        "draft",
        "GET",
        "/v1/conflicts/{id}/draft",
        "Both sides of a conflict as text",
        _draft,
        answers=(ConflictDraft,),
    ),
    Route(
        "merged",
        "POST",
        "/v1/conflicts/{id}/merged",
        "End a conflict with what its user made of both sides",
        _merged,
        body=MergedRequest,
        answers=(ResolvedAnswer,),
    ),
    Route("devices", "GET", "/v1/devices", "The devices of the vault", _devices, answers=(DevicesAnswer,)),
    Route(
        "renameDevice",
        "POST",
        "/v1/devices/rename",
        "Name this device anew",
        _rename,
        body=RenameRequest,
        answers=(DevicesAnswer,),
    ),
    Route(
        "removeDevice",
        "POST",
        "/v1/devices/remove",
        "Take another device out of the vault",
        _remove,
        body=RemoveRequest,
        answers=(RemoveAnswer,),
    ),
    Route(
        "projects",
        "GET",
        "/v1/projects",
        "The projects of the vault, and how each is matched here",
        _projects,
        answers=(ProjectsAnswer,),
    ),
    Route(
        "check",
        "POST",
        "/v1/check",
        "Verify the vault, object by object",
        _check,
        body=CheckRequest,
        answers=(CheckReport,),
    ),
    Route("poke", "POST", "/v1/poke", "Something changed: push it without waiting for quiet", _poke),
    Route("events", "GET", "/v1/events", "What happens, as it happens", _events, events=("progress", "status")),
    Route("metrics", "GET", "/v1/metrics", "Counters in the Prometheus text format", _metrics, media=PROMETHEUS),
    Route("openapi", "GET", "/v1/openapi.json", "This description", _openapi, media="application/json"),
)
