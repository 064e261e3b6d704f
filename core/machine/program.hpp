// SPDX-License-Identifier: GPL-2.0-or-later
// What the machine runs: an instruction is a short list of operations on slots, lifted from machine code by Python.
//
// A slot is a register, a part of a wide one, a flag, or a temporary of one instruction. What an operation computes is
// P-code's (Ghidra's SLEIGH); what an instruction does to the cache stands beside it as operations of its own, from a
// table: one operand may be several P-code loads, and prefetches and fences are none.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "machine/value.hpp"

namespace l1dflush::machine {

enum class Do : std::uint8_t {
    copy,
    load,   // out = memory at a
    store,  // memory at a = b; if `detail` is 1, b is pushed: a register, to be restored, or a return address
    add,
    subtract,
    multiply,
    divide,
    divide_signed,
    remainder,
    remainder_signed,
    multiply_high,
    multiply_high_signed,
    bit_and,
    bit_or,
    bit_xor,
    complement,
    negate,
    shift_left,
    shift_right,
    shift_right_signed,
    widen,
    widen_signed,
    slice,  // a without its lowest b bytes
    join,   // a above b
    equal,
    not_equal,
    below,
    below_or_equal,
    below_signed,
    below_or_equal_signed,
    carries,
    carries_signed,
    borrows_signed,
    truth_and,
    truth_or,
    truth_xor,
    truth_not,
    count_ones,
    count_leading_zeros,
    even_ones,  // whether the lowest byte of a has an even number of ones: the parity flag
    choose,     // a ? b : c
    if_known,   // a if it is a number, else b
    // out is something new that nobody knows; `detail`: 0 it is not a pointer, 1 it may point to what the routine has,
    // 2 it may come from anything that the routine has, so that it may point into the stack, too
    unknown,
    // The same, but of a, b and c alone: the same again for the same. `size` says of which instruction it is the result.
    result,
    access,   // an access to the cache at a, of `size` bytes; `detail` says which kind, `alignment` what it needs
    note,     // an event without an address; a and b are what it is about
    reveal,   // a goes where nobody follows it: what anything unknown is may be made of it from now on
    leave_stack,  // another one runs on the stack from now on, of which a is the top
    skip,     // on in this instruction, at operation `detail`
    skip_if,  // the same if a
    jump,     // to the place a
    jump_if,  // to the place b if a
    jump_to,  // to what a is; if `detail` is 1 and nobody knows that, to code that is not here
    call,     // to the place a; the return address is on the stack already. `detail` is 1 if code that is not here does
              // not come back
    call_to,  // the same, to what a is
    come_back,  // to what a is, from the stack
    leave,      // the path ends; with a, which must not be a place in the code: it goes there
};

// Whether it makes a flag of its operands: one bit.
constexpr bool makes_flag(Do what) {
    return what == Do::equal || what == Do::below || what == Do::below_signed || what == Do::carries ||
           what == Do::carries_signed || what == Do::borrows_signed || what == Do::even_ones;
}

enum class Kind : std::uint8_t { none, number, slot, place };

// `bytes` from byte `start` of a slot; a number; or an address: `number` bytes behind base `index`.
struct Operand {
    Kind kind = Kind::none;
    std::uint8_t bytes = 0;
    std::uint8_t start = 0;
    std::uint8_t unused = 0;
    std::uint32_t index = 0;
    Word number = 0;
};

struct Operation {
    Do what = Do::copy;
    std::uint8_t size = 0;
    std::uint16_t alignment = 0;
    std::uint32_t detail = 0;
    Operand out, a, b, c;
};

// Where code or data is: bytes behind a base.
struct Place {
    std::uint32_t base = 0;
    std::int64_t offset = 0;
    auto operator<=>(const Place &) const = default;
};

struct Instruction {
    Place at;
    std::uint32_t length = 0;
    std::uint32_t number = 0;  // which one that was lifted
    bool stops = false;        // nothing is run here: the path ends
    bool makes_carry = false;  // it writes the carry flag
    bool makes_rest = false;   // and the others
    bool moves_stack = false;  // it writes the stack pointer
    std::vector<Operation> operations;
    // Those that were gone to from here: behind it, and where it jumps.
    const Instruction *next = nullptr;
    const Instruction *other = nullptr;
};

}  // namespace l1dflush::machine
