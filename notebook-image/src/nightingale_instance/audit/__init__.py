"""The read audit: every file of a dataset that is opened for reading leaves a record, outside the reader's reach.

    kernel ── question ── guard (C) ── frame ── spool on disk ── shipper ── batch ── platform's API ── audit log
                            │                                      │
                     answers, then the reader goes on       acknowledged, then taken off the spool

Where the kernel has no such questions, a FUSE file system takes their place, and its server the guard's.

`watching` finds the best way that works, `observer` starts the guard or the server and watches it, `volume` makes and
mounts the file systems that can be watched, `frames` reads what the guard wrote, `records` turns it into records,
`shipper` brings them to the platform.
"""
