import BatonOwnership
import BatonSharedMemory
import BatonSystem
import CBatonShims
import Glibc

/// The file through which a trace is recorded, as it lies in memory: rings with one writer each, and one reader of all.
///
/// A writer claims the next ring and writes into it without ever waiting: when the ring is full it writes over the
/// oldest events. The reader takes what it finds, and counts what it has missed. No writer reads what the reader or
/// another writer does, so nothing in here can hold a controller up.
struct TraceFile: ~Copyable {
  private let mapping: Mapping
  /// The file, for the lock that says whether the recorder lives.
  let descriptor: OwnedDescriptor
  /// The header as it was when the file was made or opened.
  let header: baton_trace_header

  /// Rings of a file, and events of a ring, at most: a file that claims more is none.
  static let ringsMax = 30
  static let capacityMax: UInt64 = 1 << 20

  /// Bytes of a file with these rings.
  static func byteCount(rings: Int, capacity: UInt64) -> UInt64 {
    UInt64(BATON_TRACE_HEADER_SIZE) + UInt64(rings) * capacity * UInt64(MemoryLayout<baton_trace_event>.stride)
  }

  /// Makes an empty one in an empty file, with all its pages: a writer that found none would end with SIGBUS.
  init(
    making descriptor: consuming OwnedDescriptor, rings: Int, capacity: UInt64, number: UInt64, generation: UInt64,
    subject: String
  ) throws(BatonError) {
    precondition(rings >= 1 && rings <= Self.ringsMax, "the rings' records have one page")
    precondition(capacity >= 2 && capacity <= Self.capacityMax && capacity & (capacity - 1) == 0, "a mask wraps")
    let size = Self.byteCount(rings: rings, capacity: capacity)
    try descriptor.reserve(size, subject: subject)
    let mapping = try Mapping(of: descriptor, count: Int(size), subject: subject)
    var header = baton_trace_header()
    header.magic = baton_trace_magic
    header.layout_version = UInt32(BATON_LAYOUT_VERSION)
    header.ring_count = UInt32(rings)
    header.ring_capacity = capacity
    header.events_offset = UInt64(BATON_TRACE_HEADER_SIZE)
    header.number = number
    header.generation = generation
    mapping.base.storeBytes(of: header, as: baton_trace_header.self)
    self.mapping = mapping
    self.descriptor = descriptor
    self.header = header
  }

  /// Opens that of a trace, for a writer.
  ///
  /// - Throws: `.missing` if there is none, or it is that of another trace; `.damaged` if it contradicts itself.
  init(of number: UInt64, at location: SubsystemLocation) throws(BatonError) {
    let subject = "\(location.directory)/\(SubsystemLocation.traceName)"
    let folder = try SubsystemFolder(opening: location)
    let descriptor = try folder.open(SubsystemLocation.traceName, writable: true)
    guard descriptor.number >= 0 else { throw BatonError(.missing, subject, "does not exist") }
    let size = try FileFacts(of: descriptor, subject: subject).size
    guard size >= UInt64(BATON_TRACE_HEADER_SIZE) else { throw BatonError(.truncated, subject, "has no header") }
    // The header first, by itself: it says how much there is to map.
    let first = try Mapping(of: descriptor, count: Int(BATON_TRACE_HEADER_SIZE), subject: subject)
    let header = first.base.load(as: baton_trace_header.self)
    guard header.magic == baton_trace_magic, header.number == number else {
      throw BatonError(.missing, subject, "is not that of the trace which is asked for")
    }
    guard header.layout_version == UInt32(BATON_LAYOUT_VERSION), header.ring_count >= 1,
      header.ring_count <= UInt32(Self.ringsMax), header.ring_capacity >= 2,
      header.ring_capacity <= Self.capacityMax, header.ring_capacity & (header.ring_capacity - 1) == 0,
      header.events_offset == UInt64(BATON_TRACE_HEADER_SIZE),
      size >= Self.byteCount(rings: Int(header.ring_count), capacity: header.ring_capacity)
    else { throw BatonError(.damaged, subject, "has a header that contradicts itself") }
    mapping = try Mapping(
      of: descriptor, count: Int(Self.byteCount(rings: Int(header.ring_count), capacity: header.ring_capacity)),
      subject: subject)
    self.descriptor = descriptor
    self.header = header
  }

  /// Gives the pages and the descriptor away, to be let go of where that may take time.
  consuming func release() -> (base: UnsafeMutableRawPointer, count: Int, descriptor: CInt) {
    let count = mapping.count
    return (mapping.release(), count, descriptor.release())
  }

  /// Writers so far.
  var claimed: SharedWord {
    mapping.word(at: MemoryLayout<baton_trace_header>.offset(of: \baton_trace_header.claimed)!)
  }

  /// A ring.
  func ring(_ number: Int) -> TraceRing {
    precondition(number >= 0 && number < Int(header.ring_count), "a ring that the file does not have")
    let bytes = Int(header.ring_capacity) * MemoryLayout<baton_trace_event>.stride
    return TraceRing(
      record: mapping.base + MemoryLayout<baton_trace_header>.stride
        + number * MemoryLayout<baton_trace_ring>.stride,
      events: mapping.base + Int(header.events_offset) + number * bytes, capacity: header.ring_capacity)
  }
}

/// One ring of events. Addresses and nothing more.
struct TraceRing {
  private let record: UnsafeMutableRawPointer
  private let events: UnsafeMutableRawPointer
  let capacity: UInt64

  fileprivate init(record: UnsafeMutableRawPointer, events: UnsafeMutableRawPointer, capacity: UInt64) {
    self.record = record
    self.events = events
    self.capacity = capacity
  }

  private func word(_ field: PartialKeyPath<baton_trace_ring>) -> SharedWord {
    SharedWord(record + MemoryLayout<baton_trace_ring>.offset(of: field)!)
  }

  /// Events written since the beginning. Sync point "trace": released by the writer after each event, acquired by the
  /// reader before it reads them.
  var written: SharedWord { word(\.written) }
  /// What writes here. Sync point "trace", too: written after `life` and `pid`.
  var writer: SharedWord { word(\.writer) }
  var life: SharedWord { word(\.life) }
  var pid: SharedWord { word(\.pid) }

  /// One of the four words of the event in a position.
  func word(_ field: Int, at position: UInt64) -> SharedWord {
    SharedWord(
      events + Int(truncatingIfNeeded: position & (capacity - 1)) &* MemoryLayout<baton_trace_event>.stride
        + field &* 8)
  }
}
