"""The native loops that run a table of launches on several threads. Compiled, never called from Python.

The main thread walks the table. A row is cut into chunks of `grain` indices; the main thread writes a ticket
(chunks in all, taken from the end, taken from the front) and whoever increments one of the last two fields
takes that chunk, main thread included. Even threads take from the front and odd ones from the end: so what a
thread has computed of an image is mostly in its own cache when it comes to the next layer. A row is done when
its chunks are done, so a worker that sleeps or was descheduled delays nobody: the others take its share. An
index is computed by one thread in one order whoever takes it, hence results do not depend on the number of
threads.
"""

from __future__ import annotations

from ...kernel import device_function, inline_function
from .atoms import atomic_add, atomic_load, atomic_store, call, give_way, pause

ROW = 4  # entry address, count, grain, address of arguments

# Places in the control block, a cache line apart.
TICKET, DONE, JOB, THREADS, STOP, CONTROL = 0, 8, 16, 24, 32, 64

BITS = 20  # of a field
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
        atomic_store(control, TICKET, chunks << (2 * BITS))
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
    taken, step = 0, 1 if thread % 2 == 0 else 1 << BITS
    while True:
        if left(atomic_load(control, TICKET)) <= 0:
            return taken
        ticket = atomic_add(control, TICKET, step)
        if left(ticket) <= 0:
            return taken
        chunk = ticket & MASK
        if thread % 2 != 0:
            chunk = (ticket >> (2 * BITS)) - 1 - ((ticket >> BITS) & MASK)
        # A chunk that is taken holds the row: the main thread cannot rewrite JOB before it is done.
        start = chunk * control[JOB + 2]
        call(control[JOB], start, min(start + control[JOB + 2], control[JOB + 1]), thread, control[JOB + 3])
        atomic_add(control, DONE, 1)
        taken += 1


@inline_function
def left(ticket):  # type: ignore[no-untyped-def]
    """Chunks that nobody has taken."""
    return (ticket >> (2 * BITS)) - ((ticket >> BITS) & MASK) - (ticket & MASK)


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
