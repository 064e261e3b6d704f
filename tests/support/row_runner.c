/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs one instruction, or a few, on this processor: registers and memory from a block, and back to it.

   Standard input: 4 bytes with the number of bytes of all code, the code, which goes to CODE; then requests: 4 bytes with
   the offset of the code to run, and a state. Standard output: for each request the signal, or 0, and the state. The code
   ends in a jump through COME_BACK. */
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BLOCK 0x20000000ul
#define MEMORY 0x10000000ul
#define CODE 0x30000000ul

struct state {
    uint64_t registers[16]; /* 0: in the order of the encoding */
    uint64_t flags;         /* 128 */
    uint64_t unused[3];
    uint8_t vectors[16][32]; /* 160 */
    uint8_t memory[512];
};
struct block {
    struct state state;
    uint64_t back, stack, code; /* 1184 */
};
#define THE ((struct block *)BLOCK)
static sigjmp_buf faulted;

void enter(void);
void come_back(void);
__asm__(
    ".text\n.globl enter\n.globl come_back\n"
    "enter: push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
    "mov %rsp, 0x20000000+1192\n"
    ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\nvmovdqu 0x20000000+160+32*\\n, %ymm\\n\n.endr\n"
    "push 0x20000000+128; popfq\n"
    "mov 0x20000000, %rax; mov 0x20000008, %rcx; mov 0x20000010, %rdx; mov 0x20000018, %rbx; mov 0x20000028, %rbp\n"
    "mov 0x20000030, %rsi; mov 0x20000038, %rdi; mov 0x20000040, %r8; mov 0x20000048, %r9; mov 0x20000050, %r10\n"
    "mov 0x20000058, %r11; mov 0x20000060, %r12; mov 0x20000068, %r13; mov 0x20000070, %r14; mov 0x20000078, %r15\n"
    "mov 0x20000020, %rsp\n"
    "jmp *0x20000000+1200\n"
    "come_back: mov %rsp, 0x20000020; mov 0x20000000+1192, %rsp; pushfq; pop 0x20000000+128; cld\n"
    "mov %rax, 0x20000000; mov %rcx, 0x20000008; mov %rdx, 0x20000010; mov %rbx, 0x20000018; mov %rbp, 0x20000028\n"
    "mov %rsi, 0x20000030; mov %rdi, 0x20000038; mov %r8, 0x20000040; mov %r9, 0x20000048; mov %r10, 0x20000050\n"
    "mov %r11, 0x20000058; mov %r12, 0x20000060; mov %r13, 0x20000068; mov %r14, 0x20000070; mov %r15, 0x20000078\n"
    ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\nvmovdqu %ymm\\n, 0x20000000+160+32*\\n\n.endr\n"
    "vzeroupper; pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx; ret\n");

static void on_fault(int number) { siglongjmp(faulted, number); }

static int read_all(void *to, size_t size) { return fread(to, 1, size, stdin) == size; }

static int map(unsigned long at, size_t size, int how) {
    return mmap((void *)at, size, how, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == (void *)at;
}

int main(void) {
    uint32_t size, offset;
    if (!read_all(&size, 4)) return 1;
    if (!map(BLOCK, 4096, PROT_READ | PROT_WRITE) || !map(MEMORY, 4096, PROT_READ | PROT_WRITE) ||
        !map(CODE, (size + 4095) & ~4095u, PROT_READ | PROT_WRITE | PROT_EXEC))
        return 2;
    if (!read_all((void *)CODE, size)) return 1;
    static char other[1 << 16];
    stack_t alternative = {.ss_sp = other, .ss_size = sizeof other};
    sigaltstack(&alternative, 0);
    struct sigaction action = {.sa_handler = on_fault, .sa_flags = SA_ONSTACK | SA_NODEFER};
    int numbers[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
    for (unsigned i = 0; i < 5; ++i) sigaction(numbers[i], &action, 0);
    THE->back = (uint64_t)come_back;
    while (read_all(&offset, 4) && read_all(&THE->state, sizeof(struct state))) {
        memcpy((void *)MEMORY, THE->state.memory, 512);
        THE->code = CODE + offset;
        alarm(20);
        uint32_t fault = (uint32_t)sigsetjmp(faulted, 1);
        if (fault == 0) enter();
        memcpy(THE->state.memory, (void *)MEMORY, 512);
        fwrite(&fault, 4, 1, stdout);
        fwrite(&THE->state, sizeof(struct state), 1, stdout);
    }
    return 0;
}
