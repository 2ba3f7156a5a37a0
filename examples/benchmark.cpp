// Dispatch under Google Benchmark: requests per second at several depths, and what a change of owner costs.
//
//     c++ -O2 benchmark.cpp $(pkg-config --cflags --libs baton benchmark) -o benchmark && ./benchmark
#include <baton.h>
#include <benchmark/benchmark.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <memory>

namespace {

[[noreturn]] void fail(const char *what) {
  std::fprintf(stderr, "%s: %s\n", what, baton_last_error_text());
  std::exit(1);
}

// A whole subsystem, turned by the benchmark's own thread.
class Subsystem {
 public:
  Subsystem() {
    const char *unit = "null:1G";
    if (baton_create(name, &unit, 1, BATON_CREATE_REPLACE) < 0) fail("create");
    baton_controller_options options;
    baton_controller_options_init(&options, sizeof options);
    options.deadline_ns = 3600000000000;
    options.residency_ns = 0;  // ownership moves whenever it is asked for
    for (uint32_t which = 0; which < 2; which++)
      if (baton_controller_open(&controllers[which], name, which, &options) < 0) fail("controller");
    baton_host_options host_options;
    baton_host_options_init(&host_options, sizeof host_options);
    host_options.turn = [](void *self) { static_cast<Subsystem *>(self)->turn(); };
    host_options.turn_context = this;
    if (baton_host_open(&host, name, &host_options) < 0) fail("host");
    if (baton_host_attach(host, BATON_MASK_BOTH, 10000000000) < 0) fail("attach");
  }

  ~Subsystem() {
    baton_host_close(&host);
    for (auto &controller : controllers) {
      baton_controller_stop(controller);
      while (!baton_controller_stopped(controller)) turn();
    }
    for (auto &controller : controllers) baton_controller_close(&controller);
    baton_destroy(name);
  }

  void turn() {
    baton_controller_turn(controllers[BATON_A]);
    baton_controller_turn(controllers[BATON_B]);
  }

  std::array<baton_controller *, 2> controllers{};
  baton_host *host = nullptr;

 private:
  static constexpr const char *name = "benchmark-example";
};

std::unique_ptr<Subsystem> subsystem;

void batches(benchmark::State &state) {
  const auto depth = static_cast<uint32_t>(state.range(0));
  std::array<baton_request, 64> requests{};
  std::array<baton_completion, 64> completions{};
  for (auto &request : requests) {
    request.operation = BATON_READ;
    request.length = 4096;
  }
  for (auto _ : state) {
    if (baton_host_submit(subsystem->host, requests.data(), depth) != static_cast<int>(depth)) fail("submit");
    baton_controller_turn(subsystem->controllers[BATON_A]);
    const int taken = baton_host_reap(subsystem->host, completions.data(), depth, depth, -1);
    if (taken != static_cast<int>(depth)) fail("reap");
    if (completions[0].status != BATON_STATUS_SUCCESS) fail("request");
  }
  state.SetItemsProcessed(state.iterations() * depth);
}

void ownership(benchmark::State &state) {
  baton_request request{};
  request.operation = BATON_READ;
  request.length = 4096;
  baton_completion done;
  // The benchmark runs several times, and each run goes on from the owner that the last one has left.
  static uint8_t which = BATON_B;
  for (auto _ : state) {
    request.controller = which;
    if (baton_host_perform(subsystem->host, &request, &done) < 0) fail("perform");
    if (done.controller != which || !done.transferred) fail("ownership did not move");
    which ^= 1;
  }
  state.SetItemsProcessed(state.iterations());
}

BENCHMARK(batches)->Arg(1)->Arg(8)->Arg(32)->Arg(64);
BENCHMARK(ownership);

}  // namespace

int main(int count, char **words) {
  benchmark::Initialize(&count, words);
  if (benchmark::ReportUnrecognizedArguments(count, words)) return 64;
  subsystem = std::make_unique<Subsystem>();
  // The benchmarks below expect that controller a owns the unit.
  baton_request request{};
  request.operation = BATON_READ;
  request.length = 4096;
  baton_completion done;
  if (baton_host_perform(subsystem->host, &request, &done) < 0) fail("perform");
  benchmark::RunSpecifiedBenchmarks();
  subsystem.reset();
}
