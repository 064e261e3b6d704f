# SPDX-License-Identifier: GPL-2.0-or-later
"""What programs may use: questions about flushes, caches and hosts, and their answers.

Each function checks what it is given, asks, and returns a frozen result. What a function takes is what the command
line takes, as values of Python: names and paths are strings or :class:`~pathlib.Path`, sizes are bytes or texts like
``"64K"``, several of something are any iterable of them. Nothing is printed, and a routine is never run natively: it
runs on an abstract machine, in a child process.

Errors: :class:`~l1dflush.errors.InputError` for what cannot be used, which names the argument, and
:class:`~l1dflush.errors.UndecidedError` where a number was asked for that nobody knows. A routine that cannot be judged
is not an error: its result says UNDECIDED, and why.
"""
