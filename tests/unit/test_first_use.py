"""How a type is decoded is worked out at its first use. Where two threads come first at the same moment, one meets a
half-made plan, and msgspec ends the process with a segmentation fault: so it is worked out when modules are imported.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
from vault_samples import DEVICE, file_record, sample_entry, sample_keys

from claude_syncd.core.model import Base, Kind, Slice
from claude_syncd.core.safety import Hold, HoldReason
from claude_syncd.local import device
from claude_syncd.local.state import State, Tracked
from claude_syncd.vault import codec, layout

PROGRAM = """
import faulthandler, sys, threading
from pathlib import Path

from claude_syncd.engine.holds import remembered_hold
from claude_syncd.local import device, live
from claude_syncd.local.state import State
from claude_syncd.vault import codec, layout
from vault_samples import sample_keys

faulthandler.enable()
folder, keys, log = Path(sys.argv[1]), sample_keys(), layout.log_name(sys.argv[2], 1)
data = (folder / "log").read_bytes()
state = State(folder / "state.db")

def meanwhile(decode):
    # A trace function: wherever msgspec calls Python code while it works out a type, another thread decodes it.
    # The first call is for the type's own fields; only after that msgspec notes the type as one that it knows.
    entered = []

    def trace(frame, event, argument):
        inside = any(name in frame.f_code.co_filename for name in ("msgspec", "enum.py"))
        if inside and not any(name in frame.f_back.f_code.co_filename for name in ("msgspec", "enum.py")):
            entered.append(frame.f_code.co_name)
            if len(entered) > 1:
                other = threading.Thread(target=decode)
                other.start()
                other.join()

    return trace

for what, decode in {
    "a log entry": lambda: codec.open_log(keys, log, data),
    "a position": state.positions,
    "a claim": state.claims,
    "a record": lambda: state.newest("tree/a"),
    "a base": lambda: state.tracked("tree/a"),
    "a hold": lambda: remembered_hold(state),
    "a session": lambda: live.live_sessions(folder),
    "a device": lambda: device.load(folder / "device.json"),
}.items():
    print(what, flush=True)
    sys.settrace(meanwhile(decode))
    assert decode()
    sys.settrace(None)
print("all")
"""


def test_two_threads_may_be_the_first_to_decode_a_type(tmp_path: Path) -> None:
    keys, name = sample_keys(), layout.log_name(DEVICE, 1)
    entry = sample_entry(file_record("tree/a", b"x", 1, Slice(name, 0, 0, 1)))
    (tmp_path / "log").write_bytes(codec.encode_log(keys, entry, [codec.seal_chunk(keys, b"x")]))
    with State(tmp_path / "state.db") as state:
        state.integrate(entry, "ab" * 32)
        base = Base(kind=Kind.FILE, vector={DEVICE: 1}, size=1, mtime_ns=1, mode=0o600, sha256="ab" * 32)
        state.track([("tree/a", Tracked(base=base))])
        hold = Hold(reason=HoldReason.MASS_DELETION, message="21 files have vanished")
        state.set_meta("hold", msgspec.json.encode(hold).decode())
    (tmp_path / "sessions").mkdir()
    (tmp_path / "sessions" / f"{os.getpid()}.json").write_text(f'{{"pid": {os.getpid()}, "sessionId": "s"}}')
    device.save(tmp_path / "device.json", device.Device(id=DEVICE, name="laptop"))
    tests = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": f"{tests.parent / 'daemon'}:{tests / 'support'}"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path), DEVICE],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"ended with {done.returncode} at {done.stdout.splitlines()[-1:]}\n{done.stderr}"
    assert done.stdout.splitlines()[-1] == "all"
