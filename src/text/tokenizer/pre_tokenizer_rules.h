// Hand-written scanners for the pre-tokenizers that have a name. Each does what its list of
// patterns (pre_tokenizer.cpp) says, without backtracking: time grows with the text, whatever is in
// it.
#pragma once

#include <string>
#include <string_view>

#include "text/tokenizer/pre_tokenizer.h"

namespace hadal {

using SplitFunction = void (*)(std::string_view text, WordSink& sink);

void split_gpt2(std::string_view text, WordSink& sink);
void split_smollm(std::string_view text, WordSink& sink);
void split_llama3(std::string_view text, WordSink& sink);
void split_qwen2(std::string_view text, WordSink& sink);
void split_qwen35(std::string_view text, WordSink& sink);
void split_deepseek_llm(std::string_view text, WordSink& sink);
void split_deepseek_coder(std::string_view text, WordSink& sink);
void split_deepseek_v3(std::string_view text, WordSink& sink);
void split_default(std::string_view text, WordSink& sink);

// The second pattern of DeepSeek-LLM: white space and letters, hundreds of them spelled out.
std::string deepseek_llm_letters_pattern();

}  // namespace hadal
