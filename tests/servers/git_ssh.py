"""Git over ssh on a free port of the loopback: OpenSSH's server, with a key for the host and one for the user.

Needs the packages of tests/servers/install.
"""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from s3_server import end_process, free_port, wait_for_port

START_WITHIN = 30.0
_ATTEMPTS = 5

_SERVER = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
LogLevel ERROR
"""

_CLIENT = """\
Host *
  Port {port}
  User {user}
  IdentityFile {folder}/user
  IdentityAgent none
  IdentitiesOnly yes
  UserKnownHostsFile {folder}/known
  GlobalKnownHostsFile /dev/null
"""


class GitSshServer:
    """Start it, use `url()` with `command` as GIT_SSH_COMMAND, stop it. Nothing of it is left afterwards."""

    username: str | None = None
    password: str | None = None

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="git-ssh-"))
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def command(self) -> str:
        """The user's way of calling ssh: with a configuration that knows port, key and host."""
        return f"ssh -F {self.folder}/client"

    def url(self, repository: Path) -> str:
        return f"127.0.0.1:{repository}"

    def start(self) -> None:
        for name in ("host", "user"):
            words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / name)]
            subprocess.run(words, check=True, stdin=subprocess.DEVNULL)
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        for _ in range(_ATTEMPTS):
            self.port = free_port()
            (self.folder / "server").write_text(_SERVER.format(port=self.port, folder=self.folder))
            self._process = self._spawn()
            if wait_for_port(self.port, START_WITHIN, self._process):
                break
        else:
            raise RuntimeError(f"sshd did not start:\n{(self.folder / 'log').read_text(errors='replace')}")
        facts = {"port": self.port, "user": getpass.getuser(), "folder": self.folder}
        (self.folder / "client").write_text(_CLIENT.format(**facts))
        kind, key = (self.folder / "host.pub").read_text().split()[:2]
        (self.folder / "known").write_text(f"[127.0.0.1]:{self.port} {kind} {key}\n")

    def stop(self) -> None:
        if self._process is not None:
            end_process(self._process)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _spawn(self) -> subprocess.Popen[bytes]:
        # By its full path, or it refuses to run: it starts itself again for every connection.
        sshd = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/sbin")
        if sshd is None:
            raise RuntimeError("there is no sshd: see tests/servers/install")
        with (self.folder / "log").open("ab") as log:
            words = [sshd, "-D", "-e", "-f", str(self.folder / "server")]
            return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
