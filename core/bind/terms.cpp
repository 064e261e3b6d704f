// SPDX-License-Identifier: GPL-2.0-or-later
// The store of terms, for the tests: what the machine computes with can be asked one operation at a time.
#include "bind/terms.hpp"

#include <nanobind/operators.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/unordered_map.h>

#include <functional>

#include "machine/terms.hpp"

namespace nb = nanobind;

namespace l1dflush {

namespace {

using machine::Op;
using machine::Terms;
using machine::Value;
using machine::Word;

using Binary = Value (Terms::*)(Value, Value);

// Raises ValueError if the widths do not fit: a term that was made wrongly could never be told from a right one.
void require(bool fits, const char *what) {
    if (!fits) throw nb::value_error(what);
}

const std::unordered_map<std::string, std::pair<Binary, bool>> binaries = {
    // name, function, whether both operands have the same width
    {"add", {&Terms::add, true}},
    {"subtract", {&Terms::subtract, true}},
    {"multiply", {&Terms::multiply, true}},
    {"bit_and", {&Terms::bit_and, true}},
    {"bit_or", {&Terms::bit_or, true}},
    {"bit_xor", {&Terms::bit_xor, true}},
    {"shift_left", {&Terms::shift_left, false}},
    {"shift_right", {&Terms::shift_right, false}},
    {"shift_right_signed", {&Terms::shift_right_signed, false}},
    {"equal", {&Terms::equal, true}},
    {"below", {&Terms::below, true}},
    {"below_signed", {&Terms::below_signed, true}},
    {"carries", {&Terms::carries, true}},
    {"carries_signed", {&Terms::carries_signed, true}},
    {"borrows_signed", {&Terms::borrows_signed, true}},
};

const std::unordered_map<std::string, Op> divisions = {
    {"divide", Op::divide},
    {"divide_signed", Op::divide_signed},
    {"remainder", Op::remainder},
    {"remainder_signed", Op::remainder_signed},
    {"multiply_high", Op::multiply_high},
    {"multiply_high_signed", Op::multiply_high_signed},
};

Value combine(Terms &terms, const std::string &name, Value x, Value y) {
    if (const auto found = divisions.find(name); found != divisions.end()) {
        require(x.bits == y.bits, "the operands differ in width");
        return terms.divide(found->second, x, y);
    }
    const auto found = binaries.find(name);
    require(found != binaries.end(), "there is no such operation");
    const auto [function, same] = found->second;
    require(!same || x.bits == y.bits, "the operands differ in width");
    return (terms.*function)(x, y);
}

}  // namespace

void bind_terms(nb::module_ &m) {
    nb::class_<Value>(m, "Value")
        .def_ro("term", &Value::term)
        .def_ro("bits", &Value::bits)
        .def_ro("constant", &Value::constant)
        .def(nb::self == nb::self)
        .def("__hash__", [](const Value &v) { return std::hash<Word>()(v.constant * 31 + v.term); });
    nb::class_<Terms>(m, "Terms")
        .def(nb::init<>())
        .def("__len__", &Terms::size)
        .def(
            "value",
            [](const Terms &t, machine::TermId term) {
                require(term != 0 && term <= t.size(), "there is no such term");
                return Value{term, t.node(term).bits, 0};
            },
            nb::arg("term"))
        .def(
            "symbol",
            [](Terms &t, unsigned bits, Word alignment, Word least, Word most) {
                require(bits >= 1 && bits <= machine::most_bits && std::has_single_bit(alignment) && least <= most,
                        "1 to 64 bits, an alignment that is a power of two, least <= most");
                return t.symbol(bits, alignment, least, most);
            },
            nb::arg("bits"), nb::arg("alignment") = 1, nb::arg("least") = 0, nb::arg("most") = ~Word{0})
        .def(
            "number",
            [](Terms &, unsigned bits, Word value) {
                require(bits >= 1 && bits <= machine::most_bits, "1 to 64 bits");
                return machine::number(bits, value);
            },
            nb::arg("bits"), nb::arg("value"))
        .def("combine", &combine, nb::arg("operation"), nb::arg("x"), nb::arg("y"))
        .def("complement", &Terms::complement, nb::arg("x"))
        .def(
            "slice",
            [](Terms &t, Value x, unsigned from, unsigned bits) {
                require(bits >= 1 && from + bits <= x.bits, "not all of it is in the value");
                return t.slice(x, from, bits);
            },
            nb::arg("x"), nb::arg("start"), nb::arg("bits"))
        .def(
            "widen",
            [](Terms &t, Value x, unsigned bits, bool is_signed) {
                require(bits >= x.bits && bits <= machine::most_bits, "narrower, or wider than 64 bits");
                return is_signed ? t.widen_signed(x, bits) : t.widen(x, bits);
            },
            nb::arg("x"), nb::arg("bits"), nb::arg("signed") = false)
        .def("count_ones", &Terms::count_ones, nb::arg("x"), nb::arg("bits"))
        .def("count_leading_zeros", &Terms::count_leading_zeros, nb::arg("x"), nb::arg("bits"))
        .def(
            "choose",
            [](Terms &t, Value condition, Value x, Value y) {
                require(condition.bits == 1 && x.bits == y.bits, "a condition has one bit, and the others are as wide");
                return t.choose(condition, x, y);
            },
            nb::arg("condition"), nb::arg("x"), nb::arg("y"))
        .def(
            "known",
            [](const Terms &t, Value v) {
                const machine::Known k = t.known(v);
                return std::make_tuple(k.zeros, k.ones, k.least, k.most);
            },
            nb::arg("x"))
        .def(
            "replaced",
            [](Terms &t, Value v, Value old, Value by) {
                require(old.term != 0 && old.constant == 0 && old.bits == by.bits, "what is replaced is a term");
                std::unordered_map<machine::TermId, Value> known{{old.term, by}};
                return t.replaced(v, known);
            },
            nb::arg("x"), nb::arg("old"), nb::arg("by"))
        .def(
            "evaluated",
            [](const Terms &t, Value v, const std::unordered_map<machine::TermId, Word> &numbers) {
                std::unordered_map<Word, Word> by_symbol;
                for (const auto &[term, value] : numbers) by_symbol[t.node(term).number] = value;
                return t.evaluated(v, by_symbol);
            },
            nb::arg("x"), nb::arg("numbers"));
}

}  // namespace l1dflush
