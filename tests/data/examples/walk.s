# void walk(const char *buffer, unsigned long size): reads one byte of every line.
        .text
        .globl  walk
        .type   walk, @function
walk:
        xor     %eax, %eax
1:      movzbl  (%rdi,%rax), %ecx
        add     $64, %rax
        cmp     %rsi, %rax
        jne     1b
        lfence
        ret
        .size   walk, .-walk
