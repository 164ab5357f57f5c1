#include "text/text_stream.h"

#include <algorithm>
#include <utility>

#include "text/unicode.h"

namespace hadal {
namespace {

bool is_white_space(char byte) {
  return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

}  // namespace

TextStream::Matcher::Matcher(std::string wanted)
    : text(std::move(wanted)), fallback(text.size() + 1, 0) {
  size_t length = 0;
  for (size_t i = 1; i < text.size(); ++i) {
    while (length > 0 && text[i] != text[length]) length = fallback[length];
    if (text[i] == text[length]) ++length;
    fallback[i + 1] = length;
  }
}

bool TextStream::Matcher::push(char byte) {
  if (text.empty()) return false;
  if (matched == text.size()) matched = fallback[matched];
  while (matched > 0 && text[matched] != byte) matched = fallback[matched];
  if (text[matched] == byte) ++matched;
  return matched == text.size();
}

TextStream::TextStream(TextStreamOptions options)
    : end_tag_(std::move(options.think_end)),
      begin_tag_(std::move(options.think_begin)),
      parse_thinking_(options.parse_thinking),
      part_(!options.parse_thinking ? Part::kAnswer
            : options.thinking_open ? Part::kThinking
            : begin_tag_.empty()    ? Part::kAnswer
                                    : Part::kStart) {
  for (std::string& stop : options.stop) {
    if (!stop.empty()) stops_.emplace_back(std::move(stop));
  }
}

TextDelta TextStream::push(std::string_view bytes) {
  TextDelta delta;
  for (const char byte : bytes) {
    if (stopped_) break;
    take(byte, delta);
  }
  return delta;
}

TextDelta TextStream::finish() {
  TextDelta delta;
  if (stopped_) return delta;
  let_go(0, delta);
  finish_characters(delta);
  return delta;
}

void TextStream::take(char byte, TextDelta& delta) {
  if (part_ == Part::kBetween) {
    if (byte == '\n' || byte == '\r') return;
    part_ = Part::kAnswer;
  }
  held_ += byte;
  if (take_stop(byte, delta)) return;
  if (part_ == Part::kStart && take_start()) {
    held_.clear();  // the tag, and the white space before it
    change_part(Part::kThinking, delta);
    return;
  }
  if (part_ == Part::kThinking && end_tag_.push(byte)) {
    let_go(end_tag_.text.size(), delta);
    held_.clear();
    change_part(Part::kBetween, delta);
    return;
  }
  size_t kept = part_ == Part::kStart ? held_.size() : 0;
  if (part_ == Part::kThinking) kept = end_tag_.matched;
  for (const Matcher& stop : stops_) kept = std::max(kept, stop.matched);
  let_go(kept, delta);
}

bool TextStream::take_stop(char byte, TextDelta& delta) {
  const Matcher* met = nullptr;
  for (Matcher& stop : stops_) {
    if (stop.push(byte) && (met == nullptr || stop.text.size() > met->text.size())) met = &stop;
  }
  if (met == nullptr) return false;
  let_go(met->text.size(), delta);
  held_.clear();
  finish_characters(delta);
  stop_string_ = met->text;
  stopped_ = true;
  return true;
}

// True if the begin tag is complete. Otherwise the part becomes the answer as soon as there can be
// no tag.
bool TextStream::take_start() {
  if (leading_space_ + 1 == held_.size() && is_white_space(held_.back())) {
    ++leading_space_;
    return false;
  }
  const std::string_view rest = std::string_view(held_).substr(leading_space_);
  if (rest == begin_tag_) return true;
  if (!std::string_view(begin_tag_).starts_with(rest)) part_ = Part::kAnswer;
  return false;
}

void TextStream::change_part(Part part, TextDelta& delta) {
  finish_characters(delta);
  part_ = part;
  for (Matcher& stop : stops_) stop.matched = 0;
  end_tag_.matched = 0;
}

// Hands on what is held but the last `kept` bytes, as far as it is whole characters.
void TextStream::let_go(size_t kept, TextDelta& delta) {
  const size_t count = held_.size() - kept;
  if (count == 0) return;
  unfinished_.append(held_, 0, count);
  held_.erase(0, count);
  const size_t whole = unfinished_.size() - incomplete_utf8_suffix(unfinished_);
  std::string& text = part_ == Part::kThinking ? delta.thinking : delta.answer;
  text += replace_invalid_utf8(std::string_view(unfinished_).substr(0, whole));
  unfinished_.erase(0, whole);
}

void TextStream::finish_characters(TextDelta& delta) {
  std::string& text = part_ == Part::kThinking ? delta.thinking : delta.answer;
  text += replace_invalid_utf8(unfinished_);
  unfinished_.clear();
}

}  // namespace hadal
