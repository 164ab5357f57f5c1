// Answers that must have a form: a JSON Schema becomes a bounded grammar, a pushdown automaton over
// bytes, which GrammarMasks (grammar_masks.h) walks along an answer. Every text the grammar accepts
// is a JSON value that the schema holds valid; nothing is promised that the grammar cannot keep: a
// keyword it cannot enforce exactly is refused, with its name and its place (a JSON pointer).
//
// Keywords: type, properties, required, additionalProperties, items, prefixItems (and draft 7's
// list under items, with additionalItems), minItems, maxItems, enum, const, minLength, maxLength,
// pattern (pattern.h), format (formats.h), minimum, maximum, exclusiveMinimum, exclusiveMaximum,
// anyOf, allOf, oneOf (where its branches provably exclude each other), $ref into the same schema,
// recursive ones too, $defs, definitions, nullable. title, description, default, examples and other
// annotations are ignored.
//
// Of the values that a schema allows, an answer takes those that people mean and a model cannot
// get lost in. It is narrower than the standard in this:
//   - space: at most one blank behind a comma or colon;
//   - properties come in the order in which the schema declares them, then undeclared ones;
//     undeclared ones only where additionalProperties is there, or no properties at all; likewise
//     items behind prefixItems only where items or minItems asks for them;
//   - a schema without `type` means the types that its keywords speak of (properties: an object);
//   - numbers have at most 18 digits before the point and 16 behind it, an exponent of at most two
//     digits, none where they are bounded; whole numbers are written without a point;
//   - undeclared keys beside declared ones are written without escapes, strings with a pattern or
//     format with those they must have;
//   - of formats, the ordinary texts (pattern.h);
//   - values are nested at most kAnswerDepthMax deep.
// An undeclared key may come twice.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "text/grammar/automaton.h"

namespace hadal {

// What a schema may ask for. A hostile one ends at a limit within a fraction of a second and some
// tens of MB.
struct GrammarLimits {
  uint32_t schema_bytes_max = 128 << 10;
  uint32_t schema_depth_max = 40;      // of the schema's own JSON
  uint32_t object_keys_max = 512;      // of one object in it: properties, above all
  uint32_t enum_values_max = 1024;     // of one enum
  uint32_t alternatives_max = 128;     // of one value, anyOf within anyOf multiplied out
  uint32_t items_max = 1024;           // minItems, maxItems
  uint32_t length_max = INT32_MAX;     // minLength, maxLength
  uint32_t pattern_bytes_max = 1024;   // of one pattern
  uint32_t pattern_repeats_max = 512;  // {n,m}
  uint32_t rules_max = 8192;           // values with a schema of their own
  uint32_t states_max = 50'000;        // of all automata that are made on the way
  uint64_t work_max = 8'000'000;       // steps of compiling: edges followed, sets compared
};

// A value and what stands around it, as it is: for a tool call, "<tool_call>\n" and
// "\n</tool_call>". A special token among that is written as TokenTrie::mark() does.
struct GrammarPart {
  std::string schema;  // JSON text
  std::string before = "", behind = "";
  std::string owner = "";  // whose schema it is, at the head of messages: "f: "

  bool is_framed() const { return !before.empty() || !behind.empty(); }
};

class Grammar {
 public:
  // How deep a value of the answer may lie in others.
  static constexpr uint32_t kAnswerDepthMax = Automaton::kDepthMax;

  // schema: JSON text. Errors name keyword and JSON pointer, or the limit: for a client to read.
  static Result<std::shared_ptr<const Grammar>> compile(std::string_view schema,
                                                        const GrammarLimits& limits = {});
  // A text of any of these parts. Each schema is a document of its own; the limits hold for all
  // together.
  static Result<std::shared_ptr<const Grammar>> compile(std::span<const GrammarPart> parts,
                                                        const GrammarLimits& limits = {});
  // Any JSON object.
  static Result<std::shared_ptr<const Grammar>> any_object();

  explicit Grammar(Automaton automaton) : automaton_(std::move(automaton)) {}

  const Automaton& automaton() const { return automaton_; }

 private:
  Automaton automaton_;
};

}  // namespace hadal
