// SPDX-License-Identifier: GPL-2.0-or-later
#include "prover/shortest.hpp"

#include <algorithm>
#include <utility>

#include "prover/adaptive.hpp"
#include "prover/frontier.hpp"
#include "prover/search.hpp"

namespace l1dflush {

namespace {

template <class M>
class CompleteWordSearch {
public:
    // `run`: how many accesses in a row of one line can make a difference (useful_run).
    CompleteWordSearch(const M &machine, const WordSearch &wanted, int run, const Limits &limits)
        : machine_(machine), length_(wanted.length), kept_(wanted.kept), run_(run), cold_(wanted.cold),
          most_(wanted.most), limits_(limits), flusher_(machine, cold_, limits), live_(all_lines(length_)) {
        for (std::uint32_t line = 0; line < length_; ++line) {
            live_.before(item(line, line));
            live_.after(item(line, line));
        }
    }

    CompleteWords search() {
        if (std::optional<Layer> start = first()) {
            path_.push_back(Node{std::move(*start), std::nullopt, 0});
            go();
        }
        std::sort(found_.words.begin(), found_.words.end());
        return std::move(found_);
    }

private:
    struct Layer {
        std::vector<State> states;  // hardest first
        bool whole = true;          // nothing was forgotten
    };

    // A beginning of the word: what it can lead to.
    struct Node {
        Layer layer;
        std::optional<Layer> whole;  // where the layer is not, and this was asked for
        std::uint32_t used;          // lines
        bool hopeless = false;
    };

    static Word all_lines(std::uint32_t length) {
        Word word;
        word.lines = length;
        word.slots = length;
        return word;
    }

    Item item(std::uint32_t line, std::uint32_t used) const {
        return {line, ItemKind::access, static_cast<Label>(line + 1), line < used, true, cold_};
    }

    std::uint32_t left(std::size_t done) const { return length_ - static_cast<std::uint32_t>(done); }
    bool finished() const { return most_ && found_.words.size() >= *most_; }

    // All words that begin with word_; the last node is what it can lead to.
    void go() {
        const std::size_t at = word_.size();
        const std::uint32_t used = path_[at].used;
        if (path_[at].layer.states.empty()) {
            const Layer *all = whole(at);
            if (all == nullptr) return;
            if (all->states.empty()) {
                every_continuation(used);
                return;
            }
            path_[at].layer = hardest(*all);
        }
        if (at == length_ || !flusher_.can(path_[at].layer.states.front(), used, left(at))) return;
        const std::size_t found_before = found_.words.size();
        const bool idle = at > 0 && run_ != unlimited && last_run() >= run_;
        held_ += path_[at].layer.states.size();
        for (std::uint32_t line = used + 1; line-- > 0 && !path_[at].hopeless && !finished();) {
            if (idle && line == word_.back()) continue;
            ++found_.searched;
            const std::uint32_t used_then = std::max(used, line + 1);
            if (std::optional<Layer> next = after(path_[at].layer, item(line, used), used_then, left(at + 1)))
                descend(line, Node{hardest(std::move(*next)), std::nullopt, used_then});
        }
        if (idle && found_.words.size() > found_before && !finished())
            descend(word_.back(), Node{path_[at].layer, std::nullopt, used});
        held_ -= path_[at].layer.states.size();
    }

    void descend(std::uint32_t line, Node node) {
        word_.push_back(line);
        path_.push_back(std::move(node));
        go();
        if (path_.back().whole) held_ -= path_.back().whole->states.size();
        path_.pop_back();
        word_.pop_back();
    }

    // All that the first `at` items of word_ can lead to; nothing if that is hopeless, as all their continuations are.
    const Layer *whole(std::size_t at) {
        Node &node = path_[at];
        if (node.layer.whole) return &node.layer;
        if (!node.whole && !node.hopeless) {
            const Layer *before = whole(at - 1);
            if (before != nullptr)
                node.whole = after(*before, item(word_[at - 1], path_[at - 1].used), node.used, left(at));
            node.hopeless = !node.whole;
            if (node.whole) held_ += node.whole->states.size();
        }
        return node.whole ? &*node.whole : nullptr;
    }

    void every_continuation(std::uint32_t used) {
        if (finished()) return;
        if (word_.size() == length_) {
            found_.words.push_back(word_);
            limits_.poll_now_and_then(found_.words.size());
            limits_.check(held_ + flusher_.size() + found_.words.size());
            return;
        }
        for (std::uint32_t line = 0; line <= used; ++line) {
            word_.push_back(line);
            every_continuation(std::max(used, line + 1));
            word_.pop_back();
        }
    }

    // How often word_ ends in its last line.
    int last_run() const {
        const auto other_line = std::find_if(word_.rbegin(), word_.rend(),
                                             [&](std::uint32_t line) { return line != word_.back(); });
        return static_cast<int>(other_line - word_.rbegin());
    }

    std::optional<Layer> first() {
        Frontier layer;
        bool hopeless = false;
        machine_.starts([&](const State &state) { hopeless = hopeless || !add(layer, state, 0, length_); });
        if (hopeless) return std::nullopt;
        return sorted(layer, 0);
    }

    // What one more item leads to; nothing if that cannot become empty within `left` more accesses.
    std::optional<Layer> after(const Layer &layer, const Item &next_item, std::uint32_t used, std::uint32_t left) {
        Frontier next;
        bool hopeless = false;
        Stepper<M> stepper(machine_, live_, gone_);
        for (const State &state : layer.states) {
            limits_.poll_now_and_then(++steps_);
            stepper.step(next_item, state, [&](const State &to, const Move &, Weight) {
                hopeless = hopeless || !add(next, to, used, left);
            });
            if (hopeless) return std::nullopt;
        }
        Layer result = sorted(next, used);
        result.whole = layer.whole;
        return result;
    }

    // False if the state cannot become empty in time.
    bool add(Frontier &layer, const State &state, std::uint32_t used, std::uint32_t left) {
        if (machine_.unknown(state) == 0) return true;
        if (!flusher_.can(state, used, left)) return false;
        if (layer.insert(state, Cost{}, 0, 0))
            limits_.check(held_ + layer.size() + flusher_.size() + found_.words.size());
        return true;
    }

    Layer sorted(const Frontier &frontier, std::uint32_t used) {
        std::vector<std::vector<State>> by_need(length_ + 1);
        frontier.for_each([&](const State &state, const Frontier::Node &) {
            by_need[flusher_.needs(state, used)].push_back(state);
        });
        Layer layer;
        layer.states.reserve(frontier.size());
        for (auto states = by_need.rbegin(); states != by_need.rend(); ++states)
            layer.states.insert(layer.states.end(), states->begin(), states->end());
        return layer;
    }

    Layer hardest(Layer layer) const {
        if (layer.states.size() <= kept_) return layer;
        layer.states.resize(kept_);
        layer.states.shrink_to_fit();
        layer.whole = false;
        return layer;
    }

    const M &machine_;
    const std::uint32_t length_;
    const std::size_t kept_;
    const int run_;
    const bool cold_;
    const std::optional<std::size_t> most_;
    const Limits &limits_;
    AdaptiveFlusher<M> flusher_;
    LiveLines live_;
    GoneSets gone_;
    std::vector<std::uint32_t> word_;
    std::vector<Node> path_;  // what the first 0, 1, 2, ... items of word_ lead to
    CompleteWords found_;
    std::size_t held_ = 0;  // states in path_
    std::size_t steps_ = 0;
};

}  // namespace

CompleteWords complete_words(const AnyPolicy &policy, const WordSearch &wanted, const Setting &setting,
                             const Limits &limits) {
    require(wanted.length <= longest_word, "words of more than 255 accesses are not searched");
    require(wanted.kept > 0, "at least one state must be kept");
    require(setting.touches == 0, "words are searched without touches by others");
    const int run = useful_run(policy.facts.repeat_hits, 0);
    const WordFacts facts{Flushes::none, wanted.cold};
    return with_machine<LazyBitMachine>(policy, setting, facts, limits, [&](const auto &machine) {
        return CompleteWordSearch(machine, wanted, run, limits).search();
    });
}

}  // namespace l1dflush
