// SPDX-License-Identifier: GPL-2.0-or-later
// A flusher who sees everything: how many accesses does even he need?
//
// THE GAME. He sees the state before each access, and chooses the access then: a line that he never accessed, one that
// is cached, in the way he likes, or one that he accessed and that was pushed out. The adversary chooses what happens,
// as ever. A word that empties the set from a state within n accesses is one way to play, which does not even look; so
// where this flusher cannot do it within n, no word can. That is what makes `can` safe to prune with.
//
// Which line is in which way means nothing to him: of a state only the unknown, the settled and the invalid ways are
// kept, and how many lines were accessed so far. The settled ways hold that many lines but those pushed out, so this
// says whether there is one that has to miss. There are few such states (tree-PLRU at 8 ways: about 100 come up), and
// the bound is close: from the start at 8 ways 11 for tree-PLRU, where words need 13, and 14 for bit-PLRU, as words do.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <unordered_map>

#include "prover/limits.hpp"
#include "prover/state.hpp"
#include "prover/step.hpp"

namespace l1dflush {

template <class M>
class AdaptiveFlusher {
public:
    // `cold`: no line of the word is cached at the start.
    AdaptiveFlusher(const M &machine, bool cold, const Limits &limits)
        : machine_(machine), limits_(limits) {
        new_line_.cold = cold;
    }

    // Whether he can empty the set for certain within `accesses` more, having accessed `used` lines so far.
    bool can(const State &state, std::uint32_t used, std::uint32_t accesses) {
        const Seen seen = seen_of(state, used);
        // An access settles one way at most.
        const int decided = std::popcount(seen.settled() | seen.invalid_ways);
        const auto unknown = static_cast<std::uint32_t>(machine_.ways() - decided);
        if (unknown == 0 || unknown > accesses) return unknown == 0;
        if (const auto known = known_.find(seen); known != known_.end()) {
            if (accesses >= known->second.enough) return true;
            if (accesses <= known->second.too_few) return false;
        }
        limits_.poll_now_and_then(++asked_);
        limits_.check(known_.size());
        const bool possible = try_all(without_names(state), seen, accesses - 1);
        Answer &answer = known_[seen];
        if (possible)
            answer.enough = std::min(answer.enough, accesses);
        else
            answer.too_few = std::max(answer.too_few, accesses);
        return possible;
    }

    // The fewest accesses, where he can do it at all.
    std::uint32_t needs(const State &state, std::uint32_t used) {
        std::uint32_t accesses = 0;
        while (!can(state, used, accesses)) ++accesses;
        return accesses;
    }

    std::size_t size() const { return known_.size(); }

private:
    // What he looks at.
    struct Seen {
        PolicyState policy;
        std::uint64_t mask;  // as that of a state without labels
        std::uint32_t invalid_ways;
        std::uint32_t used;
        bool operator==(const Seen &) const = default;
        std::uint32_t settled() const { return static_cast<std::uint32_t>(mask & 0xFFFFU); }
    };
    struct Hash {
        std::size_t operator()(const Seen &seen) const {
            std::uint64_t h = (seen.policy * 0x9E3779B97F4A7C15U ^ seen.mask) * 0xD6E8FEB86659FD93U;
            h ^= h >> 32;
            h = (h + (std::uint64_t{seen.invalid_ways} << 32) + seen.used) * 0x9E3779B97F4A7C15U;
            return static_cast<std::size_t>(h ^ (h >> 32));
        }
    };
    struct Answer {
        std::uint32_t too_few = 0;
        std::uint32_t enough = 0xFFFFFFFF;
    };

    Seen seen_of(const State &state, std::uint32_t used) const {
        std::uint32_t labelled = 0;
        std::uint32_t invalid_ways = 0;
        for (int p = 0; p < machine_.ways(); ++p) {
            const Label label = state.key.label[static_cast<std::size_t>(p)];
            labelled |= static_cast<std::uint32_t>(label != other) << p;
            invalid_ways |= static_cast<std::uint32_t>(label == invalid) << p;
        }
        return {state.key.policy, state.mask | (labelled & ~invalid_ways), invalid_ways, used};
    }

    // Every line is said not to be accessed again, so that no way is labelled.
    State without_names(State state) const {
        for (int p = 0; p < machine_.ways(); ++p) {
            Label &label = state.key.label[static_cast<std::size_t>(p)];
            if (label == other || label == invalid) continue;
            label = other;
            state.mask |= bit(p);
        }
        return state;
    }

    bool try_all(const State &state, const Seen &seen, std::uint32_t left) {
        const bool pushed_out = seen.used > static_cast<std::uint32_t>(std::popcount(seen.settled()));
        if (pushed_out && always_can(pushed_out_line_, state, seen.used, left)) return true;
        for (int p = 0; p < machine_.ways(); ++p) {
            if (!((seen.settled() >> p) & 1U)) continue;
            bool always = true;
            machine_.hit(state, p, [&](const State &to) { always = always && can(to, seen.used, left); });
            if (always) return true;
        }
        return always_can(new_line_, state, seen.used + 1, left);
    }

    bool always_can(const Item &item, const State &state, std::uint32_t used, std::uint32_t left) {
        bool always = true;
        Stepper<M> stepper(machine_, live_, gone_);
        stepper.step(item, state,
                     [&](const State &to, const Move &, Weight) { always = always && can(to, used, left); });
        return always;
    }

    const M &machine_;
    const Limits &limits_;
    const LiveLines live_{Word{}};
    GoneSets gone_;
    Item new_line_{0, ItemKind::access, other, false, false, false};
    Item pushed_out_line_{0, ItemKind::access, other, true, false, false};
    std::unordered_map<Seen, Answer, Hash> known_;
    std::size_t asked_ = 0;
};

}  // namespace l1dflush
