// A tokenizer.json is megabytes of two lists, vocabulary and merges, and a little structure around
// them. The lists are read in place (a general JSON parser takes most of the time a model needs to
// open); everything else goes to the general parser, as slices of the text.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "text/tokenizer_source.h"

namespace hadal {

inline constexpr uint32_t kTokenizerJsonDepthMax = 64;

// The members of a JSON object, each value as the slice it stands in; values are not checked beyond
// their brackets and quotes. `file` is for messages here and below. Errors: no object, nested too
// deep, a key twice.
Result<std::vector<std::pair<std::string, std::string_view>>> json_members(std::string_view text,
                                                                           std::string_view file);

// {"token": id, ...} into source.tokens. Strings without escapes are views into `text`, others are
// owned by the source. Errors: not of this form, an id given twice, ids with more holes than
// tokens.
Status read_vocabulary_object(std::string_view text, VocabularySource& source);

// ["a b", ...] or [["a", "b"], ...] into source.merges; ownership as above.
Status read_merges_list(std::string_view text, VocabularySource& source);

// The whole value by the general parser, after a check of its depth.
Result<nlohmann::json> parse_json(std::string_view text, std::string_view file);

}  // namespace hadal
