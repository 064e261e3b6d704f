// SPDX-License-Identifier: GPL-2.0-or-later
#include "prover/search.hpp"

#include <algorithm>

#include "prover/nameless.hpp"

namespace l1dflush {

namespace {

// By the machine that it is: most of the prover's time is spent here.
template <class M>
int advance_by(const M &machine, const Item &item, const LiveLines &live, GoneSets &gone, std::uint32_t touches,
               Frontier &layer, Frontier &next, const Limits &limits) {
    next.clear();
    int most = 0;
    std::size_t steps = 0;
    Stepper<M> stepper(machine, live, gone);
    add_touched(layer, touches, [&](const State &from, const Frontier::Node &node) {
        stepper.touch(from, [&](const State &to, const Move &, Weight) {
            limits.poll_now_and_then(steps++);
            if (machine.unknown(to) == 0) return;
            if (layer.insert(to, Cost{}, 0, node.touches + 1)) limits.check(layer.size() + gone.size());
        });
    });
    layer.for_each([&](const State &from, const Frontier::Node &node) {
        stepper.step(item, from, [&](const State &to, const Move &, Weight) {
            limits.poll_now_and_then(steps++);
            const int unknown = machine.unknown(to);
            if (unknown == 0) return;
            most = std::max(most, unknown);
            if (next.insert(to, Cost{}, 0, node.touches)) limits.check(layer.size() + next.size() + gone.size());
        });
    });
    return most;
}

}  // namespace

Frontier first_layer(const Machine &machine, const Limits &limits) {
    Frontier layer;
    machine.starts([&](const State &state) {
        if (machine.unknown(state) == 0) return;
        layer.insert(state, Cost{}, 0, 0);
        limits.check(layer.size());
    });
    return layer;
}

int most_unknown(const Machine &machine, const Frontier &layer) {
    int most = 0;
    layer.for_each([&](const State &state, const Frontier::Node &) { most = std::max(most, machine.unknown(state)); });
    return most;
}

int advance(const Machine &machine, const Item &item, const LiveLines &live, GoneSets &gone, std::uint32_t touches,
            Frontier &layer, Frontier &next, const Limits &limits) {
    auto by = [&](const auto &known) { return advance_by(known, item, live, gone, touches, layer, next, limits); };
    if (const auto *known = dynamic_cast<const RelativeMachine *>(&machine)) return by(*known);
    if (const auto *known = dynamic_cast<const AbsoluteMachine *>(&machine)) return by(*known);
    if (const auto *known = dynamic_cast<const NamelessMachine *>(&machine)) return by(*known);
    return by(machine);
}

}  // namespace l1dflush
