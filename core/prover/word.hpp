// A word (the accesses of one set, in order) made ready for a search.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "prover/limits.hpp"

namespace l1dflush {

enum class ItemKind : std::uint8_t { access = 0, optional = 1, flush = 2 };

// What a way holds: `other` (unknown or settled, see state.hpp), `invalid`, or the slot of a line that the word
// touches again later. Slots are reused: a line has one from its first to its last item, and only if it has several.
using Label = std::uint16_t;
constexpr Label other = 0;
constexpr Label invalid = 0xFFFF;

struct Item {
    std::uint32_t line;
    ItemKind kind;
    Label slot;   // `other` for a line that occurs once
    bool known;   // an ACCESS or FLUSH of this line came before, so it is certain where the line is (or that it is not)
    bool more;    // the line occurs again later
};

struct Word {
    std::vector<Item> items;
    std::vector<std::uint32_t> kept;  // for each given item: 1 + its number in `items`, or 0 where it was left out
    std::vector<ItemKind> kinds;      // of the given items
    std::uint32_t lines = 0;
    std::size_t slots = 0;
};

// An ACCESS of the line that the item just before it ACCESSed always hits, in the way touched last, and for every
// policy here touching the way touched last again changes nothing: LRU has it at the front, a tree's bits already
// point away from it, FIFO ignores hits, bit-PLRU's bit is set and (not all bits are set) stays so. So such a repeat
// is left out; whether an OPTIONAL repeat happens makes no difference either. `merge_repeats` exists so that the
// tests can compare.
inline Word prepare(const std::vector<std::uint32_t> &lines, const std::vector<std::uint8_t> &kinds,
                    bool merge_repeats) {
    if (lines.size() != kinds.size()) throw std::invalid_argument("as many kinds as lines are needed");
    Word word;
    std::unordered_map<std::uint32_t, std::uint32_t> number;
    for (std::size_t i = 0; i < lines.size(); ++i) {
        if (kinds[i] > 2) throw std::invalid_argument("unknown item kind");
        const auto kind = static_cast<ItemKind>(kinds[i]);
        const auto line = number.try_emplace(lines[i], static_cast<std::uint32_t>(number.size())).first->second;
        const bool repeat = merge_repeats && !word.items.empty() && word.items.back().line == line &&
                            word.items.back().kind == ItemKind::access && kind != ItemKind::flush;
        if (!repeat) word.items.push_back({line, kind, other, false, false});
        word.kinds.push_back(kind);
        word.kept.push_back(repeat ? 0 : static_cast<std::uint32_t>(word.items.size()));
    }
    word.lines = static_cast<std::uint32_t>(number.size());

    std::vector<bool> seen(number.size(), false);
    for (std::size_t i = word.items.size(); i-- > 0;) {
        Item &item = word.items[i];
        item.more = seen[item.line];
        seen[item.line] = true;
    }
    std::vector<bool> known(number.size(), false);
    std::vector<Label> slot(number.size(), other);
    std::vector<Label> free;
    for (Item &item : word.items) {
        item.known = known[item.line];
        if (item.kind != ItemKind::optional) known[item.line] = true;
        if (item.more && slot[item.line] == other) {
            if (free.empty()) {
                if (++word.slots >= invalid) throw StateSpaceTooLarge("more than 65534 lines in use at the same time");
                slot[item.line] = static_cast<Label>(word.slots);
            } else {
                slot[item.line] = free.back();
                free.pop_back();
            }
        }
        item.slot = slot[item.line];
        if (!item.more && item.slot != other) free.push_back(item.slot);
    }
    return word;
}

// How many of the given items come before the first that touches a line again, immediate repeats aside.
inline std::size_t items_before_repeat(const std::vector<std::uint32_t> &lines) {
    std::unordered_set<std::uint32_t> seen;
    for (std::size_t i = 0; i < lines.size(); ++i)
        if (!seen.insert(lines[i]).second && lines[i] != lines[i - 1]) return i;
    return lines.size();
}

}  // namespace l1dflush
