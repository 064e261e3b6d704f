# The buffer itself, on lines but not on pages: char flush_pages[65536];
        .bss
        .balign 64
        .globl  flush_pages
        .type   flush_pages, @object
        .size   flush_pages, 65536
flush_pages:
        .zero   65536
