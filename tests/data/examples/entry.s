# A VM entry as a kernel ships it, in our own words: may the flush be skipped, which flush, the walk, the entry.
# The jump label at `enter` and the feature test are in the tables that the kernel patches code by.

        .text
        .globl  enter
        .type   enter, @function
enter:  push    %rbx
        mov     %rdi, %rbx
        xchg    %ax, %ax                        # jump label: to `flush` unless `flush_conditionally` is on
.Lsite = . - 2
        cmpb    $0, %gs:work_done(%rip)
        je      guest
        movb    $0, %gs:work_done(%rip)
flush:  jmp     .Lhas_command                   # alternative: CPU feature 18*32+28
.Lfeature = . - 5
command:
        mov     $0x10b, %ecx                    # IA32_FLUSH_CMD
        mov     $1, %eax
        xor     %edx, %edx
        wrmsr
        jmp     guest
walk:   mov     flush_pages(%rip), %rsi
        xor     %edi, %edi
1:      movzbl  (%rsi,%rdi), %ecx               # one byte of each page
        add     $4096, %edi
        cmp     $65536, %edi
        jne     1b
        xor     %eax, %eax
        mov     %rbx, %r8
        cpuid
        mov     %r8, %rbx
        xor     %edi, %edi
2:      movzbl  (%rsi,%rdi), %ecx               # one byte of each line
        add     $64, %edi
        cmp     $65536, %edi
        jne     2b
        lfence
guest:  mov     0x20(%rbx), %rax                # the guest's registers
        mov     0x28(%rbx), %rcx
        mov     0x40(%rbx), %rdi
        clflush 0x40(%rbx)
        mov     0x30(%rbx), %rbx
        vmresume
        pop     %rbx
        ret
        .size   enter, . - enter

        .section .altinstr_aux, "ax"
.Lhas_command:
        testb   $0x10, cpu_features+0x5b(%rip)
        jne     command
        jmp     walk

        .section .altinstr_replacement, "ax"
.Lalways:
        jmp     walk

        .section .altinstructions, "a"
        .long   .Lfeature - ., .Lalways - .     # on every CPU at first: no
        .word   3*32+21
        .byte   5, 5
        .long   .Lfeature - ., .Lalways - .     # where the CPU has it: straight on
        .word   18*32+28
        .byte   5, 0

        .section __jump_table, "aw"
        .long   .Lsite - ., flush - .
        .quad   flush_conditionally - . + 1     # bit 0: it jumps while the key is off

        .bss
        .balign 16
flush_conditionally: .zero 16
flush_pages: .zero 8
        .type   flush_conditionally, @object
        .size   flush_conditionally, 16
        .type   flush_pages, @object
        .size   flush_pages, 8
