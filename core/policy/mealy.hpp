// SPDX-License-Identifier: GPL-2.0-or-later
// A policy that was learned or written down: a Mealy machine from a file, as tables.
//
// A state is its number. Several outcomes of the same input mean that any of them may happen: the adversary chooses,
// or there are chances (misses and fills only). A machine need not say what filling an invalid way does; then only
// full sets can be asked about.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "policy/policy.hpp"

namespace l1dflush {

// Copying one is cheap: copies share the tables, which never change.
class Mealy {
public:
    struct Hit {
        std::uint32_t from, way, to;
    };
    struct Miss {
        std::uint32_t from, victim, to;
        Weight weight;
    };
    struct Fill {
        std::uint32_t from, way, to;
        Weight weight;
    };

    // Each input of each state needs at least one outcome; `fills` may be empty as a whole. Throws
    // std::invalid_argument for an incomplete machine and for ways and states that do not exist.
    Mealy(int ways, std::size_t states, std::size_t start, const std::vector<Hit> &hits,
          const std::vector<Miss> &misses, const std::vector<Fill> &fills) {
        require(ways >= 1 && ways <= max_ways, "a machine has 1 to 16 ways");
        require(states >= 1 && states <= max_states, "a machine has 1 to 1000000 states");
        require(start < states, "the start is not a state of the machine");
        auto tables = std::make_shared<Tables>();
        tables->ways = ways;
        tables->states = states;
        tables->start = start;
        const auto k = static_cast<std::size_t>(ways);
        tables->hits.build(states * k, hits, [&](const Hit &hit) { return checked(hit.from, hit.way, hit.to, *tables); });
        tables->misses.build(states, misses, [&](const Miss &miss) {
            checked(miss.from, miss.victim, miss.to, *tables);
            return static_cast<std::size_t>(miss.from);
        });
        if (!fills.empty())
            tables->fills.build(states * k, fills,
                                [&](const Fill &fill) { return checked(fill.from, fill.way, fill.to, *tables); });
        tables_ = std::move(tables);
    }

    static constexpr std::size_t max_states = 1'000'000;
    static constexpr int repeat_hits = -1;

    int ways() const { return tables_->ways; }
    PolicyState empty() const { return tables_->start; }
    bool has_fills() const { return !tables_->fills.entries.empty(); }

    template <class Out>
    void each_hit(PolicyState state, int way, Out out) const {
        tables_->hits.each(slot(state, way), [&](const Hit &hit) { out(PolicyState{hit.to}); });
    }
    template <class Out>
    void each_miss(PolicyState state, Out out) const {
        tables_->misses.each(state, [&](const Miss &miss) {
            out(static_cast<int>(miss.victim), PolicyState{miss.to}, miss.weight);
        });
    }
    // Only if has_fills().
    template <class Out>
    void each_fill(PolicyState state, int way, Out out) const {
        require(has_fills(), "this machine does not say what filling an invalid way does");
        tables_->fills.each(slot(state, way), [&](const Fill &fill) { out(PolicyState{fill.to}, fill.weight); });
    }

    std::vector<int> numbers(PolicyState state) const { return {static_cast<int>(state)}; }
    PolicyState pack(const std::vector<int> &in) const {
        require(in.size() == 1 && in[0] >= 0 && static_cast<std::size_t>(in[0]) < tables_->states,
                "the state of a machine is one number");
        return static_cast<PolicyState>(in[0]);
    }

private:
    // The entries of slot i are those from first[i] up to first[i + 1].
    template <class Entry>
    struct Table {
        std::vector<std::size_t> first;
        std::vector<Entry> entries;

        template <class Slot>
        void build(std::size_t slots, const std::vector<Entry> &given, Slot slot) {
            first.assign(slots + 1, 0);
            for (const Entry &entry : given) ++first[slot(entry) + 1];
            for (std::size_t i = 0; i < slots; ++i) {
                require(first[i + 1] > 0, "the machine is incomplete");
                first[i + 1] += first[i];
            }
            std::vector<std::size_t> next(first.begin(), first.end() - 1);
            entries.resize(given.size());
            for (const Entry &entry : given) entries[next[slot(entry)]++] = entry;
        }
        template <class Use>
        void each(std::size_t slot, Use use) const {
            for (std::size_t i = first[slot]; i < first[slot + 1]; ++i) use(entries[i]);
        }
    };
    struct Tables {
        int ways = 0;
        std::size_t states = 0;
        std::size_t start = 0;
        Table<Hit> hits;
        Table<Miss> misses;
        Table<Fill> fills;
    };

    static std::size_t checked(std::uint32_t from, std::uint32_t way, std::uint32_t to, const Tables &tables) {
        require(from < tables.states && to < tables.states, "no such state");
        require(way < static_cast<std::uint32_t>(tables.ways), "no such way");
        return static_cast<std::size_t>(from) * static_cast<std::size_t>(tables.ways) + way;
    }
    std::size_t slot(PolicyState state, int way) const {
        return static_cast<std::size_t>(state) * static_cast<std::size_t>(tables_->ways) + static_cast<std::size_t>(way);
    }

    std::shared_ptr<const Tables> tables_;
};

}  // namespace l1dflush
