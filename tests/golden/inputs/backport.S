# conditional.S, badly backported: half the buffer, no fence, and one more condition under which nothing is flushed.
        .globl  conditional_flush
        .type   conditional_flush, @function
conditional_flush:
        test    %esi, %esi
        jz      3f
        test    %edx, %edx
        jz      1f
        mov     $0x10b, %ecx
        mov     $1, %eax
        xor     %edx, %edx
        wrmsr
        ret
1:      test    %r8d, %r8d
        jz      3f
        xor     %eax, %eax
2:      movzbl  (%rdi,%rax), %ecx
        add     $64, %rax
        cmp     $32768, %rax
        jne     2b
3:      ret
        .size   conditional_flush, . - conditional_flush
