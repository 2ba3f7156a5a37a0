// swift-tools-version: 6.3
import PackageDescription

// A package of its own, so that an embedder of Baton does not fetch what only its benchmarks need.
let package = Package(
  name: "baton-benchmarks",
  dependencies: [
    .package(name: "baton", path: ".."),
    // Without its malloc interposer, a package more; allocations are counted by CAllocations.
    .package(url: "https://github.com/ordo-one/benchmark", exact: "1.38.1", traits: []),
  ],
  targets: [
    // Counts allocations. Linked in here; `tools/count` preloads it into `baton`.
    .target(name: "CAllocations"),
    .executableTarget(
      name: "BatonBenchmarks",
      dependencies: [
        "CAllocations",
        .product(name: "Baton", package: "baton"),
        .product(name: "Benchmark", package: "benchmark"),
      ],
      // The plugin finds benchmarks in a folder of this name.
      path: "Benchmarks/BatonBenchmarks",
      swiftSettings: [.swiftLanguageMode(.v6), .enableUpcomingFeature("ExistentialAny")],
      plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")]),
  ]
)
