// SPDX-License-Identifier: GPL-2.0-or-later
void *page_address(const struct page *page);
