"""Linux: one inotify watch for each folder that a scan would enter, through watchdog's reader of inotify.

Not watchdog's recursive watch: that one also watches what is not wanted, hides a shortage of watches, and after an
overflow walks everything anew whether that is wanted or not; and its plain watches cost one thread each.
"""

from __future__ import annotations

import errno
import os
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from watchdog.observers.inotify_c import CallbackId, InotifyConstants, InotifyFD, Mask

from claude_syncd.local.scan import places

if TYPE_CHECKING:
    from collections.abc import Callable

    from watchdog.observers.inotify_c import InotifyEvent, WatchDescriptor

    from claude_syncd.local.source import Listener

_I: Final = InotifyConstants
# Nothing that reading causes (open, close without writing): a scan must not wake up the watcher.
_FOLDER_MASK = Mask(
    _I.IN_CREATE
    | _I.IN_DELETE
    | _I.IN_MOVE
    | _I.IN_MODIFY
    | _I.IN_ATTRIB
    | _I.IN_CLOSE_WRITE
    | _I.IN_DELETE_SELF
    | _I.IN_MOVE_SELF
    | _I.IN_ONLYDIR
    | _I.IN_DONT_FOLLOW
)
# For the folder that holds the tree, only to see the tree itself come and go. IN_MASK_ADD because a folder has one
# mask, and this one may be watched for the target of a link as well.
_OUTER_MASK = Mask(_I.IN_CREATE | _I.IN_DELETE | _I.IN_MOVE | _I.IN_ONLYDIR | _I.IN_MASK_ADD)
_LIMITS = {errno.ENOSPC: ("max_user_watches", 524_288), errno.EMFILE: ("max_user_instances", 1_024)}


class FolderByFolder:
    """The Source for Linux. Everything but `start` and `stop` happens in the thread that reads inotify."""

    def __init__(self, watcher: Listener) -> None:
        self._watcher = watcher
        self._root = watcher.allowed.roots[0]
        self._lock = threading.RLock()  # held while a folder is added; start and the reader both do that
        self._inotify: InotifyFD | None = None
        self._watched: dict[tuple[str, bool], tuple[WatchDescriptor, CallbackId]] = {}
        self._ids = 0
        self._stopping = False

    def start(self) -> None:
        """See Source."""
        try:
            self._inotify = InotifyFD()
        except OSError as error:
            self._watcher.has_problem(_shortage(error))
            return
        self._inotify.start()
        outer = _Callback(self._in_outer, lambda: None, self._overflowed)
        self._add(os.path.split(self._root)[0], _OUTER_MASK, outer, None)
        self._watch(under="")

    def stop(self) -> None:
        """See Source."""
        self._stopping = True
        if self._inotify is not None:
            self._inotify.stop()
            self._inotify.join()
            self._inotify = None

    def _in_outer(self, event: InotifyEvent) -> None:
        if os.fsdecode(event.name) == os.path.split(self._root)[1]:
            self._watch(under="")
            self._watcher.folder_changed("")

    def _in_folder(self, folder: str, event: InotifyEvent) -> None:
        if event.is_delete_self or event.is_move_self:
            if folder == "":
                self._watcher.folder_changed("")
            return
        try:
            name = event.name.decode("utf-8")
        except UnicodeDecodeError:
            return  # it can't be synced; the scan says so
        if not name:
            return  # the folder's own attributes
        path = f"{folder}/{name}" if folder else name
        arrived = event.is_create or event.is_moved_to
        if not event.is_directory:
            self._watcher.changed(path)
            if arrived and os.path.islink(f"{self._root}/{path}"):  # noqa: PTH114 (for every new file: strings are faster)
                self._watch(under=path)
                self._watcher.folder_changed(path)
        elif self._watcher.descends(path):
            if arrived:
                # Watched first and scanned then: what is made in it meanwhile is seen by the one or the other.
                self._watch(under=path)
                self._watcher.folder_changed(path)
            elif event.is_delete:
                self._watcher.folder_changed(path)
            elif event.is_moved_from:
                self._forget_under(path)
                self._watcher.folder_changed(path)

    def _beside_target(self, path: str, name: str, event: InotifyEvent) -> None:
        if os.fsdecode(event.name) == name:
            self._watcher.changed(path)

    def _gone(self, key: tuple[str, bool], callback: CallbackId) -> None:
        with self._lock:
            if key in self._watched and self._watched[key][1] == callback:
                del self._watched[key]
        if key == ("", False) and not self._stopping:
            self._watcher.folder_changed("")

    def _overflowed(self) -> None:
        """Events were lost, perhaps those of new folders: everything is watched again, and has to be scanned."""
        self._watch(under="")
        self._watcher.folder_changed("")

    def _watch(self, *, under: str) -> None:
        """Watch every folder in the folder `under`, itself included, that is not watched yet."""
        complete = True
        watcher = self._watcher
        for place in places(watcher.root, allowed=watcher.allowed, descends=watcher.descends, under=under):
            if place.is_link:
                folder, name = os.path.split(place.real)
                handle: Callable[[InotifyEvent], None] = partial(self._beside_target, place.path, name)
            else:
                folder, handle = place.real, partial(self._in_folder, place.path)
            key = (place.path, place.is_link)
            callback = _Callback(handle, None, self._overflowed if key == ("", False) else None)
            problem = self._add(folder, _FOLDER_MASK, callback, key)
            if problem is not None:
                watcher.has_problem(problem)
                complete = False
                break
        if complete and under == "":
            watcher.has_problem(None)

    def _add(self, folder: str, mask: Mask, callback: _Callback, key: tuple[str, bool] | None) -> str | None:
        """Add one watch in place of the one that `key` has; why that is impossible, or None."""
        inotify = self._inotify
        if inotify is None:
            return None
        with self._lock:
            self._ids += 1
            number = CallbackId(self._ids)
            if key is not None:
                callback.gone = partial(self._gone, key, number)
            try:
                descriptor = inotify.add_callback(os.fsencode(folder), mask, callback, number)
            except OSError as error:
                if error.errno in _LIMITS:
                    return _shortage(error)
                # Gone meanwhile, or no folder any more; only the tree itself must be there.
                return f"the folder {folder} is not there" if key == ("", False) else None
            if key is None or descriptor == -1:  # -1: no permission; the scan reports that
                return None
            # The new one first, then the old one goes: so there is no moment without a watch.
            before = self._watched.get(key)
            self._watched[key] = (descriptor, number)
            if before is not None:
                inotify.remove_callbacks([before])
        return None

    def _forget_under(self, path: str) -> None:
        """A folder was moved away: its watches would report paths that are not its own any more."""
        with self._lock:
            gone = [key for key in self._watched if key[0] == path or key[0].startswith(path + "/")]
            callbacks = [self._watched.pop(key) for key in gone]
            if self._inotify is not None:
                self._inotify.remove_callbacks(callbacks)


class _Callback:
    """What watchdog's reader calls for one watch (watchdog's WatchCallback)."""

    __slots__ = ("_handle", "_overflow", "gone")

    def __init__(
        self,
        handle: Callable[[InotifyEvent], None],
        gone: Callable[[], None] | None,
        overflow: Callable[[], None] | None,
    ) -> None:
        self._handle = handle
        self._overflow = overflow
        self.gone = gone

    def on_event(self, event: InotifyEvent) -> None:
        self._handle(event)

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:  # noqa: ARG002 (watchdog's signature)
        if self.gone is not None:
            self.gone()

    def on_queue_overflow(self) -> None:
        """Asked of every watch; only those of the tree and of the folder that holds it act on it."""
        if self._overflow is not None:
            self._overflow()


def _shortage(error: OSError) -> str:
    limit, better = _LIMITS.get(error.errno or 0, ("max_user_watches", 524_288))
    try:
        now = Path("/proc/sys/fs/inotify", limit).read_text(encoding="ascii").strip()
    except OSError:
        now = "unknown"
    return (
        f"the system's limit fs.inotify.{limit} (now {now}) is used up, so changes are looked for regularly instead; "
        f"to raise it: `sudo sysctl fs.inotify.{limit}={better}` (for good: put fs.inotify.{limit}={better} into "
        "/etc/sysctl.d/60-inotify.conf)"
    )
