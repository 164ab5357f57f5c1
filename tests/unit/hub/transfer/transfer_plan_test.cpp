#include "hub/transfer/transfer_plan.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace hadal {
namespace {

constexpr uint64_t kMb = 1 << 20;

TransferRules rules() {
  return {.connections_max = 4,
          .piece_bytes = 4 * kMb,
          .split_bytes_min = kMb,
          .stall_s = 20,
          .failures_max = 4};
}

// Drives a plan as the network would: each connection brings `speed` bytes a second of its source.
class Network {
 public:
  Network(uint64_t bytes, std::vector<double> speeds, ByteRanges done = {},
          TransferRules r = rules())
      : plan(bytes, static_cast<uint32_t>(speeds.size()), std::move(done), r, 0),
        speeds_(std::move(speeds)) {}

  void step(double seconds) {
    for (const auto& cut : plan.cuts(now)) {
      open_.erase(cut.lease);
      if (cut.stalled) {
        ++stalls;
        plan.failed(cut.lease, TransferFailure::kBroken, now);
      } else {
        ++switches;
        plan.finished(cut.lease, now);
      }
    }
    while (const auto lease = plan.next_lease(now)) {
      open_[lease->id] = lease->source;
      ++asked[lease->source];
    }
    now += seconds;
    for (auto it = open_.begin(); it != open_.end();) {
      const auto [lease, source] = *it;
      const auto bytes = static_cast<uint64_t>(speeds_[source] * seconds);
      if (bytes > 0) brought[source] += plan.received(lease, bytes, now);
      if (!plan.at_end(lease)) {
        ++it;
        continue;
      }
      plan.finished(lease, now);
      it = open_.erase(it);
    }
  }
  void run(double most_seconds, double step_seconds = 0.25) {
    while (!plan.complete() && !plan.hopeless() && now < most_seconds) step(step_seconds);
  }
  void break_all(TransferFailure failure) {
    for (const auto& [lease, source] : open_) plan.failed(lease, failure, now);
    open_.clear();
  }
  void set_speed(uint32_t source, double speed) { speeds_[source] = speed; }

  TransferPlan plan;
  double now = 0;
  int stalls = 0, switches = 0;
  std::map<uint32_t, uint64_t> brought, asked;

 private:
  std::vector<double> speeds_;
  std::map<uint32_t, uint32_t> open_;
};

TEST(TransferPlanTest, FetchesEachByteOnce) {
  for (const uint64_t bytes :
       {uint64_t{0}, uint64_t{1}, kMb, 4 * kMb, 4 * kMb + 1, 100 * kMb + 12345}) {
    Network network(bytes, {10e6});
    network.run(1000);
    EXPECT_TRUE(network.plan.complete()) << bytes;
    EXPECT_EQ(network.brought[0], bytes);
  }
}

TEST(TransferPlanTest, GoesOnWithWhatIsThere) {
  ByteRanges done;
  done.add({0, 10 * kMb});
  done.add({20 * kMb, 30 * kMb});
  Network network(40 * kMb, {10e6}, done);
  network.run(1000);
  EXPECT_TRUE(network.plan.complete());
  EXPECT_EQ(network.brought[0], 20 * kMb);
}

TEST(TransferPlanTest, LeasesDoNotOverlap) {
  TransferPlan plan(100 * kMb, 1, {}, rules(), 0);
  ByteRanges leased;
  for (int i = 0; i < 4; ++i) {
    const auto lease = plan.next_lease(0);
    ASSERT_TRUE(lease);
    leased.add(lease->range);
  }
  EXPECT_FALSE(plan.next_lease(0)) << "four connections are the limit";
  EXPECT_EQ(leased.bytes(), 16 * kMb);
}

TEST(TransferPlanTest, WhatABrokenConnectionLeftIsFetchedByAnother) {
  TransferPlan plan(4 * kMb, 1, {}, rules(), 0);
  const auto first = plan.next_lease(0);
  EXPECT_EQ(plan.received(first->id, kMb, 1), kMb);
  plan.failed(first->id, TransferFailure::kBroken, 1);
  EXPECT_FALSE(plan.next_lease(1.1)) << "not at once";
  ASSERT_TRUE(plan.wake_time(1.1));
  const auto second = plan.next_lease(*plan.wake_time(1.1));
  ASSERT_TRUE(second);
  EXPECT_EQ(second->range, (ByteRange{kMb, 4 * kMb}));
}

TEST(TransferPlanTest, TheLastRestIsSplit) {
  TransferPlan plan(4 * kMb, 1, {}, rules(), 0);
  const auto slow = plan.next_lease(0);
  const auto helper = plan.next_lease(0);
  ASSERT_TRUE(helper);
  EXPECT_EQ(helper->range, (ByteRange{2 * kMb, 4 * kMb}));
  EXPECT_EQ(plan.received(slow->id, 3 * kMb, 0.5), 2 * kMb) << "the rest is another's now";
  EXPECT_TRUE(plan.at_end(slow->id));
}

TEST(TransferPlanTest, StalledConnectionsAreReplaced) {
  Network network(50 * kMb, {5e6});
  network.step(1);
  network.set_speed(0, 0);
  while (network.now < 21.5) network.step(0.5);
  EXPECT_EQ(network.stalls, 4);
  network.set_speed(0, 5e6);
  network.run(200);
  EXPECT_TRUE(network.plan.complete());
}

TEST(TransferPlanTest, ANetworkThatGoesIsOneFailureNotFour) {
  Network network(50 * kMb, {5e6});
  for (int i = 0; i < 3; ++i) {
    network.step(0.1);
    network.set_speed(0, 0);
    network.break_all(TransferFailure::kBroken);
    network.now += 10;
  }
  EXPECT_FALSE(network.plan.hopeless());
  network.set_speed(0, 5e6);
  network.run(500);
  EXPECT_TRUE(network.plan.complete());
}

TEST(TransferPlanTest, GivesUpAfterFailuresWithoutAByte) {
  TransferPlan plan(kMb, 1, {}, rules(), 0);
  double now = 0;
  int tries = 0;
  while (!plan.hopeless()) {
    if (const auto lease = plan.next_lease(now)) {
      ++tries;
      plan.failed(lease->id, TransferFailure::kBroken, now);
    }
    now += 0.5;
    ASSERT_LT(now, 1000);
  }
  EXPECT_EQ(tries, 4);
  EXPECT_GE(now, 0.5 + 1 + 2) << "with growing pauses";
}

TEST(TransferPlanTest, ABusyServerIsAskedWhenItSays) {
  TransferPlan plan(kMb, 1, {}, rules(), 0);
  plan.failed(plan.next_lease(0)->id, TransferFailure::kBusy, 0, 7);
  EXPECT_FALSE(plan.next_lease(6.9));
  EXPECT_TRUE(plan.next_lease(7));
  TransferPlan impatient(kMb, 1, {}, rules(), 0);
  impatient.failed(impatient.next_lease(0)->id, TransferFailure::kBusy, 0, 1e6);
  EXPECT_TRUE(impatient.hopeless()) << "nobody waits for days";
}

TEST(TransferPlanTest, ARefusalLeavesTheOtherSource) {
  TransferPlan plan(kMb, 2, {}, rules(), 0);
  const auto first = plan.next_lease(0);
  EXPECT_EQ(first->source, 0u);
  plan.failed(first->id, TransferFailure::kRefused, 0);
  const auto second = plan.next_lease(0);
  ASSERT_TRUE(second);
  EXPECT_EQ(second->source, 1u);
  plan.failed(second->id, TransferFailure::kRefused, 0);
  EXPECT_TRUE(plan.hopeless());
}

TEST(TransferPlanTest, AServerThatSendsOnlyWholeFilesServes) {
  TransferPlan plan(100 * kMb, 1, {}, rules(), 0);
  std::vector<uint32_t> leases;
  while (const auto lease = plan.next_lease(0)) leases.push_back(lease->id);
  for (const uint32_t lease : leases) plan.failed(lease, TransferFailure::kWholeOnly, 0);
  const auto whole = plan.next_lease(0);
  ASSERT_TRUE(whole);
  EXPECT_EQ(whole->range, (ByteRange{0, 100 * kMb}));
  EXPECT_FALSE(plan.next_lease(0)) << "one connection is all such a server can use";
  plan.received(whole->id, 100 * kMb, 10);
  EXPECT_TRUE(plan.complete());
}

TEST(TransferPlanTest, AFasterSourceIsFoundAndKept) {
  Network network(200 * kMb, {50e3, 5e6});  // the preferred one is slow
  network.run(600);
  EXPECT_TRUE(network.plan.complete());
  EXPECT_GT(network.brought[1], 190 * kMb);
  EXPECT_GT(network.switches, 0) << "the slow one's leases end early";
  EXPECT_LT(network.now, 60);
}

TEST(TransferPlanTest, AFastSourceIsNotLeft) {
  Network network(200 * kMb, {20e6, 20e6});
  network.run(600);
  EXPECT_EQ(network.asked[1], 0u);
}

TEST(TransferPlanTest, ASlowerSecondSourceGetsOneTryAndNoMore) {
  Network network(20 * kMb, {200e3, 50e3});
  network.run(600);
  EXPECT_TRUE(network.plan.complete());
  EXPECT_GT(network.brought[0], network.brought[1]);
}

// Any weather: cuts, stalls, busy servers, whole-file servers; as long as one source comes back, it
// ends, and right.
TEST(TransferPlanTest, ARandomNetworkEnds) {
  for (uint32_t seed = 0; seed < 200; ++seed) {
    std::mt19937 random(seed);
    const auto chance = [&](uint32_t one_in) { return random() % one_in == 0; };
    const uint64_t bytes = random() % (60 * kMb);
    TransferRules weather = rules();
    weather.failures_max = 1000;
    TransferPlan plan(bytes, 2, {}, weather, 0);
    std::map<uint32_t, ByteRange> open;
    ByteRanges written;
    double now = 0;
    for (int steps = 0; !plan.complete(); ++steps) {
      ASSERT_LT(steps, 200000) << seed;
      ASSERT_FALSE(plan.hopeless()) << seed;
      for (const auto& cut : plan.cuts(now)) {
        open.erase(cut.lease);
        plan.failed(cut.lease, TransferFailure::kBroken, now);
      }
      while (const auto lease = plan.next_lease(now)) open[lease->id] = lease->range;
      now += (random() % 1000) / 1000.0;
      for (auto it = open.begin(); it != open.end();) {
        const uint32_t lease = it->first;
        if (chance(50)) {
          plan.failed(lease, chance(4) ? TransferFailure::kBusy : TransferFailure::kBroken, now,
                      random() % 30);
          it = open.erase(it);
          continue;
        }
        if (chance(3)) {
          const uint64_t count = random() % (2 * kMb);
          const uint64_t taken = plan.received(lease, count, now);
          written.add({it->second.begin, it->second.begin + taken});
          it->second.begin += taken;
        }
        if (plan.at_end(lease)) {
          plan.finished(lease, now);
          it = open.erase(it);
        } else {
          ++it;
        }
      }
    }
    EXPECT_EQ(written.bytes(), bytes) << seed;
    EXPECT_EQ(plan.done().bytes(), bytes) << seed;
  }
}

}  // namespace
}  // namespace hadal
