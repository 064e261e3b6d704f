// SPDX-License-Identifier: GPL-2.0-or-later
// QLRU_Hxy_Mz_Ru_Uw[_UMO]: a 2-bit age per way, 3 marks a candidate for replacement. All ages are 3 in an empty set.
//
//   Hxy   a hit turns age 3 into x, 2 into y, and 1 and 0 into 0
//   Mz    a miss inserts its line with age z
//   Ru    who is replaced in a full set: R0, R2 the lowest way with age 3; R1 the same, way 0 if there is none.
//         R2 fills the highest invalid way first, the others the lowest
//   Uw    what is then added to the ages: U0 3 - max(all) to all; U1 3 - max(others) to all but the way accessed;
//         U2 if none is 3, 1 to all; U3 if none is 3, 1 to all but the way accessed
//   UMO   (update on miss only) the update runs on misses only, before the victim is chosen; no way counts as accessed
//
// SRRIP-HP is QLRU_H00_M2_R0_U0_UMO, SRRIP-FP is QLRU_H21_M2_R0_U0_UMO. Published names: uops.info, nanoBench.
#pragma once

#include <array>
#include <bit>
#include <string_view>

#include "policy/policy.hpp"

namespace l1dflush {

struct QlruRules {
    int hit3, hit2;
    int insert;
    int replace;
    int update;
    bool miss_only;
};

inline QlruRules parse_qlru(std::string_view name) {
    constexpr std::string_view umo = "_UMO";
    const bool miss_only = name.ends_with(umo);
    const std::string_view core = miss_only ? name.substr(0, name.size() - umo.size()) : name;
    // The letters have to stand where the pattern has them, the digits where it has dots.
    constexpr std::string_view pattern = "QLRU_H.._M._R._U.";
    require(core.size() == pattern.size(), "a QLRU policy is called QLRU_Hxy_Mz_Ru_Uw, _UMO may follow");
    std::array<int, 5> digit{};
    std::size_t found = 0;
    for (std::size_t i = 0; i < pattern.size(); ++i) {
        if (pattern[i] == '.')
            digit[found++] = core[i] - '0';
        else
            require(core[i] == pattern[i], "a QLRU policy is called QLRU_Hxy_Mz_Ru_Uw, _UMO may follow");
    }
    constexpr std::array<int, 5> most{2, 1, 3, 2, 3};
    for (std::size_t i = 0; i < digit.size(); ++i)
        require(digit[i] >= 0 && digit[i] <= most[i], "QLRU: x is 0..2, y 0..1, z 0..3, u 0..2, w 0..3");
    return {digit[0], digit[1], digit[2], digit[3], digit[4], miss_only};
}

// R2's rule for invalid ways is part of the type, as for every policy.
template <bool highest_invalid_first>
class Qlru {
public:
    static constexpr bool fills_highest = highest_invalid_first;
    // The way's age falls to 0 while what is added to the others makes one of them 3. Five hits are the most that it
    // takes, under any rules and from any ages; the tests try them all.
    static constexpr int repeat_hits = 5;
    static constexpr int age_bits = 2;

    Qlru(const QlruRules &rules, int ways) : rules_(rules), ways_(ways) {
        require(ways >= 1 && ways <= max_ways, "QLRU has 1 to 16 ways");
        for (int way = 0; way < ways; ++way) ones_ |= PolicyState{1} << (2 * way);
        require((rules.replace == 2) == highest_invalid_first, "R2 fills the highest invalid way first");
        require(rules.replace == 1 || rules.update < 2, "R0 and R2 do not go with U2 and U3: no way need have age 3");
        // The only way there is counts as accessed, so U1 does nothing; after a hit its age is below 3.
        require(rules.replace == 1 || rules.update == 0 || rules.miss_only || ways > 1,
                "R0 and R2 with U1 need 2 ways: a single one that was hit never has age 3 again");
    }

    int ways() const { return ways_; }
    PolicyState empty() const { return 3 * ones_; }

    PolicyState hit(PolicyState state, int way) const {
        const int age = age_of(state, way);
        const PolicyState after = with_age(state, way, age == 3 ? rules_.hit3 : age == 2 ? rules_.hit2 : 0);
        return rules_.miss_only ? after : updated(after, way);
    }
    PolicyState fill(PolicyState state, int way) const {
        if (rules_.miss_only) return with_age(updated(state, nobody), way, rules_.insert);
        return updated(with_age(state, way, rules_.insert), way);
    }
    int victim(PolicyState state) const {
        const PolicyState candidates = with_3(rules_.miss_only ? updated(state, nobody) : state);
        if (candidates != 0) return std::countr_zero(candidates) / 2;
        require(rules_.replace == 1, "no way has age 3");
        return 0;
    }

    // The ages.
    std::vector<int> numbers(PolicyState state) const {
        std::vector<int> ages;
        for (int way = 0; way < ways_; ++way) ages.push_back(age_of(state, way));
        return ages;
    }
    PolicyState pack(const std::vector<int> &ages) const {
        require(static_cast<int>(ages.size()) == ways_, "a QLRU state is one age per way");
        PolicyState state = 0;
        for (int way = 0; way < ways_; ++way) {
            const int age = ages[static_cast<std::size_t>(way)];
            require(age >= 0 && age <= 3, "an age is 0 to 3");
            state = with_age(state, way, age);
        }
        return state;
    }

private:
    static constexpr int nobody = -1;

    static int age_of(PolicyState state, int way) { return static_cast<int>((state >> (2 * way)) & 3U); }
    static PolicyState with_age(PolicyState state, int way, int age) {
        return (state & ~(PolicyState{3} << (2 * way))) | (static_cast<PolicyState>(age) << (2 * way));
    }
    // A 1 in the place of every way whose age is 3.
    PolicyState with_3(PolicyState state) const { return state & (state >> 1) & ones_; }
    // The largest of the ages where `places` has a 1.
    static int largest(PolicyState state, PolicyState places) {
        const PolicyState low = state & places;
        const PolicyState high = (state >> 1) & places;
        if (low & high) return 3;
        if (high) return 2;
        return low ? 1 : 0;
    }

    // No age exceeds 3: what is added is at most what the largest of them lacks.
    PolicyState updated(PolicyState state, int accessed) const {
        const PolicyState others = accessed == nobody ? ones_ : ones_ & ~(PolicyState{1} << (2 * accessed));
        switch (rules_.update) {
            case 0: return state + ones_ * static_cast<PolicyState>(3 - largest(state, ones_));
            case 1: return state + others * static_cast<PolicyState>(3 - largest(state, others));
            case 2: return with_3(state) ? state : state + ones_;
            default: return with_3(state) ? state : state + others;
        }
    }

    QlruRules rules_;
    int ways_;
    PolicyState ones_ = 0;  // a 1 in the place of every way
};

// BRRIP: as SRRIP-HP, but a line comes in with age 2 once in 32 misses (branch 0) and else with 3 (branch 1).
class Brrip {
public:
    static constexpr int repeat_hits = Qlru<false>::repeat_hits;

    explicit Brrip(int ways) : rare_({0, 0, 2, 0, 0, true}, ways), common_({0, 0, 3, 0, 0, true}, ways) {}

    int ways() const { return common_.ways(); }
    PolicyState empty() const { return common_.empty(); }
    PolicyState hit(PolicyState state, int way) const { return common_.hit(state, way); }

    int branches() const { return 2; }
    Weight weight(int branch) const { return branch == 0 ? Weight{1, 32} : Weight{31, 32}; }
    int victim(PolicyState state, int) const { return common_.victim(state); }
    PolicyState fill(PolicyState state, int way, int branch) const {
        return branch == 0 ? rare_.fill(state, way) : common_.fill(state, way);
    }

    std::vector<int> numbers(PolicyState state) const { return common_.numbers(state); }
    PolicyState pack(const std::vector<int> &ages) const { return common_.pack(ages); }

private:
    Qlru<false> rare_;
    Qlru<false> common_;
};

}  // namespace l1dflush
