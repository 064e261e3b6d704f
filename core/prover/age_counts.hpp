// SPDX-License-Identifier: GPL-2.0-or-later
// Pairwise different accesses for policies with an age per way (the QLRU family, NRU), where there are too many states.
//
// At 16 ways such a policy has up to 4^16 states, so neither the states nor the sets of settled ways can be kept. But it
// treats all ways alike, except for one thing: of the ways that may be replaced, the LOWEST is. So two questions are
// asked that together often answer the first:
//
//   FROM ABOVE. Let the adversary choose freely which of those ways is replaced. Then ways need no names: a set is how
//   many ways there are of each age, settled and unknown. That is more than the adversary can do, and the start (every
//   count of ages that can be reached in this way) is more than there is, so what is left at most here is an upper
//   bound of what is left. If it is 0, that is a proof.
//
//   FROM BELOW. Follow real sets, way by way, with the real policy, from starts that were reached by filling a set.
//   What one of them leaves is certainly left. The bound from above leads: for each count of ages it is known how many
//   unknown ways can be left after m more accesses, so a real set that cannot come to the bound any more is dropped,
//   and few need be kept: of those with the same counts, some whose settled ways are low. (Many are given up even so,
//   so that finding nothing says nothing.)
//
// Where both agree the answer is exact. Where they do not, the numbers are bounds and are called so.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "policy/policy.hpp"
#include "policy/reachable.hpp"
#include "prover/limits.hpp"
#include "prover/start.hpp"

namespace l1dflush {

class AgeCounts {
public:
    AgeCounts(const AnyPolicy &policy, Start start, bool cold, const Limits &limits)
        : policy_(policy),
          ways_(policy.ways()),
          age_bits_(policy.facts.age_bits),
          may_be_invalid_(start != Start::any),
          cold_(cold),
          limits_(limits) {
        for (const Counts &counts : start_counts(start)) starts_.push_back(numbered(counts));
        for (std::uint32_t i = 0; i < counts_.size(); ++i) {
            limits_.poll_now_and_then(i);
            next_.emplace_back();
            const Counts from = counts_[i];
            each_access(from, [&](const Counts &to) {
                const std::uint32_t number = numbered(to);
                if (std::find(next_[i].begin(), next_[i].end(), number) == next_[i].end()) next_[i].push_back(number);
            });
        }
        best_.emplace_back();
        for (const Counts &counts : counts_) best_[0].push_back(static_cast<std::uint8_t>(counts.unknown()));
    }

    std::size_t states() const { return counts_.size(); }

    // The most unknown ways after n accesses, from above.
    int above(std::size_t n) {
        extend(n);
        int most = 0;
        for (const std::uint32_t start : starts_) most = std::max<int>(most, best_[n][start]);
        return most;
    }

    // Whether n accesses more never change the bound any more.
    bool settled(std::size_t n) {
        extend(n + 1);
        return best_[n] == best_[n + 1];
    }

    // Looks for a real set in which as many ways are unknown after n accesses as the bound says, and tells whether there
    // is one. `for_ever`: and some stay so whatever number of accesses follows. `wide`: look longer. `surely[m]` is set
    // for every m up to n at which a real set was seen to come to the bound.
    bool below(std::size_t n, bool for_ever, bool wide, std::vector<int> &surely) {
        const int wanted = above(n);
        if (wanted == 0) return false;
        std::vector<Real> layer = real_starts(n, wanted);
        if (!layer.empty()) surely[0] = ways_;
        std::size_t steps = 0;
        for (std::size_t done = 0; done < n && !layer.empty(); ++done) {
            std::vector<Followed> next;
            std::unordered_set<std::uint64_t> seen;
            for (const Real &from : layer) {
                if (next.size() > most_followed) break;
                each_real_access(from, wide, [&](const Real &to) {
                    limits_.poll_now_and_then(steps++);
                    if (possible(to, n - done - 1) < wanted || !seen.insert(to.key()).second) return;
                    next.push_back({counts_of(to).key(), next.size(), to});
                });
            }
            layer = some_of(std::move(next), wide ? 100 : 12);
            int most = 0;
            for (const Real &real : layer) most = std::max(most, ways_ - std::popcount(real.settled));
            if (most == above(done + 1)) surely[done + 1] = most;
        }
        if (!for_ever) return !layer.empty();
        return std::any_of(layer.begin(), layer.end(), [&](const Real &real) { return stays(real); });
    }

private:
    // Real sets that are followed at the same time.
    static constexpr std::size_t most_followed = 100'000;

    // How many ways of each age are unknown and settled. `decided`: no way is invalid any more.
    struct Counts {
        std::array<std::uint8_t, 4> open{};
        std::array<std::uint8_t, 4> done{};
        bool decided = true;

        std::uint64_t key() const {
            std::uint64_t k = decided;
            for (int age = 0; age < 4; ++age)
                k = (k << 10) | (std::uint64_t{open[static_cast<std::size_t>(age)]} << 5) |
                    done[static_cast<std::size_t>(age)];
            return k;
        }
        int unknown() const { return open[0] + open[1] + open[2] + open[3]; }
    };

    // A set way by way. `valid`: how many ways, in the order in which invalid ways are filled, are known to be valid.
    struct Real {
        PolicyState policy = 0;
        std::uint32_t settled = 0;
        std::uint32_t valid = 0;

        std::uint64_t key() const { return policy | (std::uint64_t{settled} << 32) | (std::uint64_t{valid} << 48); }
    };

    struct Followed {
        std::uint64_t counts;
        std::size_t met;  // as which
        Real real;
    };

    // Of those with the same counts only some: those whose settled ways are the lowest, because the lowest is replaced
    // first, and it had better be settled.
    static std::vector<Real> some_of(std::vector<Followed> all, int likes) {
        std::sort(all.begin(), all.end(), [](const Followed &a, const Followed &b) {
            return std::tie(a.counts, a.real.settled, a.met) < std::tie(b.counts, b.real.settled, b.met);
        });
        std::vector<Real> some;
        int alike = 0;
        for (std::size_t i = 0; i < all.size(); ++i) {
            alike = i > 0 && all[i].counts == all[i - 1].counts ? alike + 1 : 1;
            if (alike <= likes) some.push_back(all[i].real);
        }
        return some;
    }

    std::size_t age_of(PolicyState state, int way) const {
        return (state >> (age_bits_ * way)) & ((PolicyState{1} << age_bits_) - 1);
    }

    std::uint32_t numbered(const Counts &counts) {
        const auto [entry, fresh] = number_.try_emplace(counts.key(), static_cast<std::uint32_t>(counts_.size()));
        if (fresh) {
            counts_.push_back(counts);
            limits_.check(counts_.size());
        }
        return entry->second;
    }

    // A set with these counts, in which a way of this age and kind comes first. Returns the settled ways.
    PolicyState arranged(const Counts &counts, std::size_t first_age, bool first_open, std::uint32_t &settled) const {
        PolicyState state = 0;
        settled = 0;
        int way = 0;
        auto place = [&](std::size_t age, bool open, int count) {
            for (; count > 0; --count, ++way) {
                state |= static_cast<PolicyState>(age) << (age_bits_ * way);
                if (!open) settled |= 1U << way;
            }
        };
        place(first_age, first_open, 1);
        for (std::size_t age = 0; age < 4; ++age) {
            place(age, true, counts.open[age] - (first_open && age == first_age ? 1 : 0));
            place(age, false, counts.done[age] - (!first_open && age == first_age ? 1 : 0));
        }
        return state;
    }

    Counts counted(PolicyState state, std::uint32_t settled, bool decided) const {
        Counts counts;
        counts.decided = decided;
        for (int way = 0; way < ways_; ++way) {
            const auto age = age_of(state, way);
            ++((settled >> way) & 1U ? counts.done : counts.open)[age];
        }
        return counts;
    }

    // Everything that an access of a new line may do, if the adversary may choose among the ways that may be replaced.
    template <class Out>
    void each_access(const Counts &from, Out out) const {
        for (std::size_t age = 0; age < 4; ++age) {
            for (const bool open : {true, false}) {
                if ((open ? from.open : from.done)[age] == 0) continue;
                std::uint32_t settled = 0;
                const PolicyState state = arranged(from, age, open, settled);
                const std::uint32_t then = settled | 1U;
                if (open && !cold_)
                    policy_.each_hit(state, 0,
                             [&](PolicyState next) { out(counted(next, then, from.decided)); });
                if (open && !from.decided)
                    policy_.each_fill(state, 0, [&](PolicyState next, Weight) { out(counted(next, then, false)); });
                // The first way is replaced if its like may be: nothing is lower.
                policy_.each_miss(state, [&](int victim, PolicyState next, Weight) {
                    if (victim == 0) out(counted(next, then, true));
                });
            }
        }
    }

    // What a start may be, from above: the counts of ages of full sets that were filled from empty, or with
    // Start::invalidations, of all sets that hits, misses and invalidations lead to.
    std::vector<Counts> start_counts(Start start) {
        const bool any_valid = start == Start::invalidations;
        // Here `open` are the valid ways, `done` the invalid ones. With invalidations there is no need to tell them
        // apart: a way may be hit because it was not invalidated, and filled because it was.
        Counts empty;
        for (int way = 0; way < ways_; ++way) {
            const auto age = age_of(policy_.empty(), way);
            ++(any_valid ? empty.open : empty.done)[age];
        }
        std::vector<Counts> found{empty};
        std::unordered_set<std::uint64_t> seen{empty.key()};
        std::vector<Counts> starts;
        for (std::size_t i = 0; i < found.size(); ++i) {
            limits_.poll_now_and_then(i);
            const Counts from = found[i];
            const bool is_full = from.unknown() == ways_;
            if (is_full) {
                starts.push_back(from);
                starts.back().decided = !may_be_invalid_;
            }
            auto reach = [&](PolicyState next, std::uint32_t invalid) {
                const Counts to = counted(next, invalid, true);
                if (!seen.insert(to.key()).second) return;
                found.push_back(to);
                limits_.check(found.size());
            };
            for (std::size_t age = 0; age < 4; ++age) {
                std::uint32_t invalid = 0;
                if (from.open[age] > 0) {
                    const PolicyState state = arranged(from, age, true, invalid);
                    policy_.each_hit(state, 0, [&](PolicyState next) { reach(next, invalid); });
                    if (is_full)
                        policy_.each_miss(state, [&](int victim, PolicyState next, Weight) {
                            if (victim == 0) reach(next, invalid);
                        });
                }
                if (from.done[age] > 0 || (any_valid && from.open[age] > 0)) {
                    const PolicyState state = arranged(from, age, any_valid, invalid);
                    policy_.each_fill(state, 0, [&](PolicyState next, Weight) { reach(next, invalid & ~1U); });
                }
            }
        }
        return starts;
    }

    void extend(std::size_t n) {
        while (best_.size() <= n) {
            const std::vector<std::uint8_t> &last = best_.back();
            std::vector<std::uint8_t> now(counts_.size(), 0);
            for (std::size_t i = 0; i < counts_.size(); ++i)
                for (const std::uint32_t to : next_[i]) now[i] = std::max(now[i], last[to]);
            best_.push_back(std::move(now));
        }
    }

    Counts counts_of(const Real &real) const {
        return counted(real.policy, real.settled,
                       !may_be_invalid_ || real.valid >= static_cast<std::uint32_t>(ways_));
    }

    // The most unknown ways that a real set can have after so many more accesses, from above.
    int possible(const Real &real, std::size_t more) {
        const auto number = number_.find(counts_of(real).key());
        return number == number_.end() ? 0 : best_[more][number->second];
    }

    // Start states, reached by filling a set, from which the bound may be reached.
    std::vector<Real> real_starts(std::size_t n, int wanted) {
        if (histories_.empty()) find_histories();
        std::vector<Real> starts;
        for (const PolicyState state : histories_) {
            const Real real{state, 0, may_be_invalid_ ? 0U : static_cast<std::uint32_t>(ways_)};
            if (possible(real, n) >= wanted) starts.push_back(real);
        }
        return starts;
    }

    void find_histories() {
        const unsigned all = (1U << ways_) - 1U;
        PolicyState state = policy_.empty();
        for (unsigned invalid = all; invalid != 0;) {
            const int way = policy_.invalid_way(invalid);
            policy_.each_fill(state, way, [&](PolicyState next, Weight) { state = next; });
            invalid &= ~(1U << way);
        }
        // Of those with the same counts only some are followed here, too.
        constexpr int likes = 50;
        std::unordered_set<PolicyState> seen;
        std::unordered_map<std::uint64_t, int> alike;
        auto reach = [&](PolicyState next) {
            if (seen.insert(next).second && ++alike[counted(next, 0, true).key()] <= likes) histories_.push_back(next);
        };
        reach(state);
        for (std::size_t i = 0; i < histories_.size(); ++i) {
            limits_.poll_now_and_then(i);
            const PolicyState from = histories_[i];
            policy_.each_miss(from, [&](int, PolicyState next, Weight) { reach(next); });
            for (int way = 0; way < ways_; ++way) policy_.each_hit(from, way, reach);
        }
    }

    // What an access of a new line may do to a real set. Of unknown ways with the same age only the lowest is hit,
    // unless `wide`: what is settled had better be replaced first.
    template <class Out>
    void each_real_access(const Real &from, bool wide, Out out) const {
        unsigned ages = 0;
        for (int way = 0; way < ways_; ++way) {
            if ((from.settled >> way) & 1U) continue;
            const std::uint32_t settled = from.settled | (1U << way);
            const unsigned age = 1U << age_of(from.policy, way);
            const bool lowest = (ages & age) == 0;
            ages |= age;
            if (!cold_ && (lowest || wide))
                policy_.each_hit(from.policy, way, [&](PolicyState next) { out(Real{next, settled, from.valid}); });
            const auto rank = static_cast<std::uint32_t>(policy_.facts.fills_highest ? ways_ - 1 - way : way);
            if (rank >= from.valid)
                policy_.each_fill(from.policy, way,
                          [&](PolicyState next, Weight) { out(Real{next, settled, rank + 1}); });
        }
        policy_.each_miss(from.policy, [&](int victim, PolicyState next, Weight) {
            out(Real{next, from.settled | (1U << victim), static_cast<std::uint32_t>(ways_)});
        });
    }

    // Whether misses alone never push out all unknown ways: the set comes round to where it was with some left.
    bool stays(Real real) const {
        std::unordered_set<std::uint64_t> seen;
        while (seen.insert(real.key()).second) {
            Real next;
            policy_.each_miss(real.policy, [&](int victim, PolicyState state, Weight) {
                next = Real{state, real.settled | (1U << victim), static_cast<std::uint32_t>(ways_)};
            });
            real = next;
            if (std::popcount(real.settled) == ways_) return false;
        }
        return true;
    }

    const AnyPolicy &policy_;
    int ways_;
    int age_bits_;
    bool may_be_invalid_;
    bool cold_;
    Limits limits_;
    std::vector<Counts> counts_;
    std::unordered_map<std::uint64_t, std::uint32_t> number_;
    std::vector<std::vector<std::uint32_t>> next_;
    std::vector<std::uint32_t> starts_;
    std::vector<std::vector<std::uint8_t>> best_;  // best_[m][i]: most unknown ways m accesses after counts i
    std::vector<PolicyState> histories_;
};

}  // namespace l1dflush
