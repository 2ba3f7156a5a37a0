import CLiburing
import Glibc

// Holes in a unit, and the file behind its blocks: for a front end that sends blocks without a copy.
extension Storage {
  /// What it takes to find out which parts of a stretch of a unit are holes; nil: all is data, or nothing is known of
  /// it.
  ///
  /// Not done here: lseek(2) waits for the inode's lock (inode_lock_shared in ext4_seek_data and ext4_seek_hole,
  /// fs/ext4/file.c), which a discard holds while it waits for direct I/O in flight. On a slow disk that is seconds.
  /// Cost: one system call.
  public func extentQuery(unit: Int, offset: UInt64, length: UInt64) -> ExtentQuery? {
    let backend = backends[unit]
    guard backend.geometry.kind.type.knowsHoles, length > 0 else { return nil }
    assert(backend.contains(offset, length), "a stretch outside of its unit")
    // A descriptor of its own: the storage may be gone when the answer comes.
    let descriptor = fcntl(backend.descriptor, F_DUPFD_CLOEXEC, 0)
    guard descriptor >= 0 else { return nil }
    return ExtentQuery(
      descriptor: descriptor, blockSize: UInt64(backend.geometry.blockSize), offset: offset, length: length)
  }

  /// The file that a unit's blocks lie in, where they lie in memory: for sendfile(2), from there and without a copy.
  /// -1: there is none. It stays open as long as the storage lives.
  public func fileInMemory(unit: Int) -> CInt { backends[unit].pages }

  /// Whether a unit's blocks lie nowhere: what is read is what the buffer held.
  public func readsNothing(unit: Int) -> Bool { backends[unit].work == .nothing }
}

/// A part of a unit: how far it goes, and whether nothing is allocated there, so that it reads as zeroes.
public struct Extent: Sendable, Equatable {
  /// Bytes.
  public let length: UInt64
  /// Whether it is a hole.
  public let isHole: Bool

  /// An extent of these.
  public init(length: UInt64, isHole: Bool) {
    self.length = length
    self.isHole = isHole
  }
}

/// A question to a file system that may take its time to answer. Its holder asks once.
public struct ExtentQuery: Sendable {
  let descriptor: CInt
  let blockSize: UInt64
  let offset: UInt64
  let length: UInt64

  /// Asks, and lets go of the file: so many extents at most, from the beginning of the stretch on, which they may not
  /// reach the end of. Blocks for as long as the file system does. Cost: two system calls an extent.
  public func run(extentsMax: Int) -> [Extent] {
    defer { close(descriptor) }
    var extents: [Extent] = []
    var position = offset
    let end = offset + length
    while position < end, extents.count < extentsMax {
      let extent = next(position, end - position)
      extents.append(extent)
      position += extent.length
    }
    return extents
  }

  /// Lets go of the file without asking.
  public func abandon() { close(descriptor) }

  private func next(_ offset: UInt64, _ length: UInt64) -> Extent {
    // The position of the description is nobody's: every transfer brings its offset along.
    let data = lseek(descriptor, off_t(offset), SEEK_DATA)
    // ENXIO: no data from here to the end of the file (lseek(2)). Any other error: nothing is known.
    if data < 0 { return Extent(length: length, isHole: errno == ENXIO) }
    let mask = ~(blockSize - 1)
    // A block that is a hole in part is data.
    let begin = UInt64(data) & mask
    if begin > offset { return Extent(length: min(begin - offset, length), isHole: true) }
    let hole = lseek(descriptor, data, SEEK_HOLE)
    if hole < 0 { return Extent(length: length, isHole: false) }
    let end = (UInt64(hole) + ~mask) & mask
    return Extent(length: end > offset ? min(end - offset, length) : length, isHole: false)
  }
}
