// The models this server has: which are loaded, which can be. Loads on demand, one at a time, on a
// thread of its own; unloads what nobody used for keep_alive; where a model does not fit beside
// others, idle ones make room, the longest unused first. Any thread.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "server/models/served_model.h"

namespace hadal {

struct ModelEntry {
  std::string name;  // as a client asks for it
  std::string path;
  int64_t created_unix_seconds = 0;
  uint64_t bytes = 0;
};

struct ModelPoolOptions {
  std::vector<ModelEntry> models;
  std::string default_model;  // where a request names none; "": it must
  std::function<Result<OpenedModel>(const ModelEntry&)> open;
  // Set when the pool ends: an open() under way need not go on. Null: nobody looks.
  std::shared_ptr<std::atomic<bool>> stop;
  uint32_t answers_max = 256;          // of a model, running and waiting
  uint32_t waiting_max = 256;          // requests that wait for models to load
  std::shared_ptr<AnswerWatch> watch;  // of all answers; null: none
  std::optional<std::chrono::seconds> keep_alive = std::chrono::seconds(300);  // none: for good
};

// An error where two of them have one name: clients could ask for one alone.
Status check_model_names(const std::vector<ModelEntry>& models);

class ModelPool;

// As long as it lives, the model stays loaded. Movable.
class ModelLease {
 public:
  ModelLease() = default;
  ModelLease(ModelPool& pool, ServedModel& model) : pool_(&pool), model_(&model) {}
  ModelLease(ModelLease&& other) noexcept;
  ModelLease& operator=(ModelLease&& other) noexcept;
  ~ModelLease();

  explicit operator bool() const { return model_ != nullptr; }
  ServedModel& operator*() const { return *model_; }
  ServedModel* operator->() const { return model_; }

 private:
  ModelPool* pool_ = nullptr;
  ServedModel* model_ = nullptr;
};

enum class ModelState : uint8_t { kNotLoaded, kLoading, kLoaded };

struct ModelStatus {
  ModelEntry entry;
  ModelState state = ModelState::kNotLoaded;
  uint32_t answers = 0;  // running and waiting
  // Of loaded ones:
  uint32_t context_tokens = 0;
  uint64_t weight_bytes = 0;
  double load_seconds = 0;
  EngineStatus engine;
  std::optional<std::chrono::seconds> unloads_in;  // if nobody uses it until then; none: never
};

class ModelPool {
 public:
  using Clock = std::chrono::steady_clock;
  using Then = std::function<void(RequestResult<ModelLease>)>;

  explicit ModelPool(ModelPoolOptions options);
  ~ModelPool();  // cancels what still runs

  // "": the default one. then: on this thread if the model is loaded, or there is no such model;
  // else later, on the loading thread.
  void acquire(const std::string& name, Then then);
  // Begins to load the default model; ready() tells when it is there. then: called once, on the
  // loading thread, when it is loaded or cannot be (load_error()).
  void preload(std::function<void(bool loaded)> then);

  // Nothing is loaded any more; who waits for a load hears that the server ends. Returns when the
  // load under way has given up (ModelPoolOptions::stop). One thread, which ends the server.
  void stop_loading();

  // From now on the model is unloaded when nobody used it for so long; none: never. Zero unloads it
  // as soon as nobody uses it, this once: who asks next has it loaded, and it stays as before.
  void set_keep_alive(const std::string& name, std::optional<std::chrono::seconds> keep_alive);

  bool ready() const;              // what was preloaded is loaded (or there was nothing)
  std::string load_error() const;  // of the preload; "": none
  std::vector<ModelStatus> list() const;
  std::optional<ModelStatus> find(const std::string& name) const;

 private:
  friend class ModelLease;
  struct Slot {
    ModelEntry entry;
    std::unique_ptr<ServedModel> model;
    std::vector<std::unique_ptr<ServedModel>> broken;  // until no lease is left
    bool loading = false;
    bool unload_next = false;  // whatever keep_alive says, once
    uint32_t leases = 0;
    Clock::time_point last_used;
    std::optional<std::chrono::seconds> keep_alive;
    std::vector<Then> waiting;
  };

  Slot* find_slot(const std::string& name);
  ModelStatus status(const Slot& slot) const;
  void give_back(ServedModel& model);
  void run();
  void load(Slot& slot);
  Result<OpenedModel> open_with_room(const ModelEntry& entry);
  std::unique_ptr<ServedModel> take_idle(bool expired_only);

  const ModelPoolOptions options_;
  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::map<std::string, Slot> slots_;  // its nodes stay where they are
  std::deque<Slot*> to_load_;
  uint32_t waiting_ = 0;
  bool preloading_ = false;
  std::string load_error_;
  bool ending_ = false;
  std::thread loader_;
};

}  // namespace hadal
