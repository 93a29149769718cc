"""What people do on a machine, one function each. `chance` is the step's own."""

from __future__ import annotations

import json
import os
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sim_world import WORD, row

from claude_syncd.core.portable import encode_key
from claude_syncd.engine import conflicts
from claude_syncd.errors import SyncError

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from sim_device import Machine

PROJECTS = ("dev", "dev/app", "notes")
TEXTS = ("CLAUDE.md", "agents/a.md", "commands/c.md", "projects/{}/memory/MEMORY.md", "projects/{}/memory/m.md")
DAY = 86_400 * 10**9


def _put(machine: Machine, path: Path, data: bytes) -> None:
    """Write a file as editors do: sometimes in place, sometimes another one under its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if machine.world.chance.random() < 0.5:
        path.write_bytes(data)
    else:
        beside = path.with_name(".edited")
        beside.write_bytes(data)
        beside.replace(path)
    _touch(machine, path)


def _touch(machine: Machine, path: Path) -> None:
    now = machine.world.loop.now_ns()
    os.utime(path, ns=(now, now))


def _cwd(machine: Machine, project: str) -> str:
    return f"/home/{machine.user}/{project}"


def _folder(machine: Machine, project: str) -> Path:
    return machine.places.tree / "projects" / encode_key(_cwd(machine, project))


def _sessions(machine: Machine) -> list[Path]:
    return sorted(p for p in (machine.places.tree / "projects").glob("*/*.jsonl") if not p.name.startswith("."))


def _stamp(machine: Machine) -> str:
    now = machine.world.loop.now_ns() / 1e9
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _message(machine: Machine, session: str, before: bytes, where: str, chance: random.Random) -> bytes:
    """A message that follows the last one of `before`."""
    parent = None
    for line in reversed(before.split(b"\n")):
        if b'"uuid"' in line:
            try:
                parent = json.loads(line)["uuid"]
            except (ValueError, KeyError):
                continue
            break
    return row(
        parentUuid=parent,
        cwd=_cwd(machine, "dev"),
        sessionId=session,
        type="user",
        message={"role": "user", "content": f"say {machine.world.word(where)}"},
        uuid=str(uuid.UUID(bytes=chance.randbytes(16), version=4)),
        timestamp=_stamp(machine),
    )


def converse(machine: Machine, chance: random.Random) -> None:
    """Go on with a session, or begin one: some messages, and now and then rows of the other kind or a torn one."""
    known = _sessions(machine)
    if known and chance.random() < 0.85:
        path = chance.choice(known)
    else:
        session = str(uuid.UUID(bytes=chance.randbytes(16), version=4))
        path = _folder(machine, chance.choice(PROJECTS)) / f"{session}.jsonl"
    _go_on(machine, path, chance)


def _go_on(machine: Machine, path: Path, chance: random.Random) -> None:
    session = path.stem
    before = path.read_bytes() if path.exists() else b""
    if before != machine.live.get(path, before):
        machine.world.violation(f"d{machine.number}: the file of a running session was touched: {path.name}")
    added = b"\n" if before and not before.endswith(b"\n") else b""
    where = f"session {session[:8]}"
    for _ in range(chance.randint(1, 3)):
        if chance.random() < 0.25:
            added += row(type="last-prompt", lastPrompt=f"p{chance.randrange(100)}", sessionId=session)
        else:
            added += _message(machine, session, before + added, where, chance)
    if chance.random() < 0.08:
        added += b'{"parentUuid":"torn'
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(added)
    _touch(machine, path)
    if path in machine.live:
        machine.live[path] = before + added


def take_back(machine: Machine, chance: random.Random) -> None:
    """The last rows of a session are removed, as a message that is taken back is."""
    known = [p for p in _sessions(machine) if p not in machine.live]
    if not known:
        return
    path = chance.choice(known)
    before = path.read_bytes()
    lines = before.splitlines(keepends=True)
    after = b"".join(lines[: max(1, len(lines) - chance.randint(1, 3))])
    machine.world.took_out(before, after)
    path.write_bytes(after)
    _touch(machine, path)


def subagent(machine: Machine, chance: random.Random) -> None:
    """A file in a session's side folder."""
    known = _sessions(machine)
    if not known:
        return
    path = chance.choice(known)
    name = chance.choice(("subagents/agent-1.jsonl", "tool-results/r.txt"))
    side = path.with_suffix("") / name
    where = f"side {path.stem[:8]}/{name}"
    if name.endswith(".jsonl"):
        before = side.read_bytes() if side.exists() else b""
        side.parent.mkdir(parents=True, exist_ok=True)
        with side.open("ab") as file:
            file.write(_message(machine, path.stem, before, where, chance))
        _touch(machine, side)
    elif not side.exists():
        _put(machine, side, f"output {machine.world.word(where)}\n".encode())


def edit(machine: Machine, chance: random.Random) -> None:
    """Change a text: a line more, less, or another one."""
    project = encode_key(_cwd(machine, chance.choice(PROJECTS[:2])))
    path = machine.places.tree / chance.choice(TEXTS).format(project)
    before = path.read_bytes() if path.exists() else b""
    lines = before.decode().splitlines(keepends=True)
    new = [f"- {machine.world.word(path.name)}\n" for _ in range(chance.randint(1, 2))]
    for line in new:
        at = chance.randint(0, len(lines))
        if lines and at < len(lines) and chance.random() < 0.4:
            lines[at] = line
        elif lines and at < len(lines) and chance.random() < 0.3:
            del lines[at]
        else:
            lines.insert(at, line)
    after = "".join(lines).encode()
    machine.world.took_out(before + "".join(new).encode(), after)
    _put(machine, path, after)
    if chance.random() < 0.1:
        path.chmod(chance.choice((0o600, 0o644, 0o755)))


def configure(machine: Machine, chance: random.Random) -> None:
    """Change a setting."""
    path = machine.places.tree / chance.choice(("settings.json", "settings.json", "keybindings.json"))
    before = path.read_bytes() if path.exists() else b"{}"
    try:
        settings = json.loads(before)
    except ValueError:
        return
    word = machine.world.word(path.name)
    if chance.random() < 0.5:
        settings[chance.choice(("model", "theme", "language"))] = word
    else:
        allow = settings.setdefault("permissions", {}).setdefault("allow", [])
        if allow and chance.random() < 0.3:
            allow.pop(chance.randrange(len(allow)))
        allow.append(f"Bash({word})")
    after = json.dumps(settings, indent=2).encode()
    machine.world.took_out(before, after)
    _put(machine, path, after)


def prompt(machine: Machine, chance: random.Random) -> None:
    """A prompt is noted in the history."""
    path = machine.places.tree / "history.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.read_bytes() if path.exists() else b""
    line = row(
        display=machine.world.word("history"),
        pastedContents={},
        timestamp=machine.world.loop.now_ns() // 10**6,
        project=_cwd(machine, "dev"),
        sessionId=str(uuid.UUID(bytes=chance.randbytes(16), version=4)),
    )
    with path.open("ab") as file:
        file.write((b"\n" if before and not before.endswith(b"\n") else b"") + line)
    _touch(machine, path)


def draw(machine: Machine, chance: random.Random) -> None:
    """A file that nothing can merge."""
    path = machine.places.tree / "skills" / "s" / chance.choice(("a.bin", "b.bin"))
    before = path.read_bytes() if path.exists() else b""
    after = b"\x00bin " + machine.world.word(path.name).encode() * chance.randint(1, 400)
    machine.world.took_out(before, after)
    _put(machine, path, after)


def change_mode(machine: Machine, chance: random.Random) -> None:
    """Permissions and times change, contents do not."""
    passed_over = ("/conflicts/", "/sessions/", *(p.name for p in machine.live))
    files = [p for rel, p in sorted(machine.files().items()) if not any(part in rel for part in passed_over)]
    if files:
        path = chance.choice(files)
        path.chmod(chance.choice((0o600, 0o644, 0o755)))
        if chance.random() < 0.3:
            _touch(machine, path)


def rename(machine: Machine, chance: random.Random) -> None:
    """A text gets another name."""
    path = machine.places.tree / "agents" / "a.md"
    other = machine.places.tree / "agents" / f"b{chance.randrange(2)}.md"
    if path.exists():
        if other.exists():
            machine.world.took_out(other.read_bytes())
        path.rename(other)


def delete(machine: Machine, chance: random.Random) -> None:
    """A file that is no session is deleted."""
    files = [p for rel, p in sorted(machine.files().items()) if rel.startswith(".claude/") and p.suffix != ".jsonl"]
    files = [p for p in files if p.parent.name not in {"tool-results", "sessions"}]
    if files:
        path = chance.choice(files)
        machine.world.took_out(path.read_bytes())
        path.unlink()


def move_session(machine: Machine, chance: random.Random) -> None:
    """`/cd`: the session's file goes to another project's folder."""
    known = _sessions(machine)
    if not known:
        return
    path = chance.choice(known)
    project = chance.choice(PROJECTS)
    target = _folder(machine, project) / path.name
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    path.rename(target)
    before = target.read_bytes()
    added = row(type="relocated", relocatedCwd=_cwd(machine, project), sessionId=path.stem)
    with target.open("ab") as file:
        file.write((b"" if before.endswith(b"\n") else b"\n") + added)
    _touch(machine, target)
    if machine.live.pop(path, None) is not None:
        machine.live[target] = target.read_bytes()


def sweep(machine: Machine, _chance: random.Random) -> None:
    """Claude Code's cleanup: sessions whose file is older than 30 days are gone, with their side folders."""
    cutoff = machine.world.loop.now_ns() - 30 * DAY
    for path in _sessions(machine):
        if path.stat().st_mtime_ns >= cutoff or path in machine.live:
            continue
        gone = [path]
        side = path.with_suffix("")
        if side.is_dir():
            gone += sorted(p for p in side.rglob("*") if p.is_file())
        machine.world.goes_with([p.read_bytes() for p in gone])
        machine.world.count("swept sessions")
        for one in gone:
            one.unlink()


def open_session(machine: Machine, chance: random.Random) -> None:
    """Claude Code is started with a session; its process is this one."""
    known = _sessions(machine)
    if machine.live or not known:
        return
    path = chance.choice(known)
    marker = machine.places.tree / "sessions" / f"{os.getpid()}.json"
    marker.parent.mkdir(exist_ok=True)
    marker.write_text(json.dumps({"pid": os.getpid(), "sessionId": path.stem}))
    machine.live[path] = path.read_bytes()


def close_session(machine: Machine, _chance: random.Random) -> None:
    """And ended."""
    for path, content in machine.live.items():
        if not path.exists() or path.read_bytes() != content:
            machine.world.violation(f"d{machine.number}: the file of a running session was touched: {path.name}")
    machine.live.clear()
    (machine.places.tree / "sessions" / f"{os.getpid()}.json").unlink(missing_ok=True)


def resolve(machine: Machine, chance: random.Random) -> None:
    """A conflict is looked at and ended. The daemon answers that, so it has to be there."""
    if machine.busy or not machine.running:
        return
    site = machine.site
    found = conflicts.kept(site)
    if not found:
        return
    one = chance.choice(sorted(found, key=lambda f: f.path))
    keep: conflicts.Keep = chance.choice(("local", "remote", "both"))
    kept = machine.places.conflicts / one.path
    content = kept.read_bytes()
    rel = one.path.partition("/")[2]
    spot = site.paths.spot(rel)
    there = machine.places.tree / spot.rel if spot is not None else None
    before = there.read_bytes() if there is not None and there.exists() else b""
    try:
        machine.round.dirty |= conflicts.resolve(site, one, keep)
    except SyncError:
        return
    machine.world.count("conflicts resolved")
    if keep == "local":
        machine.world.took_out(content, before)
    elif keep == "remote":
        machine.world.took_out(before, content)


def words_on(machine: Machine) -> set[bytes]:
    """Every word on the machine's disk, in trees and kept sides."""
    return {w for path in machine.files().values() for w in WORD.findall(path.read_bytes())}


ACTIONS = {
    "converse": converse,
    "take back": take_back,
    "subagent": subagent,
    "edit": edit,
    "configure": configure,
    "prompt": prompt,
    "draw": draw,
    "change mode": change_mode,
    "rename": rename,
    "delete": delete,
    "move session": move_session,
    "sweep": sweep,
    "open session": open_session,
    "close session": close_session,
    "resolve": resolve,
}
