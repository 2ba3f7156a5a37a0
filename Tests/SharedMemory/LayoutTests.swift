import CBatonShims
import Testing

@Suite("Layout: everything that processes share lies where this version says")
struct LayoutTests {
  /// A field as the compiler lays it out.
  struct Field<Root> {
    let name: String
    let offset: Int
    let count: Int

    init<Value>(_ name: String, _ path: KeyPath<Root, Value>) {
      self.name = name
      offset = MemoryLayout<Root>.offset(of: path)!
      count = MemoryLayout<Value>.size
    }
  }

  /// Pins a struct: its size and stride, where each field lies, and that the fields leave no byte between them.
  /// A byte that no field has is a byte that nobody wrote and that a checksum or another version may read.
  func pin<Root>(
    _ type: Root.Type, count: Int, _ fields: [Field<Root>], at offsets: [Int],
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    #expect(MemoryLayout<Root>.size == count, sourceLocation: sourceLocation)
    #expect(MemoryLayout<Root>.stride == count, sourceLocation: sourceLocation)
    #expect(MemoryLayout<Root>.alignment == 8, sourceLocation: sourceLocation)
    #expect(fields.map(\.offset) == offsets, "offsets of \(fields.map(\.name))", sourceLocation: sourceLocation)
    var end = 0
    for field in fields {
      #expect(field.offset == end, "bytes of nobody before \(field.name)", sourceLocation: sourceLocation)
      end = field.offset + field.count
    }
    #expect(end == count, "bytes of nobody at the end", sourceLocation: sourceLocation)
  }

  @Test("A change of the layout is a new version")
  func version() {
    #expect(BATON_LAYOUT_VERSION == 9, "when this fails, look whether the pins below have changed with it")
    #expect(baton_region_magic == 0x4e4f_4947_4552_424a)
    #expect(baton_host_magic == 0x5453_4f48_4e4f_5442)
    #expect(BATON_LINK_CAPACITY == 1024)
    #expect(BATON_HOST_PLACES == 256)
    #expect(BATON_JOURNAL_CAPACITY == 16384)
    #expect(BATON_HOST_HEADER_SIZE == 4096)
    #expect(BATON_LINES_MIN == 2)
    #expect(BATON_LINES_MAX == 4096)
    #expect(BATON_ATTACH_HOST == 1)
    #expect(BATON_ATTACH_PEER == 2)
    #expect(BATON_ATTACH_LISTENER == 3)
    #expect(BATON_ATTACH_ASK == 4)
    #expect(BATON_LISTENERS_MAX == 8)
  }

  @Test func regionHeader() {
    pin(
      baton_region_header.self, count: 112,
      [
        Field("magic", \.magic), Field("layout_version", \.layout_version), Field("unit_count", \.unit_count),
        Field("size", \.size), Field("generation", \.generation),
        Field("membership_offset", \.membership_offset), Field("controllers_offset", \.controllers_offset),
        Field("journals_offset", \.journals_offset), Field("links_offset", \.links_offset),
        Field("functions_offset", \.functions_offset), Field("units_offset", \.units_offset),
        Field("strings_offset", \.strings_offset), Field("strings_count", \.strings_count),
        Field("boot", \.boot), Field("checksum", \.checksum),
      ],
      at: [0, 8, 12, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 96, 104])
  }

  @Test func membershipRecord() {
    pin(
      baton_membership_record.self, count: 4096,
      [Field("membership", \.membership), Field("unused", \.unused)], at: [0, 8])
  }

  @Test func journal() {
    pin(
      baton_host_record.self, count: 64,
      [
        Field("identity", \.identity), Field("pid", \.pid), Field("start_time", \.start_time),
        Field("unused", \.unused),
      ],
      at: [0, 8, 16, 24])
    pin(
      baton_accepted_request.self, count: 64,
      [
        Field("state", \.state), Field("next", \.next), Field("channel", \.channel), Field("operation", \.operation),
        Field("flags", \.flags), Field("slot", \.slot), Field("unit", \.unit),
        Field("sequence", \.sequence), Field("offset", \.offset), Field("length", \.length),
        Field("buffer", \.buffer), Field("later", \.later), Field("earlier", \.earlier),
      ],
      at: [0, 8, 12, 16, 17, 18, 20, 24, 32, 40, 48, 56, 60])
  }

  @Test func controllerRecord() {
    pin(
      baton_controller_record.self, count: 4096,
      [
        Field("phase", \.phase), Field("pid", \.pid), Field("start_time", \.start_time),
        Field("takeover", \.takeover), Field("journal_top", \.journal_top),
        Field("waiting", \.waiting), Field("unused_0", \.unused_0), Field("parked", \.parked),
        Field("unused_1", \.unused_1),
        Field("link_sent", \.link_sent), Field("unused_2", \.unused_2), Field("link_received", \.link_received),
        Field("unused_3", \.unused_3), Field("beat", \.beat), Field("turned_at", \.turned_at),
        Field("unused_4", \.unused_4),
        Field("counters", \.counters), Field("life", \.life), Field("trace", \.trace),
        Field("unused_5", \.unused_5),
      ],
      at: [0, 8, 16, 24, 32, 40, 48, 64, 72, 128, 136, 192, 200, 256, 264, 272, 320, 832, 896, 904])
  }

  @Test func trace() {
    pin(
      baton_trace_header.self, count: 64,
      [
        Field("magic", \.magic), Field("layout_version", \.layout_version), Field("ring_count", \.ring_count),
        Field("ring_capacity", \.ring_capacity), Field("events_offset", \.events_offset), Field("number", \.number),
        Field("generation", \.generation), Field("claimed", \.claimed), Field("unused", \.unused),
      ],
      at: [0, 8, 12, 16, 24, 32, 40, 48, 56])
    pin(
      baton_trace_ring.self, count: 128,
      [
        Field("written", \.written), Field("unused_0", \.unused_0), Field("writer", \.writer), Field("life", \.life),
        Field("pid", \.pid), Field("unused_1", \.unused_1),
      ],
      at: [0, 8, 64, 72, 80, 88])
    pin(
      baton_trace_event.self, count: 32,
      [Field("time", \.time), Field("step", \.step), Field("request", \.request), Field("value", \.value)],
      at: [0, 8, 16, 24])
    #expect(baton_trace_magic == 0x4543_4152_5442 && BATON_TRACE_HEADER_SIZE == 4096)
  }

  @Test func functionRecord() {
    pin(
      baton_function_record.self, count: 128,
      [Field("ownership", \.ownership), Field("granted_at", \.granted_at), Field("unused", \.unused)], at: [0, 8, 16])
  }

  @Test func unitRecord() {
    pin(
      baton_unit_record.self, count: 128,
      [
        Field("size", \.size), Field("block_size", \.block_size), Field("kind", \.kind),
        Field("is_direct", \.is_direct), Field("unused_0", \.unused_0), Field("path_offset", \.path_offset),
        Field("path_count", \.path_count), Field("delay_nanoseconds", \.delay_nanoseconds),
        Field("error_after", \.error_after), Field("error_every", \.error_every),
        Field("short_transfer_bytes", \.short_transfer_bytes), Field("name_count", \.name_count),
        Field("name_offset", \.name_offset), Field("unused_1", \.unused_1), Field("device", \.device),
        Field("inode", \.inode), Field("state", \.state), Field("set_by", \.set_by), Field("unused_2", \.unused_2),
      ],
      at: [0, 8, 12, 13, 14, 16, 20, 24, 32, 40, 48, 52, 56, 60, 64, 72, 80, 88, 120])
  }

  @Test func hostHeader() {
    pin(
      baton_host_header.self, count: 256,
      [
        Field("magic", \.magic), Field("layout_version", \.layout_version),
        Field("lines_per_channel", \.lines_per_channel), Field("size", \.size),
        Field("arena_offset", \.arena_offset), Field("arena_size", \.arena_size), Field("identity", \.identity),
        Field("trace", \.trace), Field("unused_0", \.unused_0), Field("host_parked", \.host_parked),
        Field("unused_1", \.unused_1),
        Field("controller_parked_a", \.controller_parked_a), Field("unused_2", \.unused_2),
        Field("controller_parked_b", \.controller_parked_b), Field("unused_3", \.unused_3),
      ],
      at: [0, 8, 12, 16, 24, 32, 40, 48, 56, 64, 72, 128, 136, 192, 200])
    #expect(MemoryLayout<baton_host_header>.size <= Int(BATON_HOST_HEADER_SIZE))
  }

  @Test func requestLine() {
    pin(
      baton_request_line.self, count: 64,
      [
        Field("flag", \.flag), Field("operation", \.operation), Field("flags", \.flags), Field("next", \.next),
        Field("unit", \.unit), Field("offset", \.offset), Field("length", \.length), Field("buffer", \.buffer),
        Field("cookie", \.cookie), Field("value", \.value), Field("service", \.service),
      ],
      at: [0, 8, 9, 10, 12, 16, 24, 32, 40, 48, 56])
  }

  @Test func attachMessages() {
    pin(
      baton_attach_request.self, count: 24,
      [
        Field("magic", \.magic), Field("layout_version", \.layout_version), Field("kind", \.kind),
        Field("generation", \.generation),
      ],
      at: [0, 8, 12, 16])
    pin(
      baton_listener_message.self, count: 24,
      [
        Field("magic", \.magic), Field("layout_version", \.layout_version), Field("kind", \.kind),
        Field("number", \.number), Field("count", \.count),
      ],
      at: [0, 8, 12, 16, 20])
    pin(
      baton_attach_reply.self, count: 248,
      [
        Field("magic", \.magic), Field("layout_version", \.layout_version), Field("refusal", \.refusal),
        Field("controller", \.controller), Field("incarnation", \.incarnation),
        Field("generation", \.generation),
        Field("unit_count", \.unit_count), Field("reason", \.reason),
      ],
      at: [0, 8, 12, 16, 24, 32, 40, 48])
  }

  @Test func managementData() {
    pin(
      baton_identity.self, count: 48,
      [
        Field("generation", \.generation), Field("controller", \.controller),
        Field("incarnation", \.incarnation),
        Field("pid", \.pid), Field("unit_count", \.unit_count), Field("layout_version", \.layout_version),
      ],
      at: [0, 8, 16, 24, 32, 40])
    pin(
      baton_unit_description.self, count: 48,
      [
        Field("unit", \.unit), Field("size", \.size), Field("block_size", \.block_size),
        Field("state", \.state),
        Field("kind", \.kind), Field("is_direct", \.is_direct),
      ],
      at: [0, 8, 16, 24, 32, 40])
  }
}
