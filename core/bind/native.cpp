// SPDX-License-Identifier: GPL-2.0-or-later
// The native flushes, for Python. The API is described in src/l1dflush/_core.pyi.
#include "bind/native.hpp"

#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <tuple>
#include <utility>

#include "native/cpuid.hpp"
#include "native/flusher.hpp"

namespace nb = nanobind;
using namespace l1dflush::native;

namespace {

// Errors are the package's own: a flush is called without a layer of Python above it that could translate.
void raise(const char *name, const char *what) {
    try {
        PyErr_SetString(nb::module_::import_("l1dflush.errors").attr(name).ptr(), what);
    } catch (nb::python_error &e) {
        e.restore();
    }
}

// Sets the Python error for the C++ exception at hand, or throws it on.
void translate(const std::exception_ptr &thrown, void *) {
    try {
        std::rethrow_exception(thrown);
    } catch (const NoNativeCode &e) {
        raise("NoNativeCodeError", e.what());
    } catch (const AllocationFailed &e) {
        raise("AllocationError", e.what());
    } catch (const LockedMemoryLimit &e) {
        raise("LockedMemoryError", e.what());
    } catch (const Closed &e) {
        raise("FlusherClosedError", e.what());
    } catch (const Forked &e) {
        raise("FlusherForkedError", e.what());
    }
}

// What a call does: the routine over the buffer, or something else that Python does. That one has no way back to this
// object, so no cycle has to be collected.
struct Flush {
    std::optional<Flusher> routine;
    nb::object other;

    Flusher &open() {
        if (other) throw nb::value_error("this flusher reads no buffer");
        if (!routine) throw Closed();
        return *routine;
    }

    const Buffer &buffer() { return open().buffer(); }

    void close() {
        routine.reset();
        // Last: what it frees may run Python, which may come back here.
        const nb::object gone = std::move(other);
    }

    bool closed() const { return !routine && !other; }
};

// The call itself, as a slot of the type: no arguments are looked at, and nothing is allocated. The GIL is held for the
// few microseconds that a flush takes, so no other thread can close the buffer that is being read, and two threads that
// flush at once do so one after the other.
PyObject *call(PyObject *self, PyObject *args, PyObject *kwargs) {
    if (PyTuple_GET_SIZE(args) || (kwargs && PyDict_GET_SIZE(kwargs))) {
        PyErr_SetString(PyExc_TypeError, "a flush takes no arguments");
        return nullptr;
    }
    if (!nb::inst_ready(self)) {
        PyErr_SetString(PyExc_TypeError, "the flush was not initialised");
        return nullptr;
    }
    Flush &flush = *nb::inst_ptr<Flush>(self);
    if (flush.other) {
        // Held meanwhile: it may let other threads run, and one may close this.
        const nb::object held = flush.other;
        return PyObject_CallNoArgs(held.ptr());
    }
    try {
        flush.open()();
    } catch (const std::bad_alloc &) {
        return PyErr_NoMemory();
    } catch (...) {
        translate(std::current_exception(), nullptr);
        return nullptr;
    }
    Py_RETURN_NONE;
}

PyType_Slot slots[] = {{Py_tp_call, reinterpret_cast<void *>(&call)}, {0, nullptr}};

nb::bytes native_code(const std::string &name) {
    const Routine found = routine(name);
    return nb::bytes(found.code.data(), found.code.size());
}

auto core_cpuid(std::uint32_t leaf, std::uint32_t subleaf) {
    const auto said = cpuid(leaf, subleaf);
    if (!said) throw NoNativeCode("this machine has no cpuid instruction");
    return std::make_tuple((*said)[0], (*said)[1], (*said)[2], (*said)[3]);
}

nb::bytes content(Flush &flush) {
    const Buffer &buffer = flush.buffer();
    if (!buffer.here()) throw Forked();
    return nb::bytes(buffer.data(), buffer.bytes());
}

}  // namespace

void l1dflush::bind_native(nb::module_ &m) {
    m.attr("NATIVE") = available;
    m.attr("LARGEST_BUFFER") = largest_buffer;
    nb::register_exception_translator(&translate);

    m.def("native_code", &native_code, nb::arg("routine"));
    m.def("current_cpu", &current_cpu);
    m.def("cpuid", &core_cpuid, nb::arg("leaf"), nb::arg("subleaf"));
    nb::class_<Flush>(m, "NativeFlush", nb::type_slots(slots))
        .def(
            "__init__",
            [](Flush *self, const std::string &routine, std::size_t size, std::size_t first_size) {
                new (self) Flush{std::optional<Flusher>(std::in_place, routine, size, first_size), {}};
            },
            nb::arg("routine"), nb::arg("size"), nb::kw_only(), nb::arg("first_size") = 0)
        .def(
            "__init__",
            [](Flush *self, const nb::callable &other) {
                new (self) Flush{std::nullopt, other};
            },
            nb::arg("other"))
        .def("repeat", [](Flush &f, std::size_t times) { f.open().repeat(times); }, nb::arg("times"))
        .def("close", &Flush::close)
        .def("content", &content)
        .def_prop_ro("address", [](Flush &f) { return reinterpret_cast<std::uintptr_t>(f.buffer().data()); })
        .def_prop_ro("size", [](Flush &f) { return f.buffer().bytes(); })
        .def_prop_ro("huge_page", [](Flush &f) { return f.buffer().huge(); })
        .def_prop_ro("started_on", [](Flush &f) { return f.open().started_on(); })
        .def_prop_ro("closed", &Flush::closed);
}
