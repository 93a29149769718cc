"""Apache with mod_dav_fs on a free port of the loopback. Needs the packages of tests/servers/install."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import ClassVar

from s3_server import end_process, free_port, wait_for_port

START_WITHIN = 30.0
MODULES = Path("/usr/lib/apache2/modules")
USERNAME = "ann"
PASSWORD = "the-password-of-ann"
_REALM = "vaults"
_PORT_ATTEMPTS = 5

_CONFIG = """\
ServerRoot "{place}"
ServerName 127.0.0.1
Listen 127.0.0.1:{port}
PidFile "{place}/pid"
ErrorLog "{place}/log"
User www-data
Group www-data
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authn_core_module {modules}/mod_authn_core.so
LoadModule authn_file_module {modules}/mod_authn_file.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule authz_user_module {modules}/mod_authz_user.so
LoadModule auth_basic_module {modules}/mod_auth_basic.so
LoadModule auth_digest_module {modules}/mod_auth_digest.so
LoadModule dav_module {modules}/mod_dav.so
LoadModule dav_fs_module {modules}/mod_dav_fs.so
LoadModule dir_module {modules}/mod_dir.so
LoadModule mime_module {modules}/mod_mime.so
TypesConfig /dev/null
DocumentRoot "{place}/files"
DavLockDB "{place}/locks/db"
DefaultRuntimeDir "{place}"
<Directory "{place}/files">
  Dav On
  AuthType {kind}
  AuthName "{realm}"
  AuthUserFile "{place}/users"
  Require valid-user
</Directory>
"""


class ApacheServer:
    """Start it, use `endpoint`, `username` and `password`, stop it. Nothing of it is left afterwards.

    `folder` is what it shows at `endpoint`; `lacks` names the tests of stores that it can't pass, and says why.
    """

    lacks: ClassVar[dict[str, str]] = {
        "test_one_of_many_conditional_writers_wins": "Apache looks whether a name is free, and writes later",
        "test_the_probe_finds_nothing_wrong_and_leaves_nothing": "the probe finds that several writers may win at once",
        "test_readers_see_whole_objects_while_others_write": "Apache sends one file's length and another one's bytes",
    }

    def __init__(self, *, digest: bool = False) -> None:
        self.endpoint = ""
        self.username: str | None = USERNAME
        self.password: str | None = PASSWORD
        self._digest = digest
        self._place = Path(tempfile.mkdtemp(prefix="apache-"))
        self.folder = self._place / "files"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """Start it and wait until it answers; the endpoint."""
        for name in ("files", "locks"):
            (self._place / name).mkdir()
        if self._digest:
            word = hashlib.md5(f"{USERNAME}:{_REALM}:{PASSWORD}".encode(), usedforsecurity=False).hexdigest()
            (self._place / "users").write_text(f"{USERNAME}:{_REALM}:{word}\n")
        else:
            password = subprocess.run(["openssl", "passwd", "-apr1", PASSWORD], capture_output=True, check=True)
            (self._place / "users").write_text(f"{USERNAME}:{password.stdout.decode()}")
        self._place.chmod(0o755)
        if os.geteuid() == 0:  # it serves as another user then
            for path in (self._place / "files", self._place / "locks"):
                shutil.chown(path, "www-data", "www-data")
        for _ in range(_PORT_ATTEMPTS):
            port = free_port()
            kind = "Digest" if self._digest else "Basic"
            config = self._place / "config"
            config.write_text(_CONFIG.format(place=self._place, port=port, modules=MODULES, kind=kind, realm=_REALM))
            self._process = subprocess.Popen(
                ["/usr/sbin/apache2", "-f", str(config), "-D", "FOREGROUND"], stdin=subprocess.DEVNULL
            )
            if wait_for_port(port, START_WITHIN, self._process):
                self.endpoint = f"http://127.0.0.1:{port}"
                return self.endpoint
        raise RuntimeError(f"Apache did not start:\n{(self._place / 'log').read_text(errors='replace')}")

    def stop(self) -> None:
        """Stop it and remove its folder."""
        if self._process is not None:
            end_process(self._process)
            self._process = None
        shutil.rmtree(self._place, ignore_errors=True)
