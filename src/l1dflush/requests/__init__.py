# SPDX-License-Identifier: GPL-2.0-or-later
"""From what a person gives to a question that can be asked: once, for the command line and for Python alike.

A request is checked here, and what is wrong with it is said before anything takes long. What answers it is in the
packages that the questions are about.
"""
