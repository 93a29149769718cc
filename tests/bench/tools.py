"""The tools that are compared, each used as its manual says, with its own defaults."""

from __future__ import annotations

import json
import shutil
import subprocess
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from machines import PASSPHRASE, QUICK, Machine
from measure import Run, run

if TYPE_CHECKING:
    from pathlib import Path

    from places import Place


class Tool(ABC):
    """One tool with one place. `work`: an empty folder for what it keeps on the machine that pushes."""

    name: str

    def __init__(self, place: Place, work: Path) -> None:
        self.place, self.work = place, work
        work.mkdir(parents=True)

    @abstractmethod
    def prepare(self, tree: Path, home: Path) -> None:
        """Set up the place, not measured. The tree is not to be changed."""

    @abstractmethod
    def push(self) -> Run:
        """Store what is new in the tree."""

    @abstractmethod
    def pull(self, target: Path) -> Run:
        """Bring everything to the empty folder `target`, as on a machine that never saw it."""

    def detail(self, done: Run) -> str:
        """What the tool says of its last push: bytes, requests."""
        return ""


class Restic(Tool):
    """restic: encrypted, compressed, deduplicated snapshots."""

    name = "restic"

    def prepare(self, tree: Path, home: Path) -> None:
        self.tree = tree
        place = self.place
        if place.s3 is not None:
            where = f"s3:{place.s3.endpoint}/{place.s3.bucket}/{place.prefix}"
            keys = {"AWS_ACCESS_KEY_ID": place.s3.access_key, "AWS_SECRET_ACCESS_KEY": place.s3.secret_key}
        else:
            where, keys = str(place.folder), {}
        self.environment = {
            "RESTIC_REPOSITORY": where,
            "RESTIC_PASSWORD": PASSPHRASE,
            "HOME": str(self.work),
            **keys,
        }
        run(["restic", "init", *self._cache("a")], self.environment)

    def _cache(self, machine: str) -> list[str]:
        return ["--cache-dir", str(self.work / f"cache-{machine}")]

    def push(self) -> Run:
        return run(["restic", "backup", "--json", "--quiet", *self._cache("a"), "."], self.environment, self.tree)

    def pull(self, target: Path) -> Run:
        return run(["restic", "restore", "latest", "--target", target, *self._cache("b")], self.environment)

    def detail(self, done: Run) -> str:
        summary = json.loads(done.output.splitlines()[-1])
        return f"{summary['data_added'] / 1000:.0f} KB added"


class Rclone(Tool):
    """rclone with a crypt remote: each file encrypted by itself, no compression, no history."""

    name = "rclone crypt"

    def prepare(self, tree: Path, home: Path) -> None:
        self.tree = tree
        place = self.place
        done = subprocess.run(["rclone", "obscure", PASSPHRASE], capture_output=True, text=True, check=True)
        self.environment = {
            "HOME": str(self.work),
            "RCLONE_CONFIG": str(self.work / "rclone.conf"),
            "RCLONE_CONFIG_VAULT_TYPE": "crypt",
            "RCLONE_CONFIG_VAULT_PASSWORD": done.stdout.strip(),
            "RCLONE_CONFIG_VAULT_REMOTE": str(place.folder),
        }
        (self.work / "rclone.conf").touch()
        if place.s3 is not None:
            self.environment |= {
                "RCLONE_CONFIG_VAULT_REMOTE": f"base:{place.s3.bucket}/{place.prefix}",
                "RCLONE_CONFIG_BASE_TYPE": "s3",
                "RCLONE_CONFIG_BASE_PROVIDER": "Other",
                "RCLONE_CONFIG_BASE_ENDPOINT": place.s3.endpoint,
                "RCLONE_CONFIG_BASE_ACCESS_KEY_ID": place.s3.access_key,
                "RCLONE_CONFIG_BASE_SECRET_ACCESS_KEY": place.s3.secret_key,
                "RCLONE_CONFIG_BASE_REGION": "us-east-1",
            }

    def push(self) -> Run:
        # The statistics go to the log, once, at the end; they don't slow it down.
        words = ["--stats", "1h", "--stats-one-line", "--stats-log-level", "NOTICE"]
        return run(["rclone", "copy", *words, self.tree, "vault:"], self.environment)

    def pull(self, target: Path) -> Run:
        return run(["rclone", "copy", "--quiet", "vault:", target], self.environment)

    def detail(self, done: Run) -> str:
        return f"{done.messages.rpartition('NOTICE:')[2].partition(' / ')[0].strip()} sent"


class Ours(Tool):
    """claude-syncd, by its commands and without a daemon, so that starting Python is part of the time."""

    name = "claude-syncd"

    def prepare(self, tree: Path, home: Path) -> None:
        self.home = home
        self.machine = self.a_machine("a", tree)
        self.machine.init()

    def a_machine(self, name: str, tree: Path) -> Machine:
        """A machine with its state in `work`; its tree and home are the given ones."""
        tree.mkdir(parents=True, exist_ok=True)
        machine = Machine(self.work / name, self.place.flags, name=name)
        machine.home, machine.tree = self.home, tree
        machine.environment |= {"HOME": str(self.home), "CLAUDE_CONFIG_DIR": str(tree), **self.place.environment}
        for setting in QUICK:
            del machine.environment[setting]  # measured with the settings that users have
        return machine

    def push(self) -> Run:
        return run([Machine.command(), "push", "--json"], self.machine.environment)

    def pull(self, target: Path) -> Run:
        shutil.rmtree(self.work / "b", ignore_errors=True)
        machine = self.a_machine("b", target)
        machine.init()
        return run([Machine.command(), "pull", "--json"], machine.environment)

    def detail(self, done: Run) -> str:
        value = json.loads(done.output)
        requests = ", ".join(f"{count} {kind.upper()}" for kind, count in value["requests"].items() if count)
        return f"{value['bytes_up'] / 1000:.1f} KB up, {value['bytes_down'] / 1000:.1f} KB down; {requests}"


TOOLS: dict[str, type[Tool]] = {"claude-syncd": Ours, "restic": Restic, "rclone": Rclone}


def missing() -> list[str]:
    """Of the tools that are to be installed, those that are not."""
    return [name for name in ("restic", "rclone") if shutil.which(name) is None]
