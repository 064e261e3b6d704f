# Reads 64 KiB but leaves out the page at +8192.
        .globl  skips_a_page
        .type   skips_a_page, @function
skips_a_page:
        xor     %eax, %eax
1:      movzbl  (%rdi,%rax), %ecx
        add     $64, %rax
        cmp     $8192, %rax
        jne     2f
        add     $4096, %rax
2:      cmp     $65536, %rax
        jne     1b
        lfence
        ret
        .size   skips_a_page, . - skips_a_page
