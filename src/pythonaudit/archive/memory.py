"""Memory that Arrow keeps for later: somebody who runs for months gives it back."""

import pyarrow as pa


def use_one_core() -> None:
    """Makes Arrow work in the thread that calls it, and nowhere else."""
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)


def release() -> None:
    """Gives back what is not in use."""
    pa.default_memory_pool().release_unused()
