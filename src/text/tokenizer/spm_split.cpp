#include "text/tokenizer/spm_split.h"

#include "text/unicode.h"

namespace hadal {

void split_where_nothing_joins(std::string_view text, const BpeMerges& merges, WordSink& sink) {
  size_t begin = 0;
  uint32_t before = kInvalidCodePoint;
  for (size_t at = 0; at < text.size();) {
    const DecodedCodePoint c = decode_code_point(text, at);
    if (begin < at && !merges.joins(before, c.value)) {
      sink.word(begin, at);
      begin = at;
    }
    before = c.value;
    at += c.bytes;
  }
  if (begin < text.size()) sink.word(begin, text.size());
}

}  // namespace hadal
