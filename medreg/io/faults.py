"""What the operating system refused, as a sentence: full disks, places that cannot be written, paths that cannot be."""

from __future__ import annotations

import errno

FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "your quota on this disk is used up",
    errno.EFBIG: "the file would be larger than is allowed here",
}
REMEDIES = {
    errno.EROFS: "The place is mounted read-only; choose another one.",
    errno.EACCES: "You may not do that there; choose another place, or mend the permissions.",
    errno.EPERM: "You may not do that there; choose another place, or mend the permissions.",
    errno.ENOTDIR: "A part of the path is a file and no folder; choose another place.",
    errno.EISDIR: "It is a folder and no file; choose another name.",
    errno.EEXIST: "It is there already; choose another name.",
    errno.ENOTEMPTY: "It is there already; choose another name.",
    errno.ENOENT: "Check the path.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.EMFILE: "Raise the number of open files (ulimit -n), or use fewer workers.",
    errno.EIO: "The disk or its connection failed; look after it, then give the same command again.",
}
PLACES = "Places are set by -o or --output, paths.outputs (MEDREG_OUTPUTS) and paths.cache (MEDREG_CACHE)."


def is_full(error: OSError) -> bool:
    """Say whether there was no room to write: a full disk, a quota, a limit of size."""
    # numpy says in words what the system said by number.
    return error.errno in FULL or (error.errno is None and "requested and" in str(error))


def told(error: OSError) -> str:
    """Return a sentence that names the file and says what to do."""
    where = f"{error.filename}: " if error.filename else ""
    if is_full(error):
        reason = FULL.get(error.errno or 0, "the disk is full")
        return f"{where}{reason}. Free some space, then give the same command again; nothing whole is lost."
    reason = error.strerror or str(error) or type(error).__name__
    remedy = REMEDIES.get(error.errno or 0, "")
    known = f" {remedy}" if remedy else ""
    places = f" {PLACES}" if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR) else ""
    return f"{where}{reason}.{known}{places}"
