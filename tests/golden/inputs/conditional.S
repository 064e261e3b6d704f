# A flush behind a flag: three ways through it, as in a hypervisor.
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
1:      xor     %eax, %eax
2:      movzbl  (%rdi,%rax), %ecx
        add     $64, %rax
        cmp     $65536, %rax
        jne     2b
        lfence
3:      ret
        .size   conditional_flush, . - conditional_flush
