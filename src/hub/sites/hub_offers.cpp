#include "hub/sites/hub_offers.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>

namespace hadal {
namespace {

using Clock = std::chrono::steady_clock;

// A hub that answers while the preferred one does not: so long is waited for the preferred one ...
constexpr std::chrono::seconds kPatienceForFirst{5};
// ... and so long for the others once the preferred one has answered: they only help out.
constexpr std::chrono::seconds kPatienceForOthers{2};

struct Question {
  HubSite site;
  std::string repository, revision;
  std::optional<Result<Listing>> answer;
};

// Which hubs to ask for a reference: its own, and for Hugging Face the mirrors.
void add_questions(const ModelReference& reference, const HubOptions& options,
                   std::vector<Question>& questions) {
  const auto add = [&](const HubSite& site) {
    const std::string revision =
        reference.revision.empty() ? site.default_revision() : reference.revision;
    questions.push_back({site, reference.repository, revision, std::nullopt});
  };
  if (reference.kind == ModelReference::Kind::kModelScope) return add(options.modelscope);
  add(options.hugging_face);
  for (const HubSite& mirror : options.mirrors) add(mirror);
}

}  // namespace

Result<HubOffers> ask_hubs(const std::vector<ModelReference>& references,
                           const HubOptions& options) {
  std::vector<Question> questions;
  for (const ModelReference& reference : references) add_questions(reference, options, questions);
  std::mutex mutex;
  std::condition_variable answered;
  std::atomic<bool> enough = false;
  NetworkOptions network = options.network;
  network.stop = [&] { return enough.load() || options.network.stopped(); };

  std::vector<std::thread> threads;
  threads.reserve(questions.size());
  for (Question& question : questions) {
    threads.emplace_back([&, network] {
      HttpClient client(network);
      auto listing = list_repository(client, question.site, question.repository, question.revision);
      const std::lock_guard lock(mutex);
      question.answer = std::move(listing);
      answered.notify_all();
    });
  }
  {
    std::unique_lock lock(mutex);
    const auto good = [](const Question& q) { return q.answer && q.answer->has_value(); };
    const auto begin = Clock::now();
    std::optional<Clock::time_point> first_answered;
    while (!std::all_of(questions.begin(), questions.end(),
                        [](const Question& q) { return q.answer.has_value(); })) {
      const auto now = Clock::now();
      if (options.network.stopped()) break;
      if (good(questions.front())) {
        if (!first_answered) first_answered = now;
        if (now - *first_answered > kPatienceForOthers) break;
      } else if (std::any_of(questions.begin(), questions.end(), good) &&
                 now - begin > kPatienceForFirst) {
        break;
      }
      answered.wait_for(lock, std::chrono::milliseconds(50));
    }
  }
  enough = true;
  for (std::thread& thread : threads) thread.join();
  if (options.network.stopped()) return fail("stopped");

  HubOffers result;
  for (Question& question : questions) {
    if (*question.answer) {
      result.offers.push_back(
          {question.site, question.repository, question.revision, std::move(**question.answer)});
    } else if (question.answer->error().message != "stopped") {
      result.troubles.push_back(question.answer->error().message);
    } else {
      result.troubles.push_back(fmt::format("{} did not answer in time", question.site.name()));
    }
  }
  if (result.offers.empty()) return fail("{}", fmt::join(result.troubles, "; "));
  return result;
}

}  // namespace hadal
