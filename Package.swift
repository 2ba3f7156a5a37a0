// swift-tools-version: 6.3
import PackageDescription

// One target per floor: the compiler holds the architecture. A floor names only floors below it, so an import
// that points upwards does not build.
//
// Every target names all floors that it is compiled with, not only those it imports: the package manager rebuilds a
// target when a module that it names has changed, and code that holds a structure depends on that structure's layout.
let strict: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .enableUpcomingFeature("ExistentialAny"),
]

/// C sources know the trait by this name.
let simulated: [CSetting] = [.define("BATON_SIMULATION", .when(traits: ["Simulation"]))]

/// The library's floors, without its front ends.
let lowerFloors: [Target.Dependency] = [
  "BatonHost", "BatonController", "BatonChannel", "BatonSubsystem", "BatonStorage", "BatonOwnership",
  "BatonRing", "BatonSharedMemory", "BatonSystem", "CBatonShims",
]

/// All of them, for the targets on top.
let floors: [Target.Dependency] = lowerFloors + ["BatonNBD", "BatonNBDServer"]

/// Packages that only the executables need come with this trait: an embedder without it fetches swift-log alone.
let withExecutables: TargetDependencyCondition? = .when(traits: ["CommandLine"])

/// What every command line is compiled with.
let commandLine: [Target.Dependency] =
  floors + [
    "Baton", .product(name: "ArgumentParser", package: "swift-argument-parser", condition: withExecutables),
    .product(name: "Logging", package: "swift-log"),
  ]

let package = Package(
  name: "baton",
  products: [
    .library(name: "Baton", targets: ["Baton"]),
    .library(name: "baton-c", type: .static, targets: ["BatonC"]),
    .executable(name: "baton", targets: ["BatonCommand"]),
    .executable(name: "baton-lab", targets: ["BatonLaboratory"]),
  ],
  traits: [
    .default(enabledTraits: ["CommandLine"]),
    .trait(name: "CommandLine", description: "The executables baton and baton-lab; the library needs none of it."),
    .trait(
      name: "Simulation",
      description: "For tools/simulate: a simulated machine is asked at every step on shared memory."),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
    .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
  ],
  targets: [
    // C shims: what Swift cannot import.
    .systemLibrary(
      name: "CLiburing", path: "Sources/CLiburing", pkgConfig: "liburing",
      providers: [.apt(["liburing-dev"])]),
    .target(name: "CBatonShims", path: "Sources/CBatonShims", cSettings: simulated),

    // The system: errors, descriptors, files, processes, clocks, threads.
    .target(
      name: "BatonSystem", dependencies: ["CBatonShims"], path: "Sources/System", swiftSettings: strict),
    // Shared memory: mapping, atomics facade, hint ring, waking.
    .target(
      name: "BatonSharedMemory",
      dependencies: ["BatonSystem", "CBatonShims"],
      path: "Sources/SharedMemory", swiftSettings: strict),
    // Ownership: the word, the arbiter, residency.
    .target(
      name: "BatonOwnership", dependencies: ["BatonSystem", "BatonSharedMemory"],
      path: "Sources/Ownership", swiftSettings: strict),
    // The ring: io_uring, the owners of completions, watches, sockets.
    .target(
      name: "BatonRing", dependencies: ["BatonSystem", "CLiburing", "CBatonShims"], path: "Sources/Ring",
      swiftSettings: strict),
    // Storage: units, one file for each kind of backend.
    .target(
      name: "BatonStorage",
      dependencies: ["BatonRing", "BatonSharedMemory", "BatonSystem", "CLiburing", "CBatonShims"],
      path: "Sources/Storage", swiftSettings: strict),
    // Subsystem: the controllers' region, units, the link.
    .target(
      name: "BatonSubsystem",
      dependencies: ["BatonSystem", "BatonSharedMemory", "BatonOwnership", "BatonRing", "BatonStorage", "CBatonShims"],
      path: "Sources/Subsystem", swiftSettings: strict),
    // NBD: the protocol of one client's connection, without its socket.
    .target(
      name: "BatonNBD", dependencies: ["BatonSystem"], path: "Sources/NBD", swiftSettings: strict),
    // Channel: what a host and a controller share and nobody else.
    .target(
      name: "BatonChannel", dependencies: ["BatonSystem", "BatonSharedMemory", "BatonOwnership", "CBatonShims"],
      path: "Sources/Channel", swiftSettings: strict),
    .target(
      name: "BatonController",
      dependencies: [
        "BatonSystem", "BatonSharedMemory", "BatonOwnership", "BatonRing", "BatonStorage", "BatonSubsystem",
        "BatonChannel", "CLiburing",
        "CBatonShims", .product(name: "Logging", package: "swift-log"),
      ],
      path: "Sources/Controller", swiftSettings: strict),
    .target(
      name: "BatonHost",
      dependencies: [
        "BatonSystem", "BatonSharedMemory", "BatonOwnership", "BatonRing", "BatonStorage", "BatonSubsystem",
        "BatonChannel", "CBatonShims",
      ],
      path: "Sources/Host", swiftSettings: strict),

    // NBD's server: the sockets of one controller, in its loop and on its ring; to that controller it is a host.
    .target(
      name: "BatonNBDServer",
      dependencies: lowerFloors + [
        "BatonNBD", .product(name: "Logging", package: "swift-log"),
      ],
      path: "Sources/NBDServer", swiftSettings: strict),

    // The checker: what histories of requests are possible. It knows nothing of how they came about.
    .target(name: "BatonChecker", path: "Sources/Checker", swiftSettings: strict),

    // Front ends.
    .target(
      name: "Baton", dependencies: floors, path: "Sources/Baton", swiftSettings: strict),
    // The C interface: the header, and what implements it. `tools/install` makes the libraries of it.
    .target(name: "CBaton", path: "Sources/CBaton"),
    .target(
      name: "BatonC",
      dependencies: lowerFloors + ["CBaton", .product(name: "Logging", package: "swift-log")],
      path: "Sources/CInterface", swiftSettings: strict),
    // What both executables are made of: words, output, processes, workloads, a controller in the foreground.
    .target(
      name: "BatonCommandKit",
      dependencies: commandLine + [
        .product(name: "Histogram", package: "hdrhistogram-swift", condition: withExecutables)
      ],
      path: "Sources/CommandKit", swiftSettings: strict),
    // `baton`: what a user runs in production.
    .executableTarget(
      name: "BatonCommand", dependencies: commandLine + ["BatonCommandKit"], path: "Sources/Command",
      swiftSettings: strict),
    // `baton-lab`: what measures and stresses; `baton bench` and `baton stress` become it.
    .executableTarget(
      name: "BatonLaboratory", dependencies: commandLine + ["BatonCommandKit", "CLiburing"],
      path: "Sources/Laboratory", swiftSettings: strict),

    // The simulation (tools/simulate): empty without its trait, and built with it in a folder of its own. The machine
    // is a scheduler, processors and a kernel in one thread; the world runs the shipped code on it.
    .target(name: "CBatonMachine", path: "Tests/Simulation/Machine", cSettings: simulated),
    .executableTarget(
      name: "BatonSimulation",
      dependencies: lowerFloors + [
        "Baton", "BatonNBD", "BatonNBDServer", "BatonChecker", "BatonTestSupport", "CBatonMachine",
        .product(name: "Logging", package: "swift-log"),
      ],
      path: "Tests/Simulation/World", swiftSettings: strict),

    // Tests: one target a floor, and one for the floors together. What several of them use lies in a target of its
    // own.
    .target(
      name: "BatonTestSupport", dependencies: ["BatonSystem", "BatonSharedMemory", "CBatonShims"],
      path: "Tests/Support",
      swiftSettings: strict),
    .testTarget(
      name: "SharedMemoryTests", dependencies: ["BatonSystem", "BatonSharedMemory", "CBatonShims", "BatonTestSupport"],
      path: "Tests/SharedMemory", swiftSettings: strict),
    .testTarget(
      name: "OwnershipTests", dependencies: ["BatonOwnership", "BatonSystem", "BatonSharedMemory", "BatonTestSupport"],
      path: "Tests/Ownership", swiftSettings: strict),
    .testTarget(
      name: "RingTests", dependencies: ["BatonRing", "BatonSharedMemory", "BatonSystem", "BatonTestSupport"],
      path: "Tests/Ring", swiftSettings: strict),
    .testTarget(
      name: "StorageTests",
      dependencies: [
        "BatonStorage", "BatonRing", "BatonSystem", "BatonSharedMemory", "CBatonShims", "BatonTestSupport",
      ],
      path: "Tests/Storage", swiftSettings: strict),
    .testTarget(
      name: "NBDTests", dependencies: floors + ["Baton", "BatonTestSupport"], path: "Tests/NBD",
      swiftSettings: strict),
    .testTarget(
      name: "SubsystemTests",
      dependencies: [
        "BatonSubsystem", "BatonStorage", "BatonRing", "BatonOwnership", "BatonSystem", "BatonSharedMemory",
        "CBatonShims", "BatonTestSupport",
      ],
      path: "Tests/Subsystem", swiftSettings: strict),
    .testTarget(
      name: "CommandKitTests", dependencies: commandLine + ["BatonCommandKit"], path: "Tests/CommandKit",
      swiftSettings: strict),
    .testTarget(
      name: "CommandTests",
      dependencies: commandLine + ["BatonCommand", "BatonCommandKit", "BatonTestSupport"], path: "Tests/Command",
      swiftSettings: strict),
    .testTarget(
      name: "LaboratoryTests", dependencies: commandLine + ["BatonLaboratory", "BatonCommandKit"],
      path: "Tests/Laboratory", swiftSettings: strict),
    .testTarget(
      name: "CheckerTests", dependencies: ["BatonChecker", "BatonTestSupport"], path: "Tests/Checker",
      swiftSettings: strict),
    .testTarget(
      name: "EmbeddedTests", dependencies: floors + ["Baton", "BatonTestSupport"], path: "Tests/Embedded",
      swiftSettings: strict),
  ]
)
