"""The native loops that run a table of launches on several threads. Compiled, never called from Python.

The main thread walks the table. A row is cut into chunks of `grain` indices; the main thread writes a
ticket (sequence number, chunks in all, next chunk) and whoever increments the ticket's last field takes
that chunk, main thread included. A row is done when its chunks are done, so a worker that sleeps or was
descheduled delays nobody: the others take its share. An index is computed by one thread in one
order whoever takes it, hence results do not depend on the number of threads.
"""

from __future__ import annotations

from ...kernel import device_function
from .atoms import atomic_add, atomic_load, atomic_store, call, give_way, pause

ROW = 4  # entry address, count, grain, address of arguments

# Places in the control block, a cache line apart.
TICKET, DONE, JOB, SEQUENCE, THREADS, STOP, CONTROL = 0, 8, 16, 24, 32, 40, 64

BITS = 20
MASK = (1 << BITS) - 1
SPINS = 2000  # polls before a waiting thread starts to yield: some 50 microseconds


def run_rows(table, first, last, control):  # type: ignore[no-untyped-def]
    """Run rows first..last-1; `control` is the block shared with the workers."""
    for row in range(first, last):
        at = row * ROW
        count, grain = table[at + 1], table[at + 2]
        chunks = (count + grain - 1) // grain
        if chunks == 1 or control[THREADS] == 1:
            call(table[at], 0, count, 0, table[at + 3])
            continue
        for i in range(ROW):
            control[JOB + i] = table[at + i]
        atomic_store(control, DONE, 0)
        control[SEQUENCE] = (control[SEQUENCE] + 1) & MASK
        atomic_store(control, TICKET, (control[SEQUENCE] << (2 * BITS)) | (chunks << BITS))
        take_chunks(control, 0)
        polls = 0
        while atomic_load(control, DONE) < chunks:
            polls += 1
            if polls > SPINS:
                give_way()
            else:
                pause()


@device_function
def take_chunks(control, thread):  # type: ignore[no-untyped-def]
    """Take and run chunks of the present ticket until none is left; returns how many."""
    taken = 0
    while True:
        ticket = atomic_load(control, TICKET)
        if ticket & MASK >= (ticket >> BITS) & MASK:
            return taken
        ticket = atomic_add(control, TICKET, 1)
        chunk = ticket & MASK
        if chunk >= (ticket >> BITS) & MASK:
            return taken
        # A chunk that is taken holds the row: the main thread cannot rewrite JOB before it is done.
        start = chunk * control[JOB + 2]
        call(control[JOB], start, min(start + control[JOB + 2], control[JOB + 1]), thread, control[JOB + 3])
        atomic_add(control, DONE, 1)
        taken += 1


def serve(control, thread, patience):  # type: ignore[no-untyped-def]
    """A worker: take chunks as they come; return after `patience` polls without work, or when stopped."""
    idle = 0
    while idle < patience and control[STOP] == 0:
        if take_chunks(control, thread) > 0:
            idle = 0
        idle += 1
        if idle > SPINS:
            give_way()
        else:
            pause()
