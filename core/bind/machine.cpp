// SPDX-License-Identifier: GPL-2.0-or-later
// The abstract machine: Python lifts the instructions and reads the paths.
#include "bind/machine.hpp"

#include <nanobind/stl/function.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string_view>
#include <utility>

#include "machine/machine.hpp"

namespace nb = nanobind;

namespace l1dflush {

namespace {

using namespace machine;

template <Do what>
constexpr std::string_view spelled() {
    return __PRETTY_FUNCTION__;
}

static_assert(sizeof(Operand) == 16 && sizeof(Operation) == 72 && sizeof(Event) == 32);

// The operation's name, as compilers spell it: `... = l1dflush::machine::Do::copy; ...]`. Empty if there is none.
template <std::size_t number>
constexpr std::string_view name_of() {
    return [](std::string_view text) {
        const auto at = text.rfind("Do::");
        return at == text.npos ? std::string_view() : text.substr(at + 4, text.find_first_of(";]", at) - at - 4);
    }(spelled<static_cast<Do>(number)>());
}

nb::tuple operations() {
    nb::list names;
    const auto add = [&](std::string_view name) {
        if (!name.empty()) names.append(nb::str(name.data(), name.size()));
    };
    [&]<std::size_t... number>(std::index_sequence<number...>) {
        (add(name_of<number>()), ...);
    }(std::make_index_sequence<128>());
    return nb::tuple(names);
}

// Turns what Python packed into an instruction: (its length, the operations as they are in memory).
machine::Instruction unpacked(const std::tuple<std::uint32_t, nb::bytes> &lifted) {
    machine::Instruction i;
    i.length = std::get<0>(lifted);
    const nb::bytes &packed = std::get<1>(lifted);
    if (packed.size() % sizeof(Operation) != 0) throw nb::value_error("operations are 72 bytes each");
    i.operations.resize(packed.size() / sizeof(Operation));
    if (!i.operations.empty()) std::memcpy(i.operations.data(), packed.c_str(), packed.size());
    return i;
}

std::tuple<std::string, unsigned, unsigned, std::vector<Value>, std::vector<std::pair<Value, Word>>, Word> described(
    Machine &m, Value v) {
    static constexpr const char *names[] = {
        "symbol",    "sum",       "group",         "slice",   "widen",         "widen_signed",
        "multiply",  "divide",    "divide_signed", "remainder", "remainder_signed", "multiply_high",
        "multiply_high_signed", "bit_and", "bit_or", "bit_xor", "shift_left", "shift_right",
        "shift_right_signed", "equal_zero", "below", "count_ones", "count_leading_zeros", "choose"};
    const Terms &t = m.world().terms;
    if (v.term == 0 || v.term > t.size()) throw nb::value_error("it has no term");
    const Node &n = t.node(v.term);
    std::vector<Value> operands;
    for (const Value &o : {n.a, n.b, n.c})
        if (o.bits != 0) operands.push_back(o);
    std::vector<std::pair<Value, Word>> addends;
    for (const Addend &a : t.addends(n)) addends.emplace_back(Value{a.atom, n.bits, 0}, a.factor);
    return {names[static_cast<std::size_t>(n.op)], n.bits, n.from, operands, addends, n.number};
}

using Runs = std::vector<std::pair<std::uint64_t, std::uint64_t>>;

std::pair<nb::bytes, Runs> packed(const std::vector<std::shared_ptr<const Events>> &pieces) {
    std::string events;
    Runs runs;
    for (const auto &piece : pieces) {
        events.append(reinterpret_cast<const char *>(piece->events().data()), piece->kept() * sizeof(Event));
        for (const Events::Run &r : piece->runs()) runs.emplace_back(r.count, r.period);
    }
    return {nb::bytes(events.data(), events.size()), std::move(runs)};
}

// Whom to ask for the pointers of bases, as long as this is there.
class ReadsPointers {
public:
    ReadsPointers(World &world, const std::optional<nb::callable> &from) : world_(world) {
        world.read_pointers = [&from](std::uint32_t base) {
            if (!from) throw nb::value_error("a base has pointers, and there is nobody to ask for them");
            (*from)(base);
        };
    }
    ~ReadsPointers() { world_.read_pointers = nullptr; }
    ReadsPointers(const ReadsPointers &) = delete;
    ReadsPointers &operator=(const ReadsPointers &) = delete;

private:
    World &world_;
};

auto run(Machine &m, std::uint32_t base, std::int64_t offset, const nb::callable &lift, std::uint64_t max_paths,
         std::uint64_t max_instructions, std::uint64_t max_events, double max_seconds,
         const std::optional<nb::callable> &possible, const std::optional<nb::callable> &pointers) {
    Bounds bounds;
    bounds.paths = max_paths;
    bounds.instructions = max_instructions;
    bounds.events = max_events;
    if (std::isfinite(max_seconds))
        bounds.deadline = std::chrono::steady_clock::now() +
                          std::chrono::duration_cast<std::chrono::steady_clock::duration>(std::chrono::duration<double>(
                              std::min(max_seconds, 1e8)));
    bounds.poll = [] {
        if (PyErr_CheckSignals() != 0) throw nb::python_error();
    };
    using Decision = std::tuple<std::uint32_t, std::int64_t, Value, bool, bool, bool, std::uint32_t, std::uint32_t>;
    std::vector<std::tuple<std::vector<Decision>, nb::bytes, Runs, std::uint64_t, std::uint32_t, bool>> out;
    // Only while it runs: kept for longer they would keep their owner, and that the machine, for ever.
    const auto lifted = [&lift](Place at) {
        try {
            return unpacked(nb::cast<std::tuple<std::uint32_t, nb::bytes>>(lift(at.base, at.offset)));
        } catch (nb::python_error &e) {
            // Not an interrupt.
            if (!e.matches(PyExc_Exception) || e.matches(PyExc_MemoryError)) throw;
            throw Unlifted{std::current_exception()};
        }
    };
    Machine::Possible asked;
    if (possible)
        asked = [&possible](const std::vector<Decided> &decisions) {
            std::vector<std::pair<Value, bool>> told;
            for (const Decided &d : decisions) told.emplace_back(d.condition, d.holds);
            return nb::cast<std::optional<bool>>((*possible)(told));
        };
    const ReadsPointers reading(m.world(), pointers);
    std::vector<Path> paths;
    try {
        paths = m.run({base, offset}, bounds, lifted, asked);
    } catch (const Unlifted &e) {
        std::rethrow_exception(e.why);
    }
    for (const Path &path : paths) {
        std::vector<Decision> decisions;
        for (const Decided &d : path.decisions)
            decisions.emplace_back(d.at.base, d.at.offset, d.condition, d.holds, d.taken, d.inner, d.carry_by, d.rest_by);
        auto [events, runs] = packed(path.events);
        out.emplace_back(std::move(decisions), std::move(events), std::move(runs),
                         path.instructions, path.end, path.settled);
    }
    return out;
}

}  // namespace

void bind_machine(nb::module_ &m) {
    static PyObject *stopped_error = nullptr;
    stopped_error = PyErr_NewException("l1dflush._core.StoppedError", PyExc_RuntimeError, nullptr);
    m.attr("OPERATIONS") = operations();
    m.attr("StoppedError") = nb::borrow(stopped_error);
    nb::register_exception_translator([](const std::exception_ptr &p, void *) {
        try {
            std::rethrow_exception(p);
        } catch (const Stopped &e) {
            const nb::object arguments = nb::make_tuple(e.cause, e.at.base, e.at.offset, e.value, e.regions, e.decided);
            PyErr_SetObject(stopped_error, arguments.ptr());
        } catch (const TooManyTerms &) {
            const nb::list none;
            const nb::object arguments = nb::make_tuple("too-many-unknown-values", 0, 0, Value{}, none, none);
            PyErr_SetObject(stopped_error, arguments.ptr());
        }
    });
    nb::class_<Machine>(m, "Machine")
        .def(
            "__init__",
            [](Machine *self, unsigned bits) {
                if (bits != 32 && bits != 64) throw nb::value_error("32 or 64 bits");
                new (self) Machine(bits);
            },
            nb::arg("bits"))
        .def(
            "add_slot",
            [](Machine &self, unsigned bits, bool temporary, bool wild, bool apart) {
                if (bits == 0 || bits > most_bits || bits % 8 != 0) throw nb::value_error("whole bytes, up to 8");
                return self.add_slot(bits, temporary, wild, apart);
            },
            nb::arg("bits"), nb::arg("temporary") = false, nb::arg("wild") = false, nb::arg("apart") = false)
        .def_prop_ro(
            "terms", [](Machine &self) -> Terms & { return self.world().terms; }, nb::rv_policy::reference_internal)
        .def(
            "add_base",
            [](Machine &self, Value symbol, std::uint64_t size, std::optional<nb::bytes> content, bool writable,
               bool outside, bool unread) {
                World &w = self.world();
                Base base;
                base.symbol = symbol;
                base.size = size;
                base.writable = writable;
                base.outside = outside;
                base.unread = unread;
                if (content) {
                    base.known = true;
                    const auto *data = reinterpret_cast<const std::uint8_t *>(content->c_str());
                    base.content.assign(data, data + content->size());
                }
                return w.add(std::move(base));
            },
            nb::arg("symbol"), nb::arg("size"), nb::arg("content").none() = nb::none(), nb::arg("writable") = true,
            nb::arg("outside") = false, nb::arg("unread") = false)
        .def("set_convention", &Machine::set_convention, nb::arg("changed"), nb::arg("arguments"),
             nb::arg("preserved"), nb::arg("call"), nb::arg("load"))
        .def("set_flags", &Machine::set_flags, nb::arg("carry"), nb::arg("zero"))
        .def(
            "set_accesses",
            [](Machine &self, const std::vector<std::uint16_t> &kinds) { self.set_accesses({kinds.begin(), kinds.end()}); },
            nb::arg("kinds"))
        .def_prop_ro("kept_off_ends", &Machine::kept_off_ends)
        .def_prop_ro("kept_saved", [](Machine &self) { return self.world().kept_saved; })
        .def(
            "set_ends",
            [](Machine &self, const std::vector<std::pair<std::uint32_t, std::int64_t>> &until, bool inside) {
                std::set<Place> places;
                for (const auto &[base, offset] : until) places.insert({base, offset});
                self.set_ends(std::move(places), inside);
            },
            nb::arg("until"), nb::arg("inside"))
        .def(
            "keep", [](Machine &self, Value at) { self.memory().keep(at); }, nb::arg("at"))
        .def_ro_static("END_UNTIL", &Path::until)
        .def_ro_static("END_NO_RETURN", &Path::no_return)
        .def(
            "new_symbol",
            [](Machine &self, unsigned bits, Word alignment, Word least, Word most) {
                World &w = self.world();
                w.origins.emplace_back();
                return w.terms.symbol(bits, alignment, least, most);
            },
            nb::arg("bits"), nb::arg("alignment") = 1, nb::arg("least") = 0, nb::arg("most") = ~Word{0})
        .def(
            "base", [](Machine &self, std::uint32_t number) { return self.world().bases.at(number).symbol; },
            nb::arg("number"))
        .def(
            "add_pointer",
            [](Machine &self, std::uint32_t base, std::int64_t offset, Value value, unsigned bytes) {
                Base::Pointer made{static_cast<std::uint8_t>(value.bits / 8), value};
                if (bytes * 8 < value.bits)
                    made = {static_cast<std::uint8_t>(bytes), self.world().terms.slice(value, 0, bytes * 8), value};
                self.world().bases.at(base).pointers[offset] = made;
            },
            nb::arg("base"), nb::arg("offset"), nb::arg("value"), nb::arg("size") = 8)
        .def(
            "set_borders",
            [](Machine &self, std::uint32_t base, std::vector<std::int64_t> offsets) {
                std::ranges::sort(offsets);
                self.world().bases.at(base).borders = std::move(offsets);
            },
            nb::arg("base"), nb::arg("offsets"))
        .def(
            "slot", [](Machine &self, std::uint32_t number) { return self.slot(number); }, nb::arg("number"))
        .def(
            "set_slot", [](Machine &self, std::uint32_t number, Value v) { self.slot(number) = v; }, nb::arg("number"),
            nb::arg("value"))
        .def(
            "store",
            [](Machine &self, Value at, Value value, bool kept) {
                self.memory().store(self.world(), at, value);
                const bool on_stack = at.term == self.world().bases[Machine::stack_base].symbol.term;
                if (kept && on_stack) self.memory().save(at.term, offset_of(at), true);
            },
            nb::arg("at"), nb::arg("value"), nb::arg("kept") = true)
        .def(
            "load",
            [](Machine &self, Value at, unsigned bytes, const std::optional<nb::callable> &pointers) {
                const ReadsPointers reading(self.world(), pointers);
                return self.memory().load(self.world(), at, bytes);
            },
            nb::arg("at"), nb::arg("size"), nb::arg("pointers") = nb::none())
        .def(
            "bind", [](Machine &self, Value at, Value value) { self.memory().bind(self.world(), at, value); },
            nb::arg("at"), nb::arg("value"))
        .def("run", &run, nb::arg("base"), nb::arg("offset"), nb::arg("lift"), nb::kw_only(), nb::arg("max_paths") = 64,
             nb::arg("max_instructions") = 10'000'000, nb::arg("max_events") = 10'000'000,
             nb::arg("max_seconds") = INFINITY, nb::arg("possible") = nb::none(), nb::arg("pointers") = nb::none())
        .def("set_aside", &Machine::set_aside, nb::arg("instructions"))
        .def_prop_ro("asides",
                     [](const Machine &self) {
                         std::vector<std::tuple<std::uint32_t, std::int64_t, std::uint32_t, std::int64_t, nb::bytes, Runs>> out;
                         for (const Machine::Aside &one : self.asides()) {
                             auto [events, runs] = packed(one.events);
                             out.emplace_back(one.at.base, one.at.offset, one.to.base, one.to.offset, std::move(events),
                                              std::move(runs));
                         }
                         return out;
                     })
        .def_prop_ro("places",
                     [](const Machine &self) {
                         std::vector<std::pair<std::uint32_t, std::int64_t>> out;
                         for (const Place &p : self.places()) out.emplace_back(p.base, p.offset);
                         return out;
                     })
        .def(
            "note", [](const Machine &self, std::size_t number) { return self.notes().at(number); }, nb::arg("number"))
        .def("described", &described, nb::arg("value"))
        .def(
            "symbols_in",
            [](Machine &self, Value v) { return v.known() ? std::vector<Word>() : self.world().symbols_in(v.term); },
            nb::arg("value"))
        .def(
            "origin",
            [](Machine &self, Word symbol) {
                const Origin &o = self.world().origins.at(symbol);
                return std::make_tuple(static_cast<int>(o.kind), o.base, o.offset, o.bytes, o.at.base, o.at.offset, o.slot);
            },
            nb::arg("symbol"))
        .def(
            "is_wild", [](Machine &self, Word symbol) { return self.world().origins.at(symbol).wild; },
            nb::arg("symbol"))
        .def_prop_ro("held", [](Machine &self) {
            std::vector<std::pair<std::uint32_t, std::int64_t>> out;
            for (const auto &[place, _] : self.world().held) out.push_back(place);
            return out;
        });
}

}  // namespace l1dflush
