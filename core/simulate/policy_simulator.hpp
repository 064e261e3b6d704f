// A cache with a policy, run in one of two ways that give the same result.
//
// `step` is the plain one: hit, fill of an invalid way, miss; any policy, any set. It is fast enough where the branch
// predictor can guess hits and misses, and slow where it cannot.
//
// `run` is for full sets and policies that can be asked without a branch. The way of an access is
//
//     lowest bit of (ways that hold the line | victim << width)
//
// which is a hit if it is below `width` and else the victim, so one expression covers both; the line is then written to
// the way (again, on a hit) and the policy moves on. What "can be asked" means is a Brain:
//
//   victim(word)         who would be replaced
//   after(word, where)   the word after a hit in way `where`, or after a miss that replaced way `where - width`
//
// One Brain looks the answers up in a PolicyTable; the other computes them, for policies with many states that do not
// care whether a full set's way was hit or filled. A set that is not full takes `step` until it is.
#pragma once

#include "policy/registry.hpp"
#include "simulate/choice.hpp"
#include "simulate/simulator.hpp"
#include "simulate/table.hpp"

namespace l1dflush {

// Whether fill is the same function as hit, and cheap.
template <class P>
inline constexpr bool fill_is_hit = false;
template <>
inline constexpr bool fill_is_hit<Lru> = true;
template <>
inline constexpr bool fill_is_hit<TreePlru> = true;
template <>
inline constexpr bool fill_is_hit<BitPlru> = true;
template <>
inline constexpr bool fill_is_hit<LruPlru4> = true;

template <unsigned width>
struct TableBrain {
    const std::uint16_t *rows;

    unsigned victim(std::uint64_t word) const { return word & 15U; }
    std::uint64_t after(std::uint64_t word, unsigned where) const { return rows[(word / 16) * (2 * width) + where]; }
};

template <unsigned width, class P>
struct ComputingBrain {
    P policy;

    unsigned victim(std::uint64_t word) const { return static_cast<unsigned>(policy.victim(word)); }
    std::uint64_t after(std::uint64_t word, unsigned where) const {
        return policy.hit(word, static_cast<int>(where % width));
    }
};

template <class P>
class PolicySimulator final : public Simulator {
public:
    // `plain`: never `run`, for comparison.
    PolicySimulator(const P &policy, const Shape &shape, std::uint64_t seed, bool plain)
        : Simulator(shape), policy_(policy), seed_(seed), random_(seed), table_(ways_, static_cast<int>(width_)) {
        require(has_fills(policy), "this policy does not say what filling an invalid way does");
        const Form best = form_of_first_full_set();  // also where a policy that is not deterministic is refused
        form_ = plain ? Form::plain : best;
        reset();
    }

    std::uint64_t access(const std::uint64_t *addresses, std::size_t count, bool *hit) override {
        if (form_ != Form::plain) {
            if (width_ == 4) return access_fast<4>(addresses, count, hit);
            if (width_ == 8) return access_fast<8>(addresses, count, hit);
            return access_fast<16>(addresses, count, hit);
        }
        std::uint64_t hits = 0;
        for (std::size_t i = 0; i < count; ++i) {
            const Line line = line_of(addresses[i]);
            const bool is_hit = step(set_of(line), line);
            hits += is_hit;
            if (hit) hit[i] = is_hit;
        }
        return hits;
    }

    std::vector<int> numbers(std::size_t set) const override { return policy_.numbers(state(set)); }

    void reset() override {
        random_ = SplitMix64(seed_);
        fast_.assign(sets(), 0);
        words_.assign(sets(), policy_.empty());
        flush_all();
    }

private:
    enum class Form { plain, table, computed };

    // Fills a set from empty to see which form its policy allows.
    Form form_of_first_full_set() {
        PolicyState state = policy_.empty();
        for (unsigned invalid = all_ways(); invalid != 0;) {
            const int way = invalid_way<P>(invalid);
            invalid &= ~(1U << way);
            const Outcomes filled = fills(policy_, state, way);
            if (!filled.single()) return Form::plain;
            state = filled.pick(random_).state;
        }
        if (table_.close(policy_, state)) return Form::table;
        return fill_is_hit<P> ? Form::computed : Form::plain;
    }

    // For a set that is not in fast form.
    bool step(std::size_t set, Line line) {
        const unsigned ways = found(set, line);
        std::uint64_t &state = words_[set];
        if (ways != 0) {
            state = after_hit(policy_, state, std::countr_zero(ways));
            return true;
        }
        if (invalid_[set] != 0) {
            const int way = invalid_way<P>(invalid_[set]);
            state = fills(policy_, state, way).pick(random_).state;
            tags(set)[way] = line;
            invalid_[set] = static_cast<std::uint16_t>(invalid_[set] & ~(1U << way));
            if (invalid_[set] == 0) enter_fast_form(set);
        } else {
            const Outcomes missed = misses(policy_, state);
            const Outcome &outcome = missed.pick(random_);
            state = outcome.state;
            tags(set)[outcome.way] = line;
        }
        return false;
    }

    PolicyState state(std::size_t set) const {
        return fast_[set] && form_ == Form::table ? table_.state(words_[set]) : words_[set];
    }
    void enter_fast_form(std::size_t set) {
        if (form_ == Form::table) {
            if (!table_.close(policy_, words_[set])) return;
            words_[set] = table_.word(words_[set]);
        }
        fast_[set] = form_ != Form::plain;
    }
    void leave_fast_form(std::size_t set) override {
        words_[set] = state(set);
        fast_[set] = 0;
    }

    template <unsigned width>
    std::uint64_t access_fast(const std::uint64_t *addresses, std::size_t count, bool *hit) {
        if constexpr (fill_is_hit<P>)
            if (form_ == Form::computed) return run<width>(ComputingBrain<width, P>{policy_}, addresses, count, hit);
        return run<width>(TableBrain<width>{table_.rows()}, addresses, count, hit);
    }
    template <unsigned width, class Brain>
    std::uint64_t run(const Brain &brain, const std::uint64_t *addresses, std::size_t count, bool *hit) {
        return hit ? run<width, true>(brain, addresses, count, hit) : run<width, false>(brain, addresses, count, hit);
    }
    template <unsigned width, bool tells_each, class Brain>
    std::uint64_t run(const Brain brain, const std::uint64_t *addresses, std::size_t count, bool *hit) {
        Line *const all_tags = tags_.data();
        std::uint64_t *const words = words_.data();
        const std::uint8_t *const fast = fast_.data();
        std::uint64_t hits = 0;
        for (std::size_t i = 0; i < count; ++i) {
            const Line line = line_of(addresses[i]);
            const std::size_t set = set_of(line);
            bool is_hit;
            if (fast[set]) [[likely]] {
                Line *const ways = all_tags + set * width;
                const std::uint64_t word = words[set];
                const unsigned candidates = ways_with(ways, width, line) | (1U << width << brain.victim(word));
                const auto where = static_cast<unsigned>(std::countr_zero(candidates));
                ways[where % width] = line;
                words[set] = brain.after(word, where);
                is_hit = where < width;
            } else {
                is_hit = step(set, line);
            }
            hits += is_hit;
            if constexpr (tells_each) hit[i] = is_hit;
        }
        return hits;
    }

    Form form_ = Form::plain;
    P policy_;
    std::uint64_t seed_;
    SplitMix64 random_;
    PolicyTable table_;
};

}  // namespace l1dflush
