/* SPDX-License-Identifier: GPL-2.0-or-later */
// For every selector: what lar, lsl, verr and verw answer, "-" where lar or lsl says no.
#include <stdio.h>

int main(void) {
    for (unsigned selector = 0; selector < 0x10000; ++selector) {
        unsigned rights = 0, limit = 0;
        unsigned char has_rights, has_limit, readable, writable;
        __asm__("lar %2,%0; setz %1" : "+r"(rights), "=qm"(has_rights) : "r"(selector) : "cc");
        __asm__("lsl %2,%0; setz %1" : "+r"(limit), "=qm"(has_limit) : "r"(selector) : "cc");
        __asm__("verr %w1; setz %0" : "=qm"(readable) : "r"(selector) : "cc");
        __asm__("verw %w1; setz %0" : "=qm"(writable) : "r"(selector) : "cc");
        if (has_rights | has_limit | readable | writable)
            printf("%u %d %u %d %u %d %d\n", selector, has_rights, rights, has_limit, limit, readable, writable);
    }
}
