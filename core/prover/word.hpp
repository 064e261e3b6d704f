// SPDX-License-Identifier: GPL-2.0-or-later
// A word (the accesses of one set, in order) made ready for a search.
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_set>
#include <vector>

namespace l1dflush {

enum class ItemKind : std::uint8_t { access = 0, optional = 1, flush = 2 };

// What a way holds: `other` (unknown or settled, see state.hpp), `invalid`, `brought`, or the slot of a line that the
// word touches again later. Slots are reused: a line has one from its first to its last item, and only if it has
// several.
using Label = std::uint16_t;
constexpr Label other = 0;
constexpr Label invalid = 0xFFFF;
constexpr Label brought = 0xFFFE;  // by somebody else: no old line, perhaps a line that the word did not touch yet

struct Item {
    std::uint32_t line;
    ItemKind kind;
    Label slot;   // `other` for a line that occurs once
    bool known;   // an ACCESS or FLUSH of this line came before, so it is certain where the line is (or that it is not)
    bool more;    // the line occurs again later
    bool cold;    // it is certain that the line was not cached at the start
};

struct Word {
    std::vector<Item> items;
    std::vector<std::uint32_t> kept;  // for each given item: 1 + its number in `items`, or 0 where it was left out
    std::vector<ItemKind> kinds;      // of the given items
    std::uint32_t lines = 0;
    std::size_t slots = 0;
};

// What a word FLUSHes: nothing, lines that it does not access any more, or lines that it does.
enum class Flushes { none, lines, lines_that_come_back };

// What of a word decides which machine suits it.
struct WordFacts {
    Flushes flushes = Flushes::none;
    bool cold = false;  // some of its lines are not cached at the start
};

// A word as it is given: per item the line and the kind. `cold`: the lines that are not cached at the start.
struct RawWord {
    std::vector<std::uint32_t> lines;
    std::vector<ItemKind> kinds;
    std::unordered_set<std::uint32_t> cold;

    Flushes flushes() const {
        std::unordered_set<std::uint32_t> flushed;
        for (std::size_t i = 0; i < lines.size(); ++i) {
            if (kinds[i] == ItemKind::flush)
                flushed.insert(lines[i]);
            else if (flushed.contains(lines[i]))
                return Flushes::lines_that_come_back;
        }
        return flushed.empty() ? Flushes::none : Flushes::lines;
    }

    WordFacts facts() const { return {flushes(), !cold.empty()}; }

    RawWord beginning(std::size_t length) const {
        const auto cut = static_cast<std::ptrdiff_t>(length);
        return {{lines.begin(), lines.begin() + cut}, {kinds.begin(), kinds.begin() + cut}, cold};
    }

    // How many items come before the first that touches a line again, immediate repeats aside.
    std::size_t items_before_repeat() const {
        std::unordered_set<std::uint32_t> seen;
        for (std::size_t i = 0; i < lines.size(); ++i)
            if (!seen.insert(lines[i]).second && lines[i] != lines[i - 1]) return i;
        return lines.size();
    }
};

constexpr int unlimited = -1;

// How many accesses in a row of one line can make a difference: the first, and hits in the way touched last that still
// change something (repeat_hits): LRU has the way at the front, a tree's bits already point away from it, FIFO ignores
// hits: there the first is all. Between the accesses others may touch the set, so that
// each piece counts anew.
inline int useful_run(int repeat_hits, std::uint32_t touches) {
    if (repeat_hits == unlimited) return unlimited;
    return (1 + repeat_hits) * (1 + static_cast<int>(touches));
}

// `run`: of more accesses in a row of one line only so many are kept, see useful_run. Where one is enough, whether an
// OPTIONAL repeat happens makes no difference either.
Word prepare(const RawWord &raw, int run);

}  // namespace l1dflush
