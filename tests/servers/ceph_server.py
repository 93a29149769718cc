"""A production S3 server on a free port of the loopback: Ceph's gateway over one monitor and one disk in a file.

Needs the packages of tests/servers/install. It checks signatures, clocks and permissions like AWS.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
import uuid
from pathlib import Path

from s3_server import end_process, free_port, make_bucket, s3_client, wait_for_port, wait_until

START_WITHIN = 120.0
_ATTEMPTS = 6
"""A process of Ceph's that has just begun is now and then turned away by the monitor (`wrong fsid`, EPERM)."""


_CONFIG = """\
[global]
fsid = {fsid}
mon_host = v1:127.0.0.1:{mon_port}
mon_initial_members = a
public_addr = 127.0.0.1
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
osd_pool_default_size = 1
osd_pool_default_min_size = 1
mon_allow_pool_size_one = true
mon_warn_on_pool_no_redundancy = false
mon_max_pg_per_osd = 2000
mon_data_avail_crit = 1
osd_crush_chooseleaf_type = 0
osd_pool_default_pg_num = 4
osd_pool_default_pg_autoscale_mode = off
ms_bind_ipv6 = false
run_dir = {folder}/run
log_file = {folder}/$name.log
pid_file =
admin_socket = {folder}/run/$name.asok
mon_data = {folder}/mon
osd_data = {folder}/osd
setuser_match_path =
[osd]
osd_objectstore = bluestore
bluestore_block_size = 6442450944
bluestore_fsck_on_mount = false
osd_memory_target = 939524096
bluestore_cache_autotune = false
bluestore_cache_size = 67108864
[client.rgw.a]
rgw_data = {folder}/rgw
rgw_enable_usage_log = false
rgw_dynamic_resharding = false
rgw_run_sync_thread = false
"""


class CephServer:
    """Start it, use `endpoint`, `bucket`, `access_key` and `secret_key`, stop it. Nothing of it is left afterwards.

    A second user (`blind_access_key`, `blind_secret_key`) may read, write and delete objects, and not list them.
    """

    def __init__(self, bucket: str = "vaults") -> None:
        self.bucket = bucket
        self.endpoint = ""
        self.access_key, self.secret_key = "AKIAOWNEROWNEROWNER1", "secret-key-of-the-owner"
        self.blind_access_key, self.blind_secret_key = "AKIABLINDBLINDBLIND1", "secret-key-of-the-blind"
        self._folder = Path(tempfile.mkdtemp(prefix="ceph-"))
        self._config = self._folder / "ceph.conf"
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> str:
        """Make a cluster, start it and wait until it answers; the endpoint."""
        mon_port, fsid = free_port(), str(uuid.uuid4())
        for name in ("mon", "osd", "rgw", "run"):
            (self._folder / name).mkdir()
        self._config.write_text(_CONFIG.format(fsid=fsid, mon_port=mon_port, folder=self._folder))
        self._start_cluster(fsid, mon_port)
        self._start_gateway()
        self._add_user("owner", self.access_key, self.secret_key)
        self._add_user("blind", self.blind_access_key, self.blind_secret_key)
        if not wait_until(self._answers, START_WITHIN):
            raise RuntimeError(f"the gateway does not answer:\n{self._said()}")
        make_bucket(self.endpoint, self.access_key, self.secret_key, self.bucket)
        self._allow_blind()
        return self.endpoint

    def stop(self) -> None:
        """Stop everything and remove its folder."""
        for process in reversed(self._processes):
            end_process(process)
        self._processes.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start_cluster(self, fsid: str, mon_port: int) -> None:
        monitors = str(self._folder / "monmap")
        address = f"[v1:127.0.0.1:{mon_port}]"
        self._run("monmaptool", "--create", "--clobber", "--addv", "a", address, "--fsid", fsid, monitors)
        self._run("ceph-mon", "--mkfs", "--id", "a", "--monmap", monitors)
        self._spawn("ceph-mon", "--id", "a")
        if not wait_for_port(mon_port, START_WITHIN, self._processes[-1]):
            raise RuntimeError(f"the monitor did not start:\n{self._said()}")
        disk = str(uuid.uuid4())
        self._run("ceph", "osd", "new", disk)
        self._run("ceph-osd", "--id", "0", "--mkfs", "--osd-uuid", disk)
        self._start_disk()

    def _start_disk(self) -> None:
        for _ in range(_ATTEMPTS):
            self._spawn("ceph-osd", "--id", "0")
            process = self._processes[-1]
            if wait_until(self._disk_is_up, START_WITHIN, lambda: process.poll() is not None):  # noqa: B023 - used at once
                return
            end_process(self._processes.pop())
        raise RuntimeError(f"the disk did not start:\n{self._said()}")

    def _start_gateway(self) -> None:
        for _ in range(_ATTEMPTS):
            port = free_port()  # chosen late: another server may take it meanwhile
            self._spawn("radosgw", "--name", "client.rgw.a", "--rgw-frontends", f"beast endpoint=127.0.0.1:{port}")
            if wait_for_port(port, START_WITHIN, self._processes[-1]):
                self.endpoint = f"http://127.0.0.1:{port}"
                return
            end_process(self._processes.pop())
        raise RuntimeError(f"the gateway did not start:\n{self._said()}")

    def _disk_is_up(self) -> bool:
        return bool(json.loads(self._run("ceph", "osd", "stat", "--format", "json"))["num_up_osds"])

    def _add_user(self, name: str, access_key: str, secret_key: str) -> None:
        keys = ("--access-key", access_key, "--secret-key", secret_key)
        self._run("radosgw-admin", "user", "create", "--uid", name, "--display-name", name, *keys)

    def _allow_blind(self) -> None:
        statement = {
            "Effect": "Allow",
            "Principal": {"AWS": ["arn:aws:iam:::user/blind"]},
            "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
            "Resource": [f"arn:aws:s3:::{self.bucket}/*"],
        }
        client = s3_client(self.endpoint, self.access_key, self.secret_key)
        try:
            policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
            client.put_bucket_policy(Bucket=self.bucket, Policy=policy)
        finally:
            client.close()

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.endpoint, timeout=5):
                return True
        except urllib.error.HTTPError as error:
            error.close()
            return error.code < 500
        except OSError:
            return False

    def _run(self, *command: str) -> bytes:
        error = b""
        for _ in range(_ATTEMPTS):
            whole = [*command, "--conf", str(self._config)]
            done = subprocess.run(whole, capture_output=True, check=False, timeout=START_WITHIN)
            if done.returncode == 0:
                return done.stdout
            error = done.stderr
        raise RuntimeError(f"{' '.join(command[:3])} failed:\n{error.decode(errors='replace')}")

    def _said(self) -> str:
        """The end of everything that the servers said."""
        logs = sorted([*self._folder.glob("*.out"), *self._folder.glob("*.log")])
        return "\n".join(f"{log.name}: {log.read_text(errors='replace')[-2000:]}" for log in logs)

    def _spawn(self, *command: str) -> None:
        with (self._folder / f"{command[0]}.out").open("wb") as output:
            self._processes.append(
                subprocess.Popen(
                    [*command, "--conf", str(self._config), "-f"],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            )
