"""The CPU: native code from numba kept in a cache, a table of launches, and the threads that run it."""
