void *page_address(const struct page *page);
