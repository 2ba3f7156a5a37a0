import BatonOwnership
import BatonSharedMemory
import BatonSystem
import CBatonShims
import Glibc

/// The memory of one host: request lines for both controllers, and the arena its data moves through.
///
///     header (4096) | lines to a | lines to b | arena
///
/// A sealed memfd that the host makes and hands to both controllers; no other host ever sees it. Sealed, because a
/// host that shrank it would kill the controllers with SIGBUS; on small pages, because huge ones can run out.
/// Controllers copy and check the header when they attach, and use only their copy.
public struct HostMemory: ~Copyable {
  private let mapping: Mapping
  /// The memfd, in the host that made it; -1 in a controller.
  public let descriptor: OwnedDescriptor
  /// The header as it was when this was made or attached.
  public let header: baton_host_header
  /// Bytes of it that had no pages when it was attached. The first process that touches them is charged for them.
  public let bytesWithoutPages: UInt64

  /// The largest arena of one host.
  public static let arenaMax: UInt64 = 1 << 36

  /// Creates the memory of a new host, with all its pages: they are charged to this process, and not to a controller
  /// that reads into them first. `isSparse` leaves the arena's pages to be allocated at first use: for a host in a
  /// controller's own process.
  ///
  /// `descriptor` is the one to pass on. Cost: a page is made zero in some 0.2 microseconds.
  public init(linesPerChannel: Int, arenaSize: UInt64, isSparse: Bool = false) throws(BatonError) {
    let subject = "host memory"
    guard linesPerChannel >= Int(BATON_LINES_MIN), linesPerChannel <= Int(BATON_LINES_MAX),
      linesPerChannel & (linesPerChannel - 1) == 0
    else {
      throw BatonError(
        .invalid, subject, "\(linesPerChannel) request lines were asked for",
        fix: "ask for a power of two from \(BATON_LINES_MIN) to \(BATON_LINES_MAX)")
    }
    guard arenaSize > 0, arenaSize <= Self.arenaMax, arenaSize % 4096 == 0 else {
      throw BatonError(
        .invalid, subject, "an arena of \(arenaSize) bytes was asked for",
        fix: "ask for a multiple of 4096, up to \(Self.arenaMax)")
    }
    var header = baton_host_header()
    header.magic = baton_host_magic
    header.layout_version = UInt32(BATON_LAYOUT_VERSION)
    header.lines_per_channel = UInt32(linesPerChannel)
    header.arena_offset = Self.arenaOffset(linesPerChannel: UInt64(linesPerChannel))
    header.arena_size = arenaSize
    header.size = header.arena_offset + arenaSize
    header.identity = UInt64.random(in: 1...UInt64.max)
    let descriptor = OwnedDescriptor(try check(shim_memfd_create("baton-host"), subject, doing: "memfd_create"))
    try descriptor.setSize(header.size, subject: subject)
    try check(shim_seal_against_resize(descriptor.number), subject, doing: "sealing it")
    if !isSparse { try descriptor.takePages(header.size, subject: subject) }
    let mapping = try Mapping(of: descriptor, count: Int(header.size), subject: subject)
    mapping.base.storeBytes(of: header, as: baton_host_header.self)
    self.init(mapping, header, descriptor, bytesWithoutPages: 0)
  }

  /// Attaches the memory that a host passed, after checking everything that could do harm.
  public init(attaching descriptor: borrowing OwnedDescriptor) throws(BatonError) {
    let subject = "host memory"
    // First, because it asks only the kernel: any other question about a foreign descriptor, such as fstat(2) of a file
    // in user space, can be answered late.
    let sealed = shim_is_sealed_against_shrink(descriptor.number)
    guard sealed == 1 else {
      throw BatonError(
        .invalid, subject, sealed == 0 ? "is not sealed against shrinking" : "is not a memfd",
        fix: "seal it with F_SEAL_SHRINK before it is handed over")
    }
    guard shim_is_tmpfs(descriptor.number) == 1 else {
      throw BatonError(.invalid, subject, "lies on huge pages", fix: "make it without MFD_HUGETLB")
    }
    let facts = try FileFacts(of: descriptor, subject: subject)
    let count = facts.size
    guard count >= UInt64(BATON_HOST_HEADER_SIZE) else {
      throw BatonError(.truncated, subject, "is too small: \(count) bytes do not hold a header")
    }
    guard count <= Self.arenaMax * 2 else {
      throw BatonError(.damaged, subject, "is too large: \(count) bytes")
    }
    let mapping = try Mapping(of: descriptor, count: Int(count), subject: subject)
    let header = mapping.base.load(as: baton_host_header.self)
    guard header.magic == baton_host_magic else {
      throw BatonError(.foreign, subject, "does not begin like host memory")
    }
    guard header.layout_version == UInt32(BATON_LAYOUT_VERSION) else {
      throw BatonError(
        .wrongVersion, subject,
        "has layout version \(header.layout_version), and this controller works with \(BATON_LAYOUT_VERSION)",
        fix: "use host and controller of one version")
    }
    let lines = UInt64(header.lines_per_channel)
    guard lines >= UInt64(BATON_LINES_MIN), lines <= UInt64(BATON_LINES_MAX), lines & (lines - 1) == 0,
      header.arena_offset == Self.arenaOffset(linesPerChannel: lines), header.arena_size > 0,
      header.arena_size <= Self.arenaMax, header.identity != 0
    else {
      throw BatonError(.damaged, subject, "has a header that contradicts itself")
    }
    guard count >= header.arena_offset + header.arena_size else {
      throw BatonError(
        .truncated, subject,
        "is too small: it has \(count) bytes and its header speaks of \(header.arena_offset + header.arena_size)")
    }
    self.init(
      mapping, header, OwnedDescriptor(-1), bytesWithoutPages: count - min(facts.allocated, count))
  }

  private init(
    _ mapping: consuming Mapping, _ header: baton_host_header, _ descriptor: consuming OwnedDescriptor,
    bytesWithoutPages: UInt64
  ) {
    self.bytesWithoutPages = bytesWithoutPages
    self.mapping = mapping
    self.header = header
    self.descriptor = descriptor
  }

  /// Gives the pages away, to be unmapped where that may take time: `Mapping(adopting:count:)` takes them back.
  public consuming func releasePages() -> (base: UnsafeMutableRawPointer, count: Int) {
    let count = mapping.count
    return (mapping.release(), count)
  }

  private static func arenaOffset(linesPerChannel: UInt64) -> UInt64 {
    let lines = 2 * linesPerChannel * UInt64(MemoryLayout<baton_request_line>.stride)
    return (UInt64(BATON_HOST_HEADER_SIZE) + lines + 4095) & ~4095
  }

  /// The number of the trace that is being recorded, 0: none. Controllers write it. Sync point "trace".
  package var trace: SharedWord {
    mapping.word(at: MemoryLayout<baton_host_header>.offset(of: \baton_host_header.trace)!)
  }

  /// Request lines in each channel.
  public var linesPerChannel: Int { Int(header.lines_per_channel) }

  /// The first request line of the channel to `controller`. The others follow, 64 bytes each.
  public func lines(to controller: ControllerIdentity) -> UnsafeMutableRawPointer {
    mapping.base + Int(BATON_HOST_HEADER_SIZE)
      + controller.index * linesPerChannel * MemoryLayout<baton_request_line>.stride
  }

  /// The memory for data.
  public var arena: UnsafeMutableRawBufferPointer {
    UnsafeMutableRawBufferPointer(start: mapping.base + Int(header.arena_offset), count: Int(header.arena_size))
  }

  /// Whether the host sleeps. Sync point "sleep".
  public var hostParked: SharedSleepWord { sleepWord(\.host_parked) }

  /// The sleep word of that controller, or of the peer that serves in its place.
  public func controllerParked(_ controller: ControllerIdentity) -> SharedSleepWord {
    sleepWord(controller == .a ? \.controller_parked_a : \.controller_parked_b)
  }

  private func sleepWord(_ field: PartialKeyPath<baton_host_header>) -> SharedSleepWord {
    SharedSleepWord(SharedWord(mapping.base + MemoryLayout<baton_host_header>.offset(of: field)!))
  }
}
