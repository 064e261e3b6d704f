# Walks from the address of a variable on: right or wrong, that depends on what the variable is.
        .globl  l1d_flush
        .type   l1d_flush, @function
l1d_flush:
        lea     flush_pages(%rip), %rdi
        xor     %eax, %eax
1:      movzbl  (%rdi,%rax), %ecx
        add     $4096, %eax
        cmp     $65536, %eax
        jne     1b
        xor     %eax, %eax
        cpuid
        xor     %eax, %eax
2:      movzbl  (%rdi,%rax), %ecx
        add     $64, %eax
        cmp     $65536, %eax
        jne     2b
        lfence
        ret
        .size   l1d_flush, . - l1d_flush
