// SPDX-License-Identifier: GPL-2.0-or-later
#include "prover/distinct.hpp"

#include "prover/age_counts.hpp"
#include "prover/mask_sets.hpp"
#include "prover/nameless.hpp"
#include "prover/search.hpp"

namespace l1dflush {

namespace {

// State by state. Each access is of a line that occurs once, so a layer is a function of the one before it: once a
// layer has been there before, nothing new can come. Comparing with a layer remembered at every power of two finds a
// circle of any length.
Distinct distinct_with(const Machine &machine, std::optional<std::uint64_t> limit, bool cold, std::uint32_t touches,
                       const Limits &limits) {
    Distinct decision;
    Frontier layer = first_layer(machine, limits);
    Frontier next;
    Frontier remembered = layer;
    const Item item{0, ItemKind::access, other, false, false, cold};
    const LiveLines live{Word{}};
    GoneSets gone;
    decision.curve.push_back(most_unknown(machine, layer));
    decision.states = layer.size();
    for (std::uint64_t n = 1; !limit || n <= *limit; ++n) {
        limits.poll_now_and_then(n);
        const int most = advance(machine, item, live, gone, touches, layer, next, limits);
        std::swap(layer, next);
        decision.states += layer.size();
        decision.curve.push_back(most);
        if (most == 0) {
            decision.ended = true;
            break;
        }
        if (layer.same_states(remembered)) {
            decision.repeats = true;
            break;
        }
        if ((n & (n - 1)) == 0) remembered = layer;
    }
    return decision;
}

// The same by MaskSets.
Distinct distinct_in_masks(const AnyPolicy &policy, std::optional<std::uint64_t> limit, bool cold, Start start,
                           const Limits &limits) {
    MaskSets sets(policy, start, cold, limits);
    Distinct decision;
    decision.curve.push_back(policy.ways());
    decision.states = sets.states();
    std::vector<std::uint64_t> remembered = sets.layer();
    for (std::uint64_t n = 1; !limit || n <= *limit; ++n) {
        decision.curve.push_back(sets.advance(limits));
        decision.ended = decision.curve.back() == 0;
        decision.repeats = !decision.ended && sets.layer() == remembered;
        if (decision.ended || decision.repeats) break;
        if ((n & (n - 1)) == 0) remembered = sets.layer();
    }
    return decision;
}

// The same by AgeCounts, from above only: nothing is certain. It ends also where the bound does not change any more.
Distinct distinct_from_above(AgeCounts &counts, std::optional<std::uint64_t> limit) {
    Distinct decision;
    decision.states = counts.states();
    for (std::uint64_t n = 0; !limit || n <= *limit; ++n) {
        decision.curve.push_back(counts.above(n));
        decision.ended = decision.curve.back() == 0;
        if (decision.ended || counts.settled(n)) break;
    }
    decision.surely.assign(decision.curve.size(), 0);
    return decision;
}

// And from below, as far as the time goes. From the end, because how many are enough depends on that alone, and
// because what is found there tells about fewer accesses as well.
void add_from_below(AgeCounts &counts, Distinct &decision) {
    std::vector<int> &surely = decision.surely;
    try {
        std::size_t n = decision.curve.size() - 1;
        if (!decision.ended && counts.settled(n)) {
            decision.repeats = counts.below(n, true, true, surely);
            if (!decision.repeats) surely[n] = 0;  // what comes later is not known
        } else {
            // It is worth looking longer for the last that leaves something.
            n -= decision.ended ? 1 : 0;
            if (!counts.below(n, false, false, surely)) counts.below(n, false, true, surely);
        }
        while (n-- > 0)
            if (surely[n] == 0) counts.below(n, false, false, surely);
    } catch (const OutOfTime &) {
        decision.stopped = true;
    }
    if (surely == decision.curve) {
        surely.clear();
        decision.stopped = false;
    }
}

// Whether `distinct` counts on MaskSets: policies that keep (much of) their state when seen from their own pointers.
// FIFO's hits change nothing, so that any set of ways can be settled: antichains of them are large.
bool many_states(const PolicyFacts &policy) {
    return policy.ignores_hits || policy.has_residue || !(policy.symmetric || policy.lazy_bits);
}

// Exactly, or not at all.
Distinct distinct_exactly(const AnyPolicy &policy, std::optional<std::uint64_t> limit, bool cold,
                          const Setting &setting, const Limits &limits) {
    if (many_states(policy.facts)) {
        const bool knows = setting.start == Start::any || policy.facts.has_fills;
        if (setting.view == View::fastest && setting.touches == 0 && setting.start != Start::invalidations && knows) {
            try {
                return distinct_in_masks(policy, limit, cold, setting.start, limits);
            } catch (const StateSpaceTooLarge &) {
                // What does not fit in there does not fit state by state either.
                if (policy.facts.age_bits > 0) throw;
            }
        }
    }
    return with_machine<NamelessMachine>(policy, setting, {Flushes::none, cold}, limits, [&](const Machine &machine) {
        return distinct_with(machine, limit, cold, setting.touches, limits);
    });
}

std::uint64_t combinations(int ages, int ways) {
    std::uint64_t result = 1;
    for (int way = 0; way < ways; ++way) result *= static_cast<std::uint64_t>(ages);
    return result;
}

// Exactly if that is not too much, else between bounds.
Distinct distinct_by_ages(const AnyPolicy &policy, std::optional<std::uint64_t> limit, bool cold,
                          const Setting &setting, const Limits &limits) {
    const int ages = 1 << policy.facts.age_bits;
    std::optional<AgeCounts> counts;
    Distinct bounds;
    try {
        counts.emplace(policy, setting.start, cold, limits);
        bounds = distinct_from_above(*counts, limit);
    } catch (const StateSpaceTooLarge &) {
        counts.reset();
    }
    // Ways with an age, settled or not: there the exact search takes long, if it ends at all.
    const bool many = combinations(2 * ages, policy.ways()) > limits.max_states;
    if (counts && many) {
        add_from_below(*counts, bounds);
        if (bounds.surely.empty() || bounds.stopped) return bounds;
    }
    try {
        // Every state would be listed, only to find that they are too many.
        if (counts && setting.start == Start::invalidations && combinations(ages, policy.ways()) > limits.max_states)
            throw StateSpaceTooLarge(limits.max_states);
        return distinct_exactly(policy, limit, cold, setting, limits);
    } catch (const StateSpaceTooLarge &) {
        if (!counts) throw StateSpaceTooLarge(limits.max_states);  // not what the packed search could hold
    } catch (const OutOfTime &) {
        if (!counts) throw;
        bounds.stopped = true;
        return bounds;
    }
    if (!many) add_from_below(*counts, bounds);
    return bounds;
}

}  // namespace

Distinct distinct(const AnyPolicy &policy, std::optional<std::uint64_t> limit, bool cold, const Setting &setting,
                  const Limits &limits) {
    if (policy.facts.age_bits > 0 && setting.view == View::fastest && setting.touches == 0)
        return distinct_by_ages(policy, limit, cold, setting, limits);
    return distinct_exactly(policy, limit, cold, setting, limits);
}

std::optional<Distinct> distinct_at_most(const AnyPolicy &policy, bool cold, Start start, const Limits &limits) {
    if (policy.facts.age_bits == 0) return std::nullopt;
    AgeCounts counts(policy, start, cold, limits);
    return distinct_from_above(counts, std::nullopt);
}

}  // namespace l1dflush
