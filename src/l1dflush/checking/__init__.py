# SPDX-License-Identifier: GPL-2.0-or-later
"""An independent check of certificates: plain Python that shares no code with the prover.

It imports nothing of :mod:`l1dflush.proof`, :mod:`l1dflush.tracing`, :mod:`l1dflush.verdict` and the compiled core.
What a policy does it asks the plain policies of :mod:`l1dflush.cache.policy`. See ``docs/certificates.md``.
"""
