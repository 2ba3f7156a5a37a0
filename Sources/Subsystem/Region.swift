import BatonOwnership
import BatonSharedMemory
import BatonStorage
import BatonSystem
import CBatonShims
import Glibc

/// The controllers' region, which the two controllers share and no host sees.
///
///     header | membership | controller records | journal of a | journal of b | link a to b | link b to a |
///     ownership words | units | strings
///
/// Invariants:
/// - it comes into being whole: made under another name, then linked to its own (link(2) takes no running one away);
/// - everything but words is written before that and never again, and is covered by the checksum;
/// - each word is written by the controller whose record holds it, except ownership words (the arbiter), the membership
///   word (a controller that may take the step) and unit states (the owner of management); a controller that stands in
///   for a dead peer writes the peer's journal.
public struct Region: ~Copyable {
  let mapping: Mapping
  /// The file, for the controllers' locks.
  public let file: OwnedDescriptor
  /// The fixed part, copied and checked once.
  public let header: baton_region_header
  /// One ownership word per function.
  public let ownership: SharedWords
  /// The time of each function's last grant, if both controllers wanted it then, in monotonic nanoseconds; 0 if not.
  /// Written by the owner before its grant, cleared by the next one. It lies in the line of the ownership word and goes
  /// over with it. It decides only how long a function is kept: a wrong one costs time and nothing else.
  public let grantTimes: SharedWords
  /// The members.
  public let membership: Membership<SharedWord>
  /// One state per unit, see `UnitStateWord`.
  public let unitStates: SharedWords
  /// Its location.
  public let location: SubsystemLocation

  /// Units that one subsystem can have.
  public static let unitsMax = 65_536

  /// Units in this one.
  public var unitCount: Int { Int(header.unit_count) }
  /// Functions in this one: the units and management.
  public var functionCount: Int { unitCount + 1 }
}

extension Region {
  /// Opens a region and checks it from end to end.
  public init(opening location: SubsystemLocation, writable: Bool = true) throws(BatonError) {
    let path = location.region
    let file = try SubsystemFolder(opening: location).open(SubsystemLocation.regionName, writable: writable)
    if file.number < 0 { throw location.missing }
    let count = try FileFacts(of: file, subject: path).size
    guard count >= UInt64(MemoryLayout<baton_region_header>.size) else {
      throw BatonError(
        .truncated, path, "is truncated: \(count) bytes do not hold a header",
        fix: Self.recreating(location))
    }
    let mapping = try Mapping(
      of: file, count: Int(count), writable: writable, populated: writable, subject: path)
    let header = try Self.checkedHeader(mapping, at: location)
    let ownership = SharedWords(
      base: mapping.base + Int(header.functions_offset), stride: MemoryLayout<baton_function_record>.stride,
      count: Int(header.unit_count) + 1)
    let grantTimes = SharedWords(
      base: mapping.base + Int(header.functions_offset)
        + MemoryLayout<baton_function_record>.offset(of: \baton_function_record.granted_at)!,
      stride: MemoryLayout<baton_function_record>.stride, count: Int(header.unit_count) + 1)
    let unitStates = SharedWords(
      base: mapping.base + Int(header.units_offset)
        + MemoryLayout<baton_unit_record>.offset(of: \baton_unit_record.state)!,
      stride: MemoryLayout<baton_unit_record>.stride, count: Int(header.unit_count))
    let membership = mapping.word(at: Int(header.membership_offset))
    try Self.checkContents(mapping, header, ownership, unitStates, membership, at: location)
    self.mapping = mapping
    self.membership = Membership(membership)
    self.file = file
    self.header = header
    self.location = location
    self.ownership = ownership
    self.grantTimes = grantTimes
    self.unitStates = unitStates
  }

  /// The generation of the subsystem whose region lies there, which tells it from others of its name. Nil: no region
  /// can be read.
  /// Cost: three system calls.
  public static func generation(at location: SubsystemLocation) -> UInt64? {
    let file = OwnedDescriptor(shim_open_in(AT_FDCWD, location.region, false, false))
    var header = baton_region_header()
    let size = MemoryLayout<baton_region_header>.size
    guard file.number >= 0, pread(file.number, &header, size, 0) == size, header.magic == baton_region_magic else {
      return nil
    }
    return header.generation
  }
}

// The parts that do not belong to one unit.
extension Region {
  /// A controller's record.
  public func controller(_ controller: ControllerIdentity) -> ControllerRecord {
    ControllerRecord(
      base: mapping.base + Int(header.controllers_offset)
        + controller.index * MemoryLayout<baton_controller_record>.stride)
  }

  /// Where a controller's journal lies, in bytes from the region's start: for the simulation.
  package func journalOffset(of controller: ControllerIdentity) -> UInt64 {
    header.journals_offset + UInt64(controller.index * Journal.byteCount)
  }

  /// A controller's in-flight journal.
  public func journal(of controller: ControllerIdentity) -> Journal {
    Journal(
      base: mapping.base + Int(header.journals_offset) + controller.index * Journal.byteCount,
      top: self.controller(controller).journalTop)
  }

  /// The link as `controller` sees it: the ring it writes and the ring it reads.
  public func link(of controller: ControllerIdentity) -> Link {
    func ring(from writer: ControllerIdentity) -> SharedWords {
      SharedWords(
        base: mapping.base + Int(header.links_offset) + writer.index * Int(RegionLayout.linkBytes), stride: 8,
        count: Int(BATON_LINK_CAPACITY))
    }
    let mine = self.controller(controller)
    let peers = self.controller(controller.peer)
    return Link(
      outgoing: HintRing(
        slots: ring(from: controller), capacity: Int(BATON_LINK_CAPACITY), mine: mine.linkSent,
        theirs: peers.linkReceived),
      incoming: HintRing(
        slots: ring(from: controller.peer), capacity: Int(BATON_LINK_CAPACITY), mine: mine.linkReceived,
        theirs: peers.linkSent),
      peerParked: peers.parked)
  }
}
