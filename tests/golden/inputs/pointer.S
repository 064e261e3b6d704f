# What setup code fills in: void *flush_pages;
        .bss
        .balign 8
        .globl  flush_pages
        .type   flush_pages, @object
        .size   flush_pages, 8
flush_pages:
        .zero   8
