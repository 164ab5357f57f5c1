// The readers of tokenizer files. Each fills a VocabularySource; Tokenizer::open() chooses among
// them.
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "file/metadata.h"
#include "text/tokenizer/tokenizer_source.h"

namespace hadal {

// From the keys tokenizer.ggml.* of a GGUF, with llama.cpp's defaults. The source refers to the
// metadata's strings.
Result<VocabularySource> read_gguf_vocabulary(const Metadata& metadata);

// From the whole text of a tokenizer.json, which the source then owns; file: for messages.
Result<VocabularySource> read_tokenizer_json(std::string text, std::string file);

// The text of a file of a Hugging Face folder by its plain name; nullopt where there is none.
using SideFiles = std::function<Result<std::optional<std::string>>(std::string_view name)>;

// From tokenizer.json, else vocab.json + merges.txt, else encoder.json + vocab.bpe; with what
// tokenizer_config.json, special_tokens_map.json, added_tokens.json, generation_config.json and
// config.json add. folder: for messages.
Result<VocabularySource> read_folder_vocabulary(const SideFiles& files, const std::string& folder);

// Gives the id to an added token, or checks that the vocabulary has it there, and notes how it is
// matched.
Status add_added_token(VocabularySource& source, uint64_t id, std::string_view content,
                       bool special, AddedTokenRule rule);

// The parts of tokenizer.json that say what happens before BPE (tokenizer_json_rules.cpp). They set
// the source's normalizer, space_prefix, spelling and pre_tokenizer. A null value stands for an
// absent one.
Status read_json_rules(const nlohmann::json& normalizer, const nlohmann::json& pre_tokenizer,
                       VocabularySource& source);

}  // namespace hadal
