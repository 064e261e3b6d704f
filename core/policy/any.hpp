// SPDX-License-Identifier: GPL-2.0-or-later
// A policy as the prover asks it: one type for all policies, so that a search is compiled once and not once for each.
//
// Each answer costs a call through a pointer, which is little beside what a search does with it. The loops of the
// simulator, where it is much, know the policy's own type (list.hpp).
#pragma once

#include <array>
#include <concepts>
#include <memory>
#include <type_traits>
#include <vector>

#include "policy/policy.hpp"

namespace l1dflush {

// Whoever is told the outcomes: called as long as the call that it is handed to lasts, and not kept.
template <class... Told>
class Out {
public:
    template <class F>
        requires(!std::same_as<std::remove_cvref_t<F>, Out>)
    Out(F &&function)
        : function_(const_cast<void *>(static_cast<const void *>(std::addressof(function)))),
          call_([](void *f, Told... told) { (*static_cast<std::remove_reference_t<F> *>(f))(told...); }) {}

    void operator()(Told... told) const { call_(function_, told...); }

private:
    void *function_;
    void (*call_)(void *, Told...);
};

// What is true of a policy in every state; policy.hpp says what each of these means.
struct PolicyFacts {
    int ways = 0;
    int repeat_hits = 0;
    int age_bits = 0;  // 0: it has no ages
    bool has_fills = true;
    bool has_chances = false;  // or outcomes whose chance nobody knows
    bool fills_highest = false;
    bool fill_order_is_free = false;
    bool ignores_hits = false;
    bool interchangeable = false;
    bool stateless = false;
    bool lazy_bits = false;
    bool symmetric = false;
    bool has_residue = false;  // false where it is symmetric: nothing of a state is left when seen from its pointers
};

class AnyPolicy {
public:
    virtual ~AnyPolicy() = default;
    AnyPolicy(const AnyPolicy &) = delete;
    AnyPolicy &operator=(const AnyPolicy &) = delete;

    const PolicyFacts facts;

    int ways() const { return facts.ways; }
    // Which of the invalid ways (a bit set, not empty) a miss fills.
    int invalid_way(unsigned invalid) const { return first_filled(invalid, facts.fills_highest); }

    virtual PolicyState empty() const = 0;
    // The functions of the same names in policy.hpp.
    virtual void each_hit(PolicyState state, int way, Out<PolicyState> out) const = 0;
    virtual void each_miss(PolicyState state, Out<int, PolicyState, Weight> out) const = 0;
    virtual void each_fill(PolicyState state, int way, Out<PolicyState, Weight> out) const = 0;

    virtual std::vector<int> numbers(PolicyState state) const = 0;
    virtual PolicyState pack(const std::vector<int> &numbers) const = 0;

    // Where it is symmetric, see relative.hpp.
    virtual int position(PolicyState state, int way) const = 0;
    virtual PolicyState residue(PolicyState state) const = 0;
    virtual PolicyState representative(PolicyState residue) const = 0;
    // Where the ways are interchangeable: the state with way w called names[w].
    virtual PolicyState renamed(PolicyState state, const std::array<int, max_ways> &names) const = 0;

protected:
    explicit AnyPolicy(const PolicyFacts &facts) : facts(facts) {}
};

template <class P>
PolicyFacts facts_of(const P &policy) {
    PolicyFacts facts;
    facts.ways = policy.ways();
    facts.has_fills = has_fills(policy);
    facts.has_chances = RandomPolicy<P> || RelationalPolicy<P>;
    facts.fills_highest = fills_highest<P>();
    facts.symmetric = SymmetricPolicy<P>;
    facts.has_residue = requires(PolicyState state) { policy.residue(state); };
    if constexpr (requires { P::repeat_hits; }) facts.repeat_hits = P::repeat_hits;
    if constexpr (requires { P::age_bits; }) facts.age_bits = P::age_bits;
    if constexpr (requires { P::fill_order_is_free; }) facts.fill_order_is_free = P::fill_order_is_free;
    if constexpr (requires { P::ignores_hits; }) facts.ignores_hits = P::ignores_hits;
    if constexpr (requires { P::interchangeable; }) facts.interchangeable = P::interchangeable;
    if constexpr (requires { P::stateless; }) facts.stateless = P::stateless;
    if constexpr (requires { P::lazy_bits; }) facts.lazy_bits = P::lazy_bits;
    return facts;
}

template <class P>
class PolicyOf final : public AnyPolicy {
public:
    explicit PolicyOf(const P &policy) : AnyPolicy(facts_of(policy)), policy_(policy) {}

    PolicyState empty() const override { return policy_.empty(); }
    void each_hit(PolicyState state, int way, Out<PolicyState> out) const override {
        l1dflush::each_hit(policy_, state, way, out);
    }
    void each_miss(PolicyState state, Out<int, PolicyState, Weight> out) const override {
        l1dflush::each_miss(policy_, state, out);
    }
    void each_fill(PolicyState state, int way, Out<PolicyState, Weight> out) const override {
        l1dflush::each_fill(policy_, state, way, out);
    }

    std::vector<int> numbers(PolicyState state) const override { return policy_.numbers(state); }
    PolicyState pack(const std::vector<int> &numbers) const override { return policy_.pack(numbers); }

    int position(PolicyState state, int way) const override {
        if constexpr (SymmetricPolicy<P>)
            return policy_.position(state, way);
        else
            throw std::invalid_argument(no_symmetries);
    }
    PolicyState residue(PolicyState state) const override {
        if constexpr (requires { policy_.residue(state); })
            return policy_.residue(state);
        else if constexpr (SymmetricPolicy<P>)
            return 0;
        else
            throw std::invalid_argument(no_symmetries);
    }
    PolicyState representative(PolicyState residue) const override {
        if constexpr (requires { policy_.representative(residue); })
            return policy_.representative(residue);
        else if constexpr (SymmetricPolicy<P>)
            return policy_.base();
        else
            throw std::invalid_argument(no_symmetries);
    }
    PolicyState renamed(PolicyState state, const std::array<int, max_ways> &names) const override {
        if constexpr (requires { policy_.renamed(state, names); })
            return policy_.renamed(state, names);
        else
            throw std::invalid_argument("the ways of this policy are not interchangeable");
    }

private:
    static constexpr const char *no_symmetries = "this policy has no symmetries";

    P policy_;
};

}  // namespace l1dflush
