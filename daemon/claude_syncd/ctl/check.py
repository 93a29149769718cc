"""`check`: verify the vault."""

# Imports cost start-up time.
# ruff: noqa: PLC0415
from __future__ import annotations

from claude_syncd.ctl import remote
from claude_syncd.ctl.look import say_json
from claude_syncd.ctl.terminal import fail, line, note, say
from claude_syncd.ctl.view import plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from claude_syncd.ctl.options import Given


def run(given: Given) -> int:
    """`check [--read-data] [--json]`; 1 if anything is wrong."""
    with remote.anyone() as there:
        answer = there.check(read_data=given.has("--read-data"))
    wrong = len(answer.findings) + answer.more
    fields = plain(answer)  # what is about several stores is not there where there is one
    stores = fields.get("stores", [])
    unchecked = [store for store in stores if store["problem"]]
    if given.has("--json"):
        say_json(answer)
        return 1 if wrong or unchecked else 0
    from claude_syncd.ctl.show import count, size

    for finding in fields["findings"]:
        place = f"{line(finding['store'])}: " if finding.get("store") else ""
        note(f"{place}{line(finding['object'])}: {line(finding['problem'])}")
    if answer.more:
        note(f"and {answer.more:,} more")
    looked = f"looked at {count(answer.objects, 'object')}"
    if given.has("--read-data"):
        looked += f", read {size(answer.bytes_read)}: {count(answer.files, 'version')} of files have the right hash"
    say(looked)
    for store in stores:
        if store["objects"] or not store["problem"]:
            damaged = f", {store['damaged']:,} of them damaged" if store["damaged"] else ""
            behind = f"; behind, {count(store['behind'], 'object')} to come" if store["behind"] else ""
            say(f"{line(store['url'])}: {count(store['objects'], 'object')}{damaged}{behind}")
    if answer.spare_objects:
        say(f"{count(answer.spare_objects, 'object')} ({size(answer.spare_bytes)}) that nothing names will be deleted")
    for store in unchecked:
        fail(store["problem"], store["hint"])
    if wrong:
        fail("something is wrong with the vault", "see docs/operations.md, When a check finds something")
    if wrong or unchecked:
        return 1
    say("nothing is wrong")
    return 0
