// SPDX-License-Identifier: GPL-2.0-or-later
void on_each_cpu(void (*function)(void *), void *info, int wait);
