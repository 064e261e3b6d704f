// SPDX-License-Identifier: GPL-2.0-or-later
#include "prover/word.hpp"

#include <unordered_map>

#include "prover/limits.hpp"

namespace l1dflush {

Word prepare(const RawWord &raw, int run) {
    Word word;
    std::unordered_map<std::uint32_t, std::uint32_t> number;
    int length = 0;  // of the run that the last item belongs to
    for (std::size_t i = 0; i < raw.lines.size(); ++i) {
        const ItemKind kind = raw.kinds[i];
        const auto line = number.try_emplace(raw.lines[i], static_cast<std::uint32_t>(number.size())).first->second;
        const bool repeat = length > 0 && word.items.back().line == line && kind != ItemKind::flush;
        const bool left_out =
            repeat && run != unlimited && length >= run && (kind == ItemKind::access || run == 1);
        if (!left_out) {
            word.items.push_back({line, kind, other, false, false, raw.cold.contains(raw.lines[i])});
            length = kind == ItemKind::access ? (repeat ? length + 1 : 1) : 0;
        }
        word.kinds.push_back(kind);
        word.kept.push_back(left_out ? 0 : static_cast<std::uint32_t>(word.items.size()));
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
                if (++word.slots >= brought) throw StateSpaceTooLarge("more than 65533 lines in use at the same time");
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

}  // namespace l1dflush
