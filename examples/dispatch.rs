// Dispatch from Rust, without a crate.
//
//     rustc -O -L PREFIX/lib dispatch.rs && ./dispatch [REQUESTS]
use std::ffi::{CStr, CString};
use std::os::raw::{c_char, c_int, c_void};
use std::ptr;
use std::time::Instant;

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Request {
    operation: u8,
    flags: u8,
    controller: u8,
    reserved_0: u8,
    unit: u32,
    offset: u64,
    length: u64,
    buffer: u64,
    cookie: u64,
    reserved_1: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Completion {
    cookie: u64,
    value: u64,
    term: u64,
    status: u8,
    controller: u8,
    transferred: u8,
    reserved: [u8; 5],
}

#[repr(C)]
struct ControllerOptions {
    size: u32,
    wait: u32,
    spin_ns: u64,
    deadline_ns: u64,
    host_absence_ns: u64,
    residency_ns: i64,
    hosts_max: u32,
    log_level: u32,
    log: *const c_void,
    log_context: *mut c_void,
}

#[repr(C)]
struct HostOptions {
    size: u32,
    wait: u32,
    spin_ns: u64,
    lines: u32,
    controller: u32,
    arena_size: u64,
    patience_ns: u64,
    turn: Option<extern "C" fn(*mut c_void)>,
    turn_context: *mut c_void,
}

enum Controller {}
enum Host {}

#[link(name = "baton")]
extern "C" {
    fn baton_last_error_text() -> *const c_char;
    fn baton_create(name: *const c_char, units: *const *const c_char, count: u32, flags: u32) -> c_int;
    fn baton_destroy(name: *const c_char) -> c_int;
    fn baton_controller_options_init(options: *mut ControllerOptions, size: usize);
    fn baton_controller_open(
        controller: *mut *mut Controller, name: *const c_char, which: u32, options: *const ControllerOptions,
    ) -> c_int;
    fn baton_controller_turn(controller: *mut Controller) -> c_int;
    fn baton_controller_stop(controller: *mut Controller);
    fn baton_controller_stopped(controller: *const Controller) -> c_int;
    fn baton_controller_close(controller: *mut *mut Controller);
    fn baton_host_options_init(options: *mut HostOptions, size: usize);
    fn baton_host_open(host: *mut *mut Host, name: *const c_char, options: *const HostOptions) -> c_int;
    fn baton_host_attach(host: *mut Host, mask: u32, timeout_ns: i64) -> c_int;
    fn baton_host_arena(host: *mut Host, size: *mut usize) -> *mut u8;
    fn baton_host_submit(host: *mut Host, requests: *const Request, count: u32) -> c_int;
    fn baton_host_reap(
        host: *mut Host, completions: *mut Completion, min: u32, max: u32, timeout_ns: i64,
    ) -> c_int;
    fn baton_host_close(host: *mut *mut Host);
}

const READ: u8 = 1;
const WRITE: u8 = 2;
const REPLACE: u32 = 1;
const BOTH: u32 = 3;
const DEPTH: usize = 64;

fn check(result: c_int, what: &str) -> c_int {
    if result < 0 {
        let text = unsafe { CStr::from_ptr(baton_last_error_text()) };
        eprintln!("{}: {}", what, text.to_string_lossy());
        std::process::exit(1);
    }
    result
}

struct Subsystem {
    name: CString,
    controllers: [*mut Controller; 2],
    host: *mut Host,
}

extern "C" fn turn(context: *mut c_void) {
    let subsystem = unsafe { &*(context as *const Subsystem) };
    for controller in subsystem.controllers {
        unsafe { baton_controller_turn(controller) };
    }
}

impl Subsystem {
    // In a box: the host calls back with its address.
    fn new(name: &str, unit: &str) -> Box<Subsystem> {
        let mut this = Box::new(Subsystem {
            name: CString::new(name).unwrap(),
            controllers: [ptr::null_mut(); 2],
            host: ptr::null_mut(),
        });
        let unit = CString::new(unit).unwrap();
        let units = [unit.as_ptr()];
        unsafe {
            check(baton_create(this.name.as_ptr(), units.as_ptr(), 1, REPLACE), "create");
            for which in 0..2 {
                let mut options: ControllerOptions = std::mem::zeroed();
                baton_controller_options_init(&mut options, std::mem::size_of::<ControllerOptions>());
                options.deadline_ns = 3_600_000_000_000;
                let place = &mut this.controllers[which];
                check(baton_controller_open(place, this.name.as_ptr(), which as u32, &options), "controller");
            }
            let mut options: HostOptions = std::mem::zeroed();
            baton_host_options_init(&mut options, std::mem::size_of::<HostOptions>());
            options.turn = Some(turn);
            options.turn_context = &mut *this as *mut Subsystem as *mut c_void;
            check(baton_host_open(&mut this.host, this.name.as_ptr(), &options), "host");
            check(baton_host_attach(this.host, BOTH, 10_000_000_000), "attach");
        }
        this
    }

    fn run(&mut self, requests: &mut [Request], completions: &mut [Completion]) {
        let count = requests.len() as u32;
        unsafe {
            let taken = check(baton_host_submit(self.host, requests.as_ptr(), count), "submit");
            assert_eq!(taken as u32, count);
            baton_controller_turn(self.controllers[requests[0].controller as usize]);
            let taken = check(baton_host_reap(self.host, completions.as_mut_ptr(), count, count, -1), "reap");
            assert_eq!(taken as u32, count);
        }
        for completion in completions.iter() {
            assert_eq!(completion.status, 0);
        }
    }
}

impl Drop for Subsystem {
    fn drop(&mut self) {
        unsafe {
            baton_host_close(&mut self.host);
            for which in 0..2 {
                baton_controller_stop(self.controllers[which]);
                while baton_controller_stopped(self.controllers[which]) == 0 {
                    baton_controller_turn(self.controllers[0]);
                    baton_controller_turn(self.controllers[1]);
                }
            }
            for which in 0..2 {
                baton_controller_close(&mut self.controllers[which]);
            }
            check(baton_destroy(self.name.as_ptr()), "destroy");
        }
    }
}

fn main() {
    let requests: u64 = std::env::args().nth(1).map_or(1_000_000, |word| word.parse().expect("a number"));
    assert_eq!(std::mem::size_of::<Request>(), 48);
    assert_eq!(std::mem::size_of::<Completion>(), 32);

    // What is written through one controller is read through its peer.
    let mut memory = Subsystem::new("rust-example", "mem:1M");
    let mut size = 0;
    let arena = unsafe { std::slice::from_raw_parts_mut(baton_host_arena(memory.host, &mut size), 8192) };
    arena[..4096].fill(0x42);
    let mut answer = [Completion::default()];
    memory.run(&mut [Request { operation: WRITE, length: 4096, ..Default::default() }], &mut answer);
    memory.run(
        &mut [Request { operation: READ, controller: 1, length: 4096, buffer: 4096, ..Default::default() }],
        &mut answer,
    );
    assert!(arena[4096..8192].iter().all(|byte| *byte == 0x42));
    assert_eq!((answer[0].controller, answer[0].transferred), (1, 1));
    drop(memory);

    let mut null = Subsystem::new("rust-example", "null:1G");
    let mut batch = [Request { operation: READ, length: 4096, ..Default::default() }; DEPTH];
    let mut answers = [Completion::default(); DEPTH];
    let before = Instant::now();
    let mut done = 0;
    while done < requests {
        null.run(&mut batch, &mut answers);
        done += DEPTH as u64;
    }
    println!("batches of {}: {:.1} ns per request", DEPTH, before.elapsed().as_nanos() as f64 / done as f64);
}
