# An instruction that nobody classified.
        .globl  with_gather
        .type   with_gather, @function
with_gather:
        vpgatherqq %ymm0, (%rdi,%ymm1), %ymm2
        ret
        .size   with_gather, . - with_gather
