"""The read audit: every file of a dataset that is opened for reading leaves a record, outside the reader's reach.

    kernel ── question ── guard (C) ── frame ── spool on disk ── shipper ── batch ── platform's API ── audit log
                            │                                      │
                     answers, then the reader goes on       acknowledged, then taken off the spool

`observer` starts and watches the guard, `volume` makes and mounts the file systems that can be watched, `frames` reads
what the guard wrote, `records` turns it into records, `shipper` brings them to the platform.
"""
