# SPDX-License-Identifier: GPL-2.0-or-later
"""Front ends, the machine and the proof in a child process, so that the input can bring down nothing but that.

A kernel module, a patch or an assembly file from elsewhere is read by parsers and translated by libraries that are
written in C and C++. :mod:`~l1dflush.sandbox.judged` has ``verify`` and ``trace_of`` as
:mod:`l1dflush.verdict.judge` has them, but in a child: with limits on memory, processor time, wall-clock time and
the size of files, without network, and with nothing between the two processes but JSON text, which is checked
against the model of the result. Whatever ends the child, a crash of a library for one, becomes UNDECIDED.

What this is not: a wall around somebody who takes over the child. It runs as the same user and sees the same files,
and may talk to local services over Unix sockets. Against that a container or a virtual machine helps.
"""
